#pragma once

#include <functional>
#include <string>
#include <vector>

#include "run/run.h"
#include "serving/images.h"

namespace mlxk {

constexpr int kMaxImageChunk = 5;

/// Reads image files, `-` from stdin; throws io for a missing file, invalid for one that is too large.
std::vector<ImageFile> read_images(const std::vector<std::string>& paths);

/// A table of the images of `files` from `first` on, one row per entry of `metadata`, to print before an answer.
/// `chunk`: images in a prompt. `with_exif`: with place, date and camera.
std::string image_table(const std::vector<ImageFile>& files, const std::vector<ImageMetadata>& metadata, size_t first,
                        size_t chunk, bool with_exif);

/// Place, date and camera of the images, a line each and an empty line, to put before the prompt; empty: none known.
std::string image_lines(const std::vector<ImageMetadata>& metadata);

/// Sends the prompt with `files`, `chunk` of them at a time; tables and answers go to `write` as they arrive. Returns
/// the last answer with the tokens of all.
GeneratedAnswer run_images(OpenedModel& model, const RunOptions& options, const std::vector<ImageFile>& files,
                           int chunk, const std::function<void(const std::string& piece)>& write);

}  // namespace mlxk

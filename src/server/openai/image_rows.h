#pragma once

#include <string>
#include <vector>

#include "json/json_fwd.h"
#include "serving/image_table.h"
#include "serving/images.h"

namespace mlxk {

/// The rows of a conversation's images: `files` and `metadata` are those of its parts {"type": "image"}, in order. An
/// image keeps the number that an earlier answer's table gave it; new ones continue after the largest. Equal files
/// share a row.
std::vector<ImageRow> image_rows(const Json& messages, const std::vector<ImageFile>& files,
                                 const std::vector<ImageMetadata>& metadata);

/// Whether an earlier answer begins with a table of images.
bool has_image_tables(const Json& messages);

/// Removes the tables of images from the beginnings of earlier answers: the model did not write them.
void remove_image_tables(Json& messages);

}  // namespace mlxk

#include "run/run_images.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "run/prompt_input.h"
#include "serving/image_table.h"
#include "terminal/markdown.h"

namespace mlxk {

namespace {

constexpr uintmax_t kImageBytes = 10 << 20;

bool exif_wanted() {
  const char* value = std::getenv("MLXK2_EXIF_METADATA");
  return !value || std::string(value) != "0";
}

std::string bytes_of(std::istream& in, const std::string& path) {
  std::string bytes = read_stream(in, kImageBytes);
  if (bytes.size() > kImageBytes) {
    throw Error(ErrorKind::invalid, fmt::format("Image too large (>{}MB): {}", kImageBytes >> 20, path));
  }
  return bytes;
}

/// A camera's name without parentheses.
std::string short_camera(std::string name) {
  std::erase_if(name, [](char c) { return c == '(' || c == ')'; });
  if (const size_t at = name.find("generation"); at != name.npos) name.replace(at, 10, "gen");
  return name;
}

}  // namespace

std::vector<ImageFile> read_images(const std::vector<std::string>& paths) {
  std::vector<ImageFile> files;
  for (const std::string& path : paths) {
    if (path == "-") {
      files.push_back({bytes_of(std::cin, "-"), "-"});
      continue;
    }
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) {
      throw Error(ErrorKind::io, fmt::format("Image not found: {}", path), misplaced_prompt_hint(path));
    }
    std::ifstream in(path, std::ios::binary);
    if (!in) throw Error(ErrorKind::io, fmt::format("cannot read the image {}", path));
    files.push_back({bytes_of(in, path), path});
  }
  return files;
}

std::string image_table(const std::vector<ImageFile>& files, const std::vector<ImageMetadata>& metadata, size_t first,
                        size_t chunk, bool with_exif) {
  const size_t count = metadata.size();
  const std::string summary = files.size() > chunk
                                  ? fmt::format("Chunk {}/{}: Images {}-{}", first / chunk + 1,
                                                (files.size() + chunk - 1) / chunk, first + 1, first + count)
                                  : image_summary(count);
  std::vector<ImageRow> rows;
  for (size_t i = 0; i < count; ++i) {
    const ImageFile& file = files[first + i];
    rows.push_back({static_cast<int64_t>(first + i + 1), image_hash(file.bytes),
                    std::filesystem::path(file.place).filename().string(), metadata[i]});
  }
  return image_table(summary, rows, with_exif);
}

std::string image_lines(const std::vector<ImageMetadata>& metadata) {
  std::string lines;
  for (size_t i = 0; i < metadata.size(); ++i) {
    const ImageMetadata& own = metadata[i];
    std::vector<std::string> facts;
    if (own.position) facts.push_back("GPS: " + coordinates(*own.position));
    if (!own.date.empty()) facts.push_back("Date: " + own.date);
    if (!own.camera.empty()) facts.push_back("Camera: " + short_camera(own.camera));
    if (facts.empty()) continue;
    if (metadata.size() > 1) facts.insert(facts.begin(), fmt::format("Image {}", i + 1));
    lines += fmt::format("[{}]\n", fmt::join(facts, " | "));
  }
  return lines.empty() ? lines : lines + "\n";
}

GeneratedAnswer run_images(OpenedModel& model, const RunOptions& options, const std::vector<ImageFile>& files,
                           int chunk, const std::function<void(const std::string& piece)>& write) {
  const bool with_exif = exif_wanted();
  const auto size = static_cast<size_t>(chunk);
  GeneratedAnswer whole;
  for (size_t first = 0; first < files.size(); first += size) {
    const size_t end = std::min(files.size(), first + size);
    std::vector<ImageMetadata> metadata;
    const PromptImages images = process_images(
        *model.image_processor(),
        {files.begin() + static_cast<std::ptrdiff_t>(first), files.begin() + static_cast<std::ptrdiff_t>(end)},
        &metadata);
    RunOptions own = options;
    // Models without a template were trained on prompts of a fixed form.
    if (with_exif && model.chat_template()) own.prompt = image_lines(metadata) + *options.prompt;
    PreparedRun prepared = prepare_run(model, own, first_messages(own, end - first), {}, &images);
    load_for_run(model, options);
    if (first > 0) write("\n\n");
    write(image_table(files, metadata, first, size, with_exif));
    PartFormatter formatter(options.show_reasoning);
    GeneratedAnswer answer = run_prepared(model, own, std::move(prepared),
                                          [&](const std::vector<Part>& parts) { write(formatter.format(parts)); });
    answer.usage.prompt_tokens += whole.usage.prompt_tokens;
    answer.usage.completion_tokens += whole.usage.completion_tokens;
    whole = std::move(answer);
    if (whole.reason == FinishReason::cancelled) break;
  }
  return whole;
}

}  // namespace mlxk

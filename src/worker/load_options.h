#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace mlxk {

/// Whether tokens are drafted from the text so far: never, wherever an n-gram matches, or only if that pays.
enum class PromptLookup { off, on, automatic };

/// How a model is loaded. Only text models use these options.
struct LoadOptions {
  uint64_t prefix_cache_bytes = 0;         // memory for the keys and values of past prompts; 0: no prefix cache
  std::filesystem::path prefix_cache_dir;  // holds them on disk too; empty: memory only
  uint64_t prefix_cache_disk_bytes = 0;
  uint64_t media_cache_bytes = uint64_t{256} << 20;  // memory for the features of images and recordings
  PromptLookup prompt_lookup = PromptLookup::off;
  std::filesystem::path draft_dir;  // a draft model: smaller, with the same vocabulary; empty: none
  int draft_tokens = 4;             // the most tokens of a draft; at least 1
  bool draft_always = false;        // even if drafts do not pay
};

/// Takes the progress of a load or conversion: `done` of `total` steps of `what`.
using ProgressSink = std::function<void(const std::string& what, int64_t done, int64_t total)>;

}  // namespace mlxk

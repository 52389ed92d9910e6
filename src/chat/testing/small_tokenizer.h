#pragma once

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "json/json.h"
#include "tokenizer/tokenizer.h"

namespace mlxk::testing {

/// A real tokenizer whose token i is `tokens[i]`; those in `special` are special tokens. decode() concatenates them.
inline std::shared_ptr<const Tokenizer> small_tokenizer(const std::vector<std::string>& tokens,
                                                        const std::vector<std::string>& special) {
  Json vocabulary = Json::object();
  Json added = Json::array();
  for (size_t i = 0; i < tokens.size(); ++i) {
    vocabulary[tokens[i]] = i;
    if (std::find(special.begin(), special.end(), tokens[i]) == special.end()) continue;
    added.push_back({{"id", i},
                     {"content", tokens[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", nullptr},
                     {"post_processor", nullptr},
                     {"decoder", {{"type", "Fuse"}}},
                     {"model", {{"type", "WordLevel"}, {"vocab", vocabulary}, {"unk_token", tokens.at(0)}}}};
  namespace fs = std::filesystem;
  const fs::path dir = fs::temp_directory_path() / ("mlxk_small_tokenizer_" + std::to_string(getpid()));
  fs::create_directories(dir);
  std::ofstream(dir / "tokenizer.json") << file.dump();
  auto tokenizer = Tokenizer::load(dir);
  fs::remove_all(dir);
  return tokenizer;
}

}  // namespace mlxk::testing

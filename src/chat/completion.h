#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chat/reasoning.h"
#include "chat/stop_strings.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// The way from token ids to what a reader sees: characters, stop strings, reasoning. One thread at a time.
class Completion {
 public:
  /// `stops` are the request's own; those of the tokenizer come on top.
  Completion(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stops, ReasoningFormat format);

  /// The parts that `id` completes; nothing once stopped.
  std::vector<Part> push(int32_t id);
  /// What is held back when the ids end. Call once.
  std::vector<Part> finish();
  /// Whether a stop string came: the rest of the output is not wanted.
  bool stopped() const { return stops_.stopped(); }

 private:
  std::vector<Part> pass(const std::string& text);

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<std::string> control_;  // special tokens that mean something to stops or splitter
  StreamDecoder decoder_;
  StopMatcher stops_;
  ReasoningSplitter splitter_;
};

}  // namespace mlxk

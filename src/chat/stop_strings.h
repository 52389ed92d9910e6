#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/marker_scanner.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// Cuts text that arrives in pieces before the earliest stop string; a possible beginning is held back, so that no part
/// of a stop string is ever shown.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : scanner_(std::move(stops)) {}

  /// The text that is safe now; empty once stopped.
  std::string push(std::string_view text);
  /// The text held back, if no stop string followed.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::string drain();

  MarkerScanner scanner_;
  bool stopped_ = false;
};

/// The strings at which every answer of this tokenizer's model ends: its end and padding tokens, special tokens whose
/// names say end, and the common ones that are one token. `keep` lists tokens that are not ends (a reasoning format's
/// own).
std::vector<std::string> implicit_stop_strings(const Tokenizer& tokenizer, const std::vector<std::string>& keep);

/// Stop strings of a conversation: the other speaker's turn.
std::vector<std::string> conversation_stop_strings();

}  // namespace mlxk

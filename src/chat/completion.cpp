#include "chat/completion.h"

#include <algorithm>

namespace mlxk {

namespace {
std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}
}  // namespace

Completion::Completion(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stops,
                       ReasoningFormat format)
    : tokenizer_(std::move(tokenizer)),
      control_(joined(std::move(stops), implicit_stop_strings(*tokenizer_, format.markers()))),
      decoder_(tokenizer_, false),
      stops_(control_),
      splitter_(format) {
  control_ = joined(std::move(control_), format.markers());
}

std::vector<Part> Completion::pass(const std::string& text) {
  std::vector<Part> parts = splitter_.push(stops_.push(text));
  if (!stops_.stopped()) return parts;
  for (Part& part : splitter_.finish()) parts.push_back(std::move(part));
  return parts;
}

std::vector<Part> Completion::push(int32_t id) {
  if (stopped()) return {};
  if (tokenizer_->is_special(id)) {
    // A special token is no text, unless it ends the answer or marks reasoning (Gemma 4's tag is token + word).
    const std::string token = tokenizer_->id_to_token(id).value_or("");
    const bool known = std::any_of(control_.begin(), control_.end(), [&](const std::string& control) {
      return !token.empty() && control.find(token) != std::string::npos;
    });
    if (!known) return {};
  }
  return pass(decoder_.push(id));
}

std::vector<Part> Completion::finish() {
  if (stopped()) return {};
  std::vector<Part> parts = pass(decoder_.finish());
  if (stopped()) return parts;
  for (Part& part : splitter_.push(stops_.finish())) parts.push_back(std::move(part));
  for (Part& part : splitter_.finish()) parts.push_back(std::move(part));
  return parts;
}

}  // namespace mlxk

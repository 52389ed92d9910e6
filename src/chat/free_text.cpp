#include "chat/free_text.h"

#include <algorithm>
#include <utility>

namespace mlxk {

void set_all(std::span<uint32_t> mask, int32_t count) {
  const size_t words = std::min(mask.size(), static_cast<size_t>(count) / 32);
  std::fill(mask.begin(), mask.begin() + static_cast<std::ptrdiff_t>(words), ~uint32_t{0});
  std::fill(mask.begin() + static_cast<std::ptrdiff_t>(words), mask.end(), 0U);
  if (words < mask.size()) mask[words] = (uint32_t{1} << (count % 32)) - 1;
}

void set_bit(std::span<uint32_t> mask, int32_t id, bool on) {
  const size_t word = static_cast<size_t>(id) / 32;
  if (id < 0 || word >= mask.size()) return;
  const uint32_t bit = uint32_t{1} << (id % 32);
  mask[word] = on ? mask[word] | bit : mask[word] & ~bit;
}

FreeText::FreeText(const GrammarCompiler& compiler, std::vector<std::string> markers,
                   std::vector<std::string> beginnings)
    : tokenizer_(*compiler.tokenizer()),
      markers_(std::move(markers)),
      beginnings_(std::move(beginnings)),
      beginning_(!beginnings_.empty()) {
  for (const std::string& marker : markers_) {
    longest_ = std::max(longest_, marker.size());
    const auto id = tokenizer_.token_to_id(marker);
    if (id && tokenizer_.is_special(*id)) continue;
    for (size_t begun = 0; begun < marker.size(); ++begun) {
      const auto tokens = compiler.tokens_beyond(std::string_view(marker).substr(begun), begun == 0);
      if (tokens.empty()) continue;
      auto& all = crossing_[marker.substr(0, begun)];
      all.insert(all.end(), tokens.begin(), tokens.end());
    }
  }
  for (const std::string& beginning : beginnings_) {
    for (size_t begun = 1; begun < beginning.size(); ++begun) {
      const auto tokens = compiler.tokens_beyond(std::string_view(beginning).substr(begun), false);
      if (tokens.empty()) continue;
      auto& all = crossing_beginning_[beginning.substr(0, begun)];
      all.insert(all.end(), tokens.begin(), tokens.end());
    }
  }
}

std::optional<size_t> FreeText::accept_beginning(int32_t token, const std::string& text) {
  begun_tokens_.push_back(token);
  begun_ += text;
  begun_.erase(0, std::min(begun_.find_first_not_of(" \t\r\n"), begun_.size()));
  const auto complete = std::find(beginnings_.begin(), beginnings_.end(), begun_);
  beginning_ = complete == beginnings_.end() &&
               std::any_of(beginnings_.begin(), beginnings_.end(),
                           [&](const std::string& one) { return one.compare(0, begun_.size(), begun_) == 0; });
  if (complete != beginnings_.end()) return markers_.size() + static_cast<size_t>(complete - beginnings_.begin());
  if (!beginning_) begun_tokens_.clear();
  return std::nullopt;
}

void FreeText::allowed(std::span<uint32_t> mask) const {
  set_all(mask, tokenizer_.vocab_size());
  for (const auto& [begun, tokens] : crossing_) {
    const bool live =
        tail_.size() >= begun.size() && tail_.compare(tail_.size() - begun.size(), begun.size(), begun) == 0;
    if (!live) continue;
    for (const int32_t id : tokens) set_bit(mask, id, false);
  }
  if (!beginning_) return;
  if (const auto found = crossing_beginning_.find(begun_); found != crossing_beginning_.end()) {
    for (const int32_t id : found->second) set_bit(mask, id, false);
  }
}

std::optional<size_t> FreeText::accept(int32_t token) {
  const std::string text =
      tokenizer_.is_special(token) ? tokenizer_.id_to_token(token).value_or("") : tokenizer_.token_bytes(token);
  if (beginning_) {
    if (const auto begun = accept_beginning(token, text)) return begun;
  }
  tail_ += text;
  std::optional<size_t> found;
  for (size_t i = 0; i < markers_.size() && !found; ++i) {
    const std::string& marker = markers_[i];
    const bool ends =
        tail_.size() >= marker.size() && tail_.compare(tail_.size() - marker.size(), marker.size(), marker) == 0;
    if (ends && !marker.empty()) found = i;
  }
  if (found) {
    tail_.clear();
  } else if (tail_.size() >= longest_) {
    tail_.erase(0, tail_.size() - longest_ + 1);
  }
  return found;
}

}  // namespace mlxk

#include "chat/tools/text_feed.h"

#include <algorithm>

namespace mlxk {

void TextFeed::push(std::string_view text) {
  if (kept_ > buffer_.size() / 2) {
    buffer_.erase(0, kept_);
    at_ -= kept_;
    searched_ -= std::min(searched_, kept_);
    kept_ = 0;
  }
  buffer_ += text;
}

void TextFeed::skip_blanks() { at_ = std::min(buffer_.find_first_not_of(" \t\r\n", at_), buffer_.size()); }

TextFeed::Match TextFeed::match(std::string_view literal, size_t offset) const {
  const std::string_view have = rest().substr(offset, literal.size());
  if (have != literal.substr(0, have.size())) return Match::no;
  if (have.size() == literal.size()) return Match::yes;
  return finished_ ? Match::no : Match::unknown;
}

std::optional<std::string> TextFeed::take_until(std::string_view literal) {
  if (searched_for_ != literal || searched_ < at_) {
    searched_for_ = literal;
    searched_ = at_;
  }
  const size_t found = buffer_.find(literal, searched_);
  if (found == std::string::npos) {
    const size_t unfinished = std::min(buffer_.size() - at_, literal.size() - 1);
    searched_ = std::max(searched_, buffer_.size() - unfinished);
    return std::nullopt;
  }
  std::string text = buffer_.substr(at_, found - at_);
  at_ = found + literal.size();
  return text;
}

std::string TextFeed::give_back() {
  std::string text = buffer_.substr(kept_, at_ - kept_);
  kept_ = at_;
  return text;
}

std::string TextFeed::take_rest() {
  std::string text = buffer_.substr(at_);
  buffer_.clear();
  at_ = kept_ = searched_ = 0;
  return text;
}

}  // namespace mlxk

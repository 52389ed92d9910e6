#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mlxk {

/// Text that arrives in pieces and is read from its front. Text read since the last keep() can be returned.
class TextFeed {
 public:
  enum class Match { no, yes, unknown };

  void push(std::string_view text);
  /// No more text comes.
  void finish() { finished_ = true; }
  bool finished() const { return finished_; }

  /// The text not read yet; valid until the next call that changes the feed.
  std::string_view rest() const { return std::string_view(buffer_).substr(at_); }
  void skip(size_t size) { at_ += size; }
  void skip_blanks();
  /// Whether `literal` is `offset` bytes into the rest; unknown while the rest is too short.
  Match match(std::string_view literal, size_t offset = 0) const;
  /// Reads the text before `literal`, and `literal`; nullopt, with nothing read, while it is not there.
  std::optional<std::string> take_until(std::string_view literal);

  /// Marks the text read so far as used.
  void keep() { kept_ = at_; }
  /// Returns the text read since keep(), and marks it as used.
  std::string give_back();
  /// Returns the text not read; the feed is empty afterwards.
  std::string take_rest();

 private:
  std::string buffer_;
  size_t at_ = 0, kept_ = 0;
  size_t searched_ = 0;       // take_until has searched up to here
  std::string searched_for_;  // this
  bool finished_ = false;
};

}  // namespace mlxk

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mlxk {

/// Text that comes in pieces, read from its front. What was read can be given back up to the last keep().
class TextFeed {
 public:
  enum class Match { no, yes, unknown };

  void push(std::string_view text);
  /// No more text comes.
  void finish() { finished_ = true; }
  bool finished() const { return finished_; }

  /// What is not read yet; valid until the next call that changes the feed.
  std::string_view rest() const { return std::string_view(buffer_).substr(at_); }
  void skip(size_t size) { at_ += size; }
  void skip_blanks();
  /// Whether `literal` stands `offset` bytes into the rest; unknown while the rest is too short to tell.
  Match match(std::string_view literal, size_t offset = 0) const;
  /// The text before `literal`, both read; nullopt, with nothing read, while it is not there.
  std::optional<std::string> take_until(std::string_view literal);

  /// What was read so far is used.
  void keep() { kept_ = at_; }
  /// What was read since keep(), as text; it counts as kept now.
  std::string give_back();
  /// What is not read; the feed is empty afterwards.
  std::string take_rest();

 private:
  std::string buffer_;
  size_t at_ = 0, kept_ = 0;
  size_t searched_ = 0;       // take_until looked up to here for
  std::string searched_for_;  // this
  bool finished_ = false;
};

}  // namespace mlxk

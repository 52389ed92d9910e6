#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// Finds literal markers in text that comes in pieces. What it reports depends on the text alone, never on how it was
/// cut: the marker that starts first counts, of several that start there the longest.
class MarkerScanner {
 public:
  struct Piece {
    std::string text;              // before the marker, or safe text when there is none
    std::optional<size_t> marker;  // index into the markers
  };

  /// `markers`: empty ones are ignored.
  explicit MarkerScanner(std::vector<std::string> markers);

  void push(std::string_view text) { buffer_ += text; }
  /// No more text comes: what was held back as a marker's possible beginning is text.
  void finish() { finished_ = true; }
  /// The next piece; nullopt while more text is needed. A text that may begin a marker is held back.
  std::optional<Piece> next();
  /// What is held back; the scanner is empty afterwards.
  std::string take_rest();

 private:
  struct Match {
    size_t position, marker;
  };
  std::optional<Match> first_match() const;
  /// Where a marker may begin that the text does not complete yet; the buffer's size when nowhere.
  size_t first_unfinished() const;

  std::vector<std::string> markers_;
  std::string buffer_;
  bool finished_ = false;
};

}  // namespace mlxk

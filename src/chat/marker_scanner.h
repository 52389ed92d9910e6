#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// Finds literal markers in text that arrives in pieces. The result depends on the text alone, never on how it was
/// split: the marker that starts first wins, and of several that start there the longest.
class MarkerScanner {
 public:
  struct Piece {
    std::string text;              // text before the marker, or safe text if there is none
    std::optional<size_t> marker;  // index into the markers
  };

  /// Empty `markers` are ignored.
  explicit MarkerScanner(std::vector<std::string> markers);

  void push(std::string_view text) { buffer_ += text; }
  /// Ends the text: the text held back as a possible marker is returned as text.
  void finish() { finished_ = true; }
  /// The next piece; nullopt while more text is needed. Text that may begin a marker is held back.
  std::optional<Piece> next();
  /// Returns the text held back; the scanner is empty afterwards.
  std::string take_rest();

 private:
  struct Match {
    size_t position, marker;
  };
  std::optional<Match> first_match() const;
  /// The place of a possible marker that the text does not complete yet; the buffer's size if there is none.
  size_t first_unfinished() const;

  std::vector<std::string> markers_;
  std::string buffer_;
  bool finished_ = false;
};

}  // namespace mlxk

#pragma once

#include <deque>
#include <fstream>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// A text to embed, and the fields that are printed beside its vector.
struct TextRecord {
  Json fields;  // an object
  std::string text;
};

/// Texts one after the other, in any number.
class TextSource {
 public:
  virtual ~TextSource() = default;
  /// The next text; nullopt at the end. Throws invalid, io naming the place.
  virtual std::optional<TextRecord> next() = 0;
};

/// Each word is a text; "-" is all of `input`, without trailing newlines. Words that are not UTF-8 are refused.
std::unique_ptr<TextSource> text_words(std::vector<std::string> words, std::istream& input);
/// Each file is a text, identified by {"file"}.
std::unique_ptr<TextSource> text_files(std::vector<std::string> files);
/// Each line of `input` is a JSON object with "text"; blank lines are skipped. Input without lines is refused.
std::unique_ptr<TextSource> text_json_lines(std::istream& input);
/// Each line of `input` is a text; blank lines are skipped.
std::unique_ptr<TextSource> text_lines(std::istream& input);

}  // namespace mlxk

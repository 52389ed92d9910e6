#include "json/non_finite.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "json/json.h"

namespace mlxk {

namespace {

struct Word {
  std::string_view text;
  double value;
};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Word kWords[] = {
    {"NaN", std::numeric_limits<double>::quiet_NaN()}, {"Infinity", kInfinity}, {"-Infinity", -kInfinity}};
constexpr char kMark = '\0';  // before the word, in a string that no configuration has

bool one_of(char c, std::string_view chars) { return chars.find(c) != chars.npos; }

/// The word that begins at `text[at]` and ends where a value may end; null if there is none.
const Word* word_at(std::string_view text, size_t at) {
  for (const Word& word : kWords) {
    if (text.compare(at, word.text.size(), word.text) != 0) continue;
    const size_t next = text.find_first_not_of(" \t\r\n", at + word.text.size());
    if (next == text.npos || one_of(text[next], ",]}")) return &word;  // not a ':': a key is no number
  }
  return nullptr;
}

/// One past the closing quote of the string whose opening quote is at `at`.
size_t end_of_string(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(at + 1, text.size());
}

}  // namespace

std::string quote_non_finite(std::string_view text) {
  std::string result;
  size_t copied = 0;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      at = end_of_string(text, at);
    } else if (const Word* word = one_of(text[at], "NI-") ? word_at(text, at) : nullptr) {
      result.append(text, copied, at - copied).append("\"\\u0000").append(word->text).append("\"");
      copied = at += word->text.size();
    } else {
      ++at;
    }
  }
  return result.append(text, copied);
}

void restore_non_finite(Json& value) {
  if (value.is_structured()) {
    for (Json& item : value) restore_non_finite(item);
  } else if (value.is_string()) {
    const std::string_view text = value.get_ref<const std::string&>();
    if (text.empty() || text[0] != kMark) return;
    for (const Word& word : kWords) {
      if (text.substr(1) == word.text) {
        value = word.value;
        return;
      }
    }
  }
}

void mark_non_finite(Json& value) {
  if (value.is_structured()) {
    for (Json& item : value) mark_non_finite(item);
  } else if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const auto number = value.get<double>();
    const Word& word = kWords[std::isnan(number) ? 0 : number > 0 ? 1 : 2];
    value = kMark + std::string(word.text);
  }
}

std::string unquote_non_finite(std::string text) {
  for (const Word& word : kWords) {
    const std::string quoted = "\"\\u0000" + std::string(word.text) + "\"";
    for (size_t at = 0; (at = text.find(quoted, at)) != text.npos;) text.replace(at, quoted.size(), word.text);
  }
  return text;
}

}  // namespace mlxk

// Values in JSON's and Python's syntax, which models mix.
#include <cctype>
#include <charconv>

#include "chat/tools/typed_value.h"

namespace mlxk {

namespace {
constexpr int kMaxLiteralDepth = 64;

void append_utf8(uint32_t c, std::string& out) {
  if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = 0xFFFD;
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static constexpr int kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[more] | (c >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((c >> (6 * i)) & 0x3F));
}

class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}
  std::optional<Json> value(int depth);
  std::string_view rest() const { return text_; }

 private:
  void skip_blanks() { text_.remove_prefix(std::min(text_.find_first_not_of(" \t\r\n"), text_.size())); }
  bool take(char c) {
    skip_blanks();
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::optional<uint32_t> hex(size_t digits);
  std::optional<std::string> string();
  bool escape(std::string& out);
  std::optional<Json> word();
  std::optional<Json> list(char close, int depth);
  std::optional<Json> object(int depth);

  std::string_view text_;
};

std::optional<uint32_t> Literal::hex(size_t digits) {
  if (text_.size() < digits) return std::nullopt;
  uint32_t value = 0;
  const auto end = std::from_chars(text_.data(), text_.data() + digits, value, 16);
  if (end.ptr != text_.data() + digits) return std::nullopt;
  text_.remove_prefix(digits);
  return value;
}

bool Literal::escape(std::string& out) {
  if (text_.empty()) return false;
  const char c = text_[0];
  text_.remove_prefix(1);
  if (c == 'x' || c == 'u' || c == 'U') {
    auto code = hex(c == 'x' ? 2 : c == 'u' ? 4 : 8);
    if (!code) return false;
    if (*code >= 0xD800 && *code < 0xDC00 && text_.substr(0, 2) == "\\u") {
      const std::string_view before = text_;
      text_.remove_prefix(2);
      const auto low = hex(4);
      if (low && *low >= 0xDC00 && *low < 0xE000) {
        code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
      } else {
        text_ = before;
      }
    }
    append_utf8(*code, out);
    return true;
  }
  static constexpr std::string_view kNames = "nrtbfav0\\'\"/";
  static constexpr std::string_view kValues{"\n\r\t\b\f\a\v\0\\'\"/", 12};
  const size_t at = kNames.find(c);
  if (at != std::string_view::npos) {
    out += kValues[at];
  } else if (c != '\n') {  // Python leaves an unknown escape as it is
    out += '\\';
    out += c;
  }
  return true;
}

std::optional<std::string> Literal::string() {
  const char quote = text_[0];
  const std::string_view three = text_.substr(0, 3);
  const bool triple = three.size() == 3 && three[1] == quote && three[2] == quote;
  const std::string_view close = triple ? three : three.substr(0, 1);
  text_.remove_prefix(close.size());
  std::string out;
  while (!text_.empty()) {
    if (text_.substr(0, close.size()) == close) {
      text_.remove_prefix(close.size());
      return out;
    }
    const char c = text_[0];
    text_.remove_prefix(1);
    if (c != '\\') {
      out += c;
    } else if (!escape(out)) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<Json> Literal::word() {
  size_t size = 0;
  const auto part = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '+' || c == '-' || c == '.';
  };
  while (size < text_.size() && part(text_[size])) ++size;
  const std::string_view word = text_.substr(0, size);
  std::optional<Json> value;
  if (word == "true" || word == "True") value = true;
  if (word == "false" || word == "False") value = false;
  if (word == "null" || word == "None") value = nullptr;
  if (!value && !word.empty() && (std::isdigit(static_cast<unsigned char>(word.back())) || word.back() == '.')) {
    // Python also writes ".5", "5." and "+5".
    std::string number(word[0] == '+' ? word.substr(1) : word);
    if (number.back() == '.') number += '0';
    const size_t digits = number[0] == '-' ? 1 : 0;
    if (digits < number.size() && number[digits] == '.') number.insert(digits, "0");
    const Json parsed = Json::parse(number, nullptr, false);
    if (parsed.is_number()) value = parsed;
  }
  if (value) text_.remove_prefix(size);
  return value;
}

std::optional<Json> Literal::list(char close, int depth) {
  Json out = Json::array();
  while (!take(close)) {
    if (!out.empty() && !take(',')) return std::nullopt;
    if (!out.empty() && take(close)) break;  // a trailing comma
    auto item = value(depth + 1);
    if (!item) return std::nullopt;
    out.push_back(std::move(*item));
  }
  return out;
}

std::optional<Json> Literal::object(int depth) {
  Json out = Json::object();
  for (bool first = true; !take('}'); first = false) {
    if (!first && !take(',')) return std::nullopt;
    if (!first && take('}')) break;
    const auto key = value(depth + 1);
    if (!key || key->is_structured() || !take(':')) return std::nullopt;
    auto item = value(depth + 1);
    if (!item) return std::nullopt;
    out[key->is_string() ? key->get<std::string>() : json_text(*key)] = std::move(*item);
  }
  return out;
}

std::optional<Json> Literal::value(int depth) {
  skip_blanks();
  if (text_.empty() || depth > kMaxLiteralDepth) return std::nullopt;
  const char c = text_[0];
  if (c == '"' || c == '\'') {
    auto text = string();
    if (!text) return std::nullopt;
    return Json(std::move(*text));
  }
  if (c != '[' && c != '(' && c != '{') return word();
  text_.remove_prefix(1);
  if (c == '{') return object(depth);
  return list(c == '[' ? ']' : ')', depth);
}
}  // namespace

std::optional<Json> take_literal(std::string_view& text) {
  Literal literal(text);
  auto value = literal.value(0);
  if (value) text = literal.rest();
  return value;
}

}  // namespace mlxk

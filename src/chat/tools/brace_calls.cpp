#include "chat/tools/brace_calls.h"

#include <algorithm>

#include "chat/tools/headed_calls.h"

namespace mlxk {

namespace {
constexpr int kMaxBraceDepth = 64;
constexpr std::string_view kCall = "call:";

class Braces {
 public:
  Braces(std::string_view text, std::string_view quote) : text_(text), quote_(quote) {}
  std::optional<std::vector<WholeCall>> calls();

 private:
  bool take(std::string_view literal) {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \t\r\n"), text_.size()));
    if (text_.substr(0, literal.size()) != literal) return false;
    text_.remove_prefix(literal.size());
    return true;
  }
  std::optional<std::string> until(std::string_view end);
  std::optional<Json> value(int depth);
  std::optional<Json> object(int depth);
  std::optional<Json> list(int depth);

  std::string_view text_, quote_;
};

std::optional<std::string> Braces::until(std::string_view end) {
  const size_t at = text_.find(end);
  if (at == std::string_view::npos) return std::nullopt;
  std::string out(text_.substr(0, at));
  text_.remove_prefix(at + end.size());
  return out;
}

std::optional<Json> Braces::object(int depth) {
  Json out = Json::object();
  while (!take("}")) {
    if (!out.empty() && !take(",")) return std::nullopt;
    const bool quoted = take(quote_);
    const auto key = until(quoted ? quote_ : ":");
    if (!key || (quoted && !take(":"))) return std::nullopt;
    auto item = value(depth + 1);
    if (!item) return std::nullopt;
    out[*key] = std::move(*item);
  }
  return out;
}

std::optional<Json> Braces::list(int depth) {
  Json out = Json::array();
  while (!take("]")) {
    if (!out.empty() && !take(",")) return std::nullopt;
    auto item = value(depth + 1);
    if (!item) return std::nullopt;
    out.push_back(std::move(*item));
  }
  return out;
}

std::optional<Json> Braces::value(int depth) {
  if (depth > kMaxBraceDepth) return std::nullopt;
  if (take(quote_)) {
    auto text = until(quote_);
    return text ? std::optional<Json>(std::move(*text)) : std::nullopt;
  }
  if (take("{")) return object(depth);
  if (take("[")) return list(depth);
  const size_t end = text_.find_first_of(",}]");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string word(text_.substr(0, end));
  text_.remove_prefix(end);
  const Json literal = Json::parse(word, nullptr, false);
  return literal.is_discarded() ? Json(word) : literal;
}

std::optional<std::vector<WholeCall>> Braces::calls() {
  std::vector<WholeCall> calls;
  for (size_t at = text_.find(kCall); at != std::string_view::npos; at = text_.find(kCall)) {
    text_.remove_prefix(at + kCall.size());
    const auto name = until("{");
    if (!name || !is_function_name(*name)) return std::nullopt;
    auto arguments = object(0);
    if (!arguments) return std::nullopt;
    calls.push_back({*name, std::move(*arguments)});
  }
  return calls;
}
}  // namespace

std::optional<std::vector<WholeCall>> brace_calls(std::string_view text, std::string_view quote) {
  return Braces(text, quote).calls();
}

}  // namespace mlxk

#include "probe/chat_template_probe.h"

#include <cctype>
#include <string_view>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {

namespace {

constexpr uint64_t kMaxScanBytes = uint64_t{64} << 20;

/// Whether `text` has a key "chat_template" whose value is not empty: a string, or a list of named templates.
bool names_a_template(std::string_view text) {
  constexpr std::string_view kKey = "\"chat_template\"";
  for (size_t at = 0; (at = text.find(kKey, at)) != text.npos;) {
    at += kKey.size();
    const auto skip_space = [&] {
      while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) ++at;
    };
    skip_space();
    if (at >= text.size() || text[at] != ':') continue;  // the words as a value
    ++at;
    skip_space();
    if (at + 1 >= text.size()) return false;
    const char open = text[at++];
    skip_space();
    if (at < text.size() && ((open == '"' && text[at] != '"') || (open == '[' && text[at] != ']'))) return true;
  }
  return false;
}

bool scan(const ModelFiles& files, std::string_view name) {
  if (!files.has(name)) return false;
  try {
    return names_a_template(read_file(files.folder() / name, kMaxScanBytes));
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

bool has_chat_template(const ModelFiles& files) {
  if (files.has("chat_template.jinja") || files.has("chat_template.json")) return true;
  return scan(files, "tokenizer_config.json") || scan(files, "tokenizer.json");
}

}  // namespace mlxk

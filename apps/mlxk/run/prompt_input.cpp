#include "run/prompt_input.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "chat/prompt.h"

namespace mlxk {

namespace {
constexpr size_t kLimit = size_t{256} << 20;

std::string read_all(std::istream& input) {
  std::string text;
  char chunk[65536];
  while (input.read(chunk, sizeof chunk), input.gcount() > 0) {
    text.append(chunk, static_cast<size_t>(input.gcount()));
    if (text.size() > kLimit) throw Error(ErrorKind::invalid, "stdin is larger than 256 MiB");
  }
  check_text(text, "stdin");
  return text;
}

/// The text of a word: `@file` is replaced by the file's content.
std::string expand(const std::string& word) {
  if (word.size() < 2 || word[0] != '@' || word.find_first_of(" \t\n") != std::string::npos) return word;
  if (word[1] == '@') return word.substr(1);
  const fs::path path = word.substr(1);
  if (!fs::is_regular_file(path)) {
    throw Error(ErrorKind::io, fmt::format("Prompt file not found: {}", path.string()),
                "write @@ for a word that begins with @");
  }
  std::string text = read_file(path);
  check_text(text, path.string());
  return text;
}

void append_block(std::string& text, const std::string& block) {
  if (!text.empty() && !block.empty()) text += "\n\n";
  text += block;
}
}  // namespace

void check_text(std::string_view text, std::string_view place) {
  size_t where = 0;
  if (is_clean_text(text, where)) return;
  throw Error(ErrorKind::invalid, fmt::format("{} is not UTF-8 text: byte 0x{:02X} at offset {}", place,
                                              static_cast<unsigned char>(text[where]), where));
}

std::string misplaced_prompt_hint(std::string_view word) {
  const bool file = word.find_first_of("/.") != word.npos && word.find(' ') == word.npos;
  return file ? "" : "--image and --audio take every word after them: put the prompt before them, or use --prompt TEXT";
}

std::optional<std::string> read_prompt(const std::optional<std::string>& prompt_option,
                                       const std::vector<std::string>& words, std::istream& input) {
  const bool pipe = prompt_option == "-" || std::find(words.begin(), words.end(), "-") != words.end();
  if (!pipe && !prompt_option && words.empty()) return std::nullopt;
  std::string files;
  std::string joined;
  if (prompt_option) {
    if (*prompt_option != "-") joined = expand(*prompt_option);
    check_text(joined, "the prompt");
  } else {
    for (const std::string& word : words) {
      if (word == "-") continue;
      check_text(word, "the prompt");
      const bool file = word.size() > 1 && word[0] == '@' && word[1] != '@' && word.find(' ') == std::string::npos;
      if (file) {
        append_block(files, expand(word));
      } else {
        joined += (joined.empty() ? "" : " ") + expand(word);
      }
    }
  }
  std::string text = pipe ? read_all(input) : "";
  append_block(text, files);
  append_block(text, joined);
  if (text.empty()) throw Error(ErrorKind::invalid, "the prompt is empty");
  return text;
}

}  // namespace mlxk

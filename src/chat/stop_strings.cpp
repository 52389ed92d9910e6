#include "chat/stop_strings.h"

#include <algorithm>
#include <cctype>

namespace mlxk {

std::string StopMatcher::drain() {
  std::string out;
  while (!stopped_) {
    const auto piece = scanner_.next();
    if (!piece) break;
    out += piece->text;
    stopped_ = piece->marker.has_value();
  }
  return out;
}

std::string StopMatcher::push(std::string_view text) {
  if (stopped_) return {};
  scanner_.push(text);
  return drain();
}

std::string StopMatcher::finish() {
  scanner_.finish();
  return drain();
}

namespace {
constexpr std::string_view kCommon[] = {"</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>"};

/// Whether one of the words for an end occurs in `token` as a word: "<|im_end|>", but not "<|vendor|>".
bool reads_like_an_end(std::string token) {
  for (char& c : token) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  static constexpr std::string_view kWords[] = {"end", "stop", "eot", "return", "finish", "done"};
  const auto letter = [&](size_t i) { return i < token.size() && std::isalpha(static_cast<unsigned char>(token[i])); };
  for (const std::string_view word : kWords) {
    for (size_t at = token.find(word); at != std::string::npos; at = token.find(word, at + 1)) {
      const bool whole = (at == 0 || !letter(at - 1)) && !letter(at + word.size());
      if (whole) return true;
    }
  }
  return false;
}

/// Tokens that end a part of the answer, not the answer.
bool ends_a_part(const std::string& token) {
  static constexpr std::string_view kParts[] = {"vision", "image", "img",  "audio", "video",   "box",    "quad",  "ref",
                                                "tool",   "think", "call", "code",  "channel", "system", "header"};
  return std::any_of(std::begin(kParts), std::end(kParts),
                     [&](std::string_view part) { return token.find(part) != std::string::npos; });
}
}  // namespace

std::vector<std::string> implicit_stop_strings(const Tokenizer& tokenizer, const std::vector<std::string>& keep) {
  std::vector<std::string> stops;
  const auto add = [&](const std::string& text) {
    const bool known = std::find(stops.begin(), stops.end(), text) != stops.end();
    const bool kept = std::find(keep.begin(), keep.end(), text) != keep.end();
    if (!text.empty() && !known && !kept) stops.push_back(text);
  };
  add(tokenizer.eos_token());
  // Some vocabularies use an ordinary word for padding.
  const auto pad = tokenizer.token_to_id(tokenizer.pad_token());
  if (pad && tokenizer.is_special(*pad)) add(tokenizer.pad_token());
  for (const int32_t id : tokenizer.eos_token_ids()) add(tokenizer.id_to_token(id).value_or(""));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_special(id)) continue;
    const std::string token = tokenizer.id_to_token(id).value_or("");
    if (reads_like_an_end(token) && !ends_a_part(token)) add(token);
  }
  for (const std::string_view token : kCommon) {
    if (tokenizer.token_to_id(token)) add(std::string(token));
  }
  return stops;
}

std::vector<std::string> conversation_stop_strings() { return {"\nHuman:", "\nAssistant:", "\nYou:"}; }

}  // namespace mlxk

#include "chat/prompt.h"

#include "base/error.h"

namespace mlxk {

std::string plain_conversation(const Json& messages) {
  std::string text;
  for (const Json& message : messages) {
    const std::string role = message.value("role", "user");
    const std::string content = message.at("content").is_string() ? message.at("content").get<std::string>() : "";
    text += role == "system" ? "System: " : role == "assistant" ? "Assistant: " : "Human: ";
    text += content + "\n\n";
  }
  return text + "Assistant: ";
}

Prompt chat_prompt(const Json& messages, const ChatTemplate* chat_template, const RenderOptions& options,
                   const Tokenizer& tokenizer) {
  if (messages.empty()) throw Error(ErrorKind::invalid, "[prompt] no messages");
  if (!chat_template) return raw_prompt(plain_conversation(messages), tokenizer);
  Prompt prompt{chat_template->render(messages, options), {}};
  // The template wrote the special tokens itself.
  prompt.ids = tokenizer.encode(prompt.text, false);
  return prompt;
}

Prompt raw_prompt(std::string text, const Tokenizer& tokenizer) {
  const std::string& bos = tokenizer.bos_token();
  const bool begun = !bos.empty() && text.compare(0, bos.size(), bos) == 0;
  Prompt prompt{std::move(text), {}};
  prompt.ids = tokenizer.encode(prompt.text, !begun);
  return prompt;
}

bool is_clean_text(std::string_view text, size_t& where) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    where = i;
    const unsigned char lead = byte(i);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xC2 && lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (lead == 0 || (lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    }
    const bool overlong = (lead == 0xE0 && byte(i + 1) < 0xA0) || (lead == 0xF0 && byte(i + 1) < 0x90);
    const bool surrogate = lead == 0xED && byte(i + 1) > 0x9F;
    if (overlong || surrogate || (lead == 0xF4 && byte(i + 1) > 0x8F)) return false;
    i += length;
  }
  return true;
}

}  // namespace mlxk

#include "chat/prompt.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "chat/image_prompt.h"
#include "json/json.h"
#include "tokenizer/chat_template.h"

namespace mlxk {

namespace {

/// U+FDD0 is not a character: no text contains it, and no template changes it.
constexpr std::string_view kMark = "\xef\xb7\x90";

/// Splits special tokens written by a user, a tool or another untrusted role with a mark, so that they are text and end
/// no turn.
class ControlCutter {
 public:
  /// `more`: texts that are split like special tokens.
  ControlCutter(const Tokenizer& tokenizer, size_t max_tokens, std::vector<std::string> more = {})
      : tokenizer_(tokenizer), max_tokens_(max_tokens), more_(std::move(more)) {}

  /// `messages` with the marks; unchanged if there was nothing to split.
  Json cut(Json messages) {
    for (Json& message : messages) {
      const auto role = message.find("role"), content = message.find("content");
      if (role == message.end() || content == message.end() || *role == "system" || *role == "assistant") continue;
      if (content->is_string()) *content = cut(content->get<std::string>());
      if (!content->is_array()) continue;
      for (Json& part : *content) {
        if (!part.is_object()) continue;
        const auto text = part.find("text");
        if (text != part.end() && text->is_string()) *text = cut(text->get<std::string>());
      }
    }
    return messages;
  }

  /// The ids of a rendered prompt; removes the marks.
  std::vector<int32_t> encode(std::string& text) const {
    if (!cut_) return tokenizer_.encode(text, false, max_tokens_);
    std::vector<int32_t> ids;
    std::string plain;
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(kMark, begin), text.size());
      const std::string_view piece = std::string_view(text).substr(begin, end - begin);
      const auto piece_ids = tokenizer_.encode(piece, false, max_tokens_ - ids.size());
      ids.insert(ids.end(), piece_ids.begin(), piece_ids.end());
      plain += piece;
      begin = end + kMark.size();
    }
    text = std::move(plain);
    return ids;
  }

 private:
  std::string cut(std::string text) {
    std::set<int32_t> written;
    for (const int32_t id : tokenizer_.encode(text, false, max_tokens_)) {
      if (tokenizer_.is_special(id)) written.insert(id);
    }
    for (const int32_t id : written) {
      const std::string token = tokenizer_.id_to_token(id).value_or("");
      const size_t first = first_character(token);
      if (first < token.size()) text = cut(text, token, first);
    }
    for (const std::string& token : more_) text = cut(text, token, first_character(token));
    return text;
  }

  std::string cut(const std::string& text, const std::string& token, size_t first) {
    std::string out;
    size_t begin = 0;
    for (size_t at = text.find(token); at != text.npos; at = text.find(token, begin)) {
      out.append(text, begin, at + first - begin).append(kMark);
      begin = at + first;
      cut_ = true;
    }
    return out.append(text, begin);
  }

  static size_t first_character(std::string_view text) {
    size_t size = 1;
    while (size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) ++size;
    return size;
  }

  const Tokenizer& tokenizer_;
  const size_t max_tokens_;
  const std::vector<std::string> more_;
  bool cut_ = false;
};

}  // namespace

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
                   const Tokenizer& tokenizer, size_t max_tokens, const PromptImages* images,
                   const PromptAudio* audio) {
  if (messages.empty()) throw Error(ErrorKind::invalid, "[prompt] no messages");
  if (images && images->images.empty()) images = nullptr;
  if (audio && audio->recordings.empty()) audio = nullptr;
  if (!chat_template && audio) throw Error(ErrorKind::invalid, "a model without a chat template accepts no audio");
  if (!chat_template && !images) return raw_prompt(plain_conversation(messages), tokenizer, max_tokens);
  std::vector<std::string> media_texts;
  if (images) media_texts = image_texts(images->processor);
  if (audio) media_texts.push_back(audio->processor.audio_token());
  ControlCutter cutter(tokenizer, max_tokens, std::move(media_texts));
  const Json safe = cutter.cut(messages);
  // The template writes the special tokens itself.
  Prompt prompt{!chat_template ? plain_image_prompt(safe, *images)
                : images       ? render_with_images(safe, *chat_template, options, *images)
                               : chat_template->render(safe, options),
                {}};
  if (audio) prompt.text = with_recordings(prompt.text, *audio);
  prompt.ids = cutter.encode(prompt.text);
  if (images) place_images(prompt, *images, tokenizer);
  if (audio) place_recordings(prompt, *audio, tokenizer);
  return prompt;
}

std::optional<Prompt> transcript_prompt(const PromptAudio& audio, const TranscriptRequest& request,
                                        const Tokenizer& tokenizer, size_t max_tokens) {
  ControlCutter cutter(tokenizer, max_tokens, {audio.processor.audio_token()});
  const Json said = cutter.cut(Json::array({{{"role", "user"}, {"content", request.context}}}));
  TranscriptRequest safe = request;
  safe.context = said[0]["content"].get<std::string>();
  auto text = audio.processor.transcript_prompt(audio.recordings.at(0).text, safe);
  if (!text) return std::nullopt;
  Prompt prompt{*std::move(text), {}};
  prompt.ids = cutter.encode(prompt.text);
  place_recordings(prompt, audio, tokenizer);
  return prompt;
}

Prompt raw_prompt(std::string text, const Tokenizer& tokenizer, size_t max_tokens) {
  const std::string& bos = tokenizer.bos_token();
  const bool begun = !bos.empty() && text.compare(0, bos.size(), bos) == 0;
  Prompt prompt{std::move(text), {}};
  prompt.ids = tokenizer.encode(prompt.text, !begun, max_tokens);
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

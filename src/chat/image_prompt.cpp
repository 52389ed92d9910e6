#include "chat/image_prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "base/error.h"
#include "json/json.h"
#include "tokenizer/chat_template.h"

namespace mlxk {

namespace {

/// The text parts of a content, joined by a space; `images` counts the other parts.
std::string text_of(const Json& content, int& images) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  for (const Json& part : content) {
    if (part.is_object() && part.value("type", "") == "image") {
      ++images;
    } else if (part.is_object() && part.contains("text")) {
      text += (text.empty() ? "" : " ") + part["text"].get<std::string>();
    }
  }
  return text;
}

/// Messages whose contents are text, with a placeholder on a line of its own for each image.
Json with_placeholders(Json messages, const ImageProcessor& processor) {
  int index = 0;
  for (Json& message : messages) {
    if (!message.contains("content") || !message["content"].is_array()) continue;
    int images = 0;
    const std::string text = text_of(message["content"], images);
    std::string whole;
    for (int i = 0; i < images; ++i) whole += processor.placeholder(index++) + "\n";
    message["content"] = whole + text;
  }
  return messages;
}

/// Replaces each placeholder_of(i) in `text` by text_of_item(i); nullopt if there are not `count` of them.
template <class Placeholder>
std::optional<std::string> expand(const std::string& text, size_t count, const Placeholder& placeholder_of,
                                  const std::function<const std::string&(size_t)>& text_of_item) {
  std::string out;
  size_t begin = 0;
  for (size_t i = 0; i < count; ++i) {
    const std::string placeholder = placeholder_of(static_cast<int>(i));
    const size_t at = text.find(placeholder, begin);
    if (at == text.npos) return std::nullopt;
    out.append(text, begin, at - begin).append(text_of_item(i));
    begin = at + placeholder.size();
  }
  if (text.find(placeholder_of(static_cast<int>(count)), begin) != text.npos) return std::nullopt;
  return out.append(text, begin);
}

/// The same of images, and finishes the prompt.
std::optional<std::string> expand(const std::string& text, const PromptImages& all) {
  auto whole = expand(
      text, all.images.size(), [&](int i) { return all.processor.placeholder(i); },
      [&](size_t i) -> const std::string& { return all.images[i].text; });
  if (!whole) return whole;
  return all.processor.finished(*std::move(whole));
}

Error no_place(const PromptImages& all) {
  return Error(ErrorKind::invalid, fmt::format("the prompt must have one placeholder {} for each of {} images",
                                               all.processor.placeholder(0), all.images.size()));
}

}  // namespace

std::vector<std::string> image_texts(const ImageProcessor& processor) {
  std::vector<std::string> texts{processor.placeholder(0)};
  if (processor.image_token() != texts.front()) texts.push_back(processor.image_token());
  return texts;
}

std::string render_with_images(const Json& messages, const ChatTemplate& chat_template, const RenderOptions& options,
                               const PromptImages& images) {
  if (auto text = expand(chat_template.render(messages, options), images)) return *text;
  if (auto text = expand(chat_template.render(with_placeholders(messages, images.processor), options), images)) {
    return *text;
  }
  throw no_place(images);
}

std::string plain_image_prompt(const Json& messages, const PromptImages& images) {
  std::string text;
  for (const Json& message : messages) {
    int count = 0;
    if (message.value("role", "") == "user") text = text_of(message.at("content"), count);
  }
  if (auto whole = expand(images.processor.plain_prompt(text, static_cast<int>(images.images.size())), images)) {
    return *whole;
  }
  throw no_place(images);
}

namespace {

/// Where the items' tokens stand in the ids of `prompt`; `what` names an item, each has data and a number of tokens.
template <class Items>
std::vector<MediaItem> placed(const Prompt& prompt, const Items& items, const std::string& token, const char* what,
                              const Tokenizer& tokenizer) {
  const std::vector<int32_t> id = tokenizer.encode(token, false);
  if (id.size() != 1)
    throw Error(ErrorKind::bad_model, fmt::format("[tokenizer] has no token {} for {}s", token, what));
  const auto size = static_cast<int64_t>(prompt.ids.size());
  int64_t at = 0;
  const auto next = [&] {
    while (at < size && prompt.ids[static_cast<size_t>(at)] != id.front()) ++at;
    return at < size;
  };
  std::vector<MediaItem> all;
  for (size_t i = 0; i < items.size(); ++i) {
    MediaItem item{0, 0, id.front(), items[i].data};
    for (int count = 0; count < items[i].tokens; ++count, ++at) {
      if (!next()) {
        throw Error(ErrorKind::invalid, fmt::format("{} {} needs {} tokens {}, the prompt has {}", what, i + 1,
                                                    items[i].tokens, token, count));
      }
      if (count == 0) item.begin = at;
      item.end = at + 1;
    }
    all.push_back(std::move(item));
  }
  if (next()) {
    throw Error(ErrorKind::invalid, fmt::format("the prompt has more tokens {} than its {}s need", token, what));
  }
  return all;
}

}  // namespace

void place_images(Prompt& prompt, const PromptImages& images, const Tokenizer& tokenizer) {
  for (MediaItem& item : placed(prompt, images.images, images.processor.image_token(), "image", tokenizer)) {
    if (images.processor.attention() == ImageProcessor::Attention::image_blocks) {
      prompt.attend_both_ways.push_back({item.begin, item.end});
    }
    prompt.media.push_back(std::move(item));
  }
  if (images.processor.attention() == ImageProcessor::Attention::whole_prompt) {
    prompt.attend_both_ways = {{0, static_cast<int64_t>(prompt.ids.size())}};
  }
}

std::string with_recordings(const std::string& text, const PromptAudio& audio) {
  const std::string token = audio.processor.audio_token();
  auto whole = expand(
      text, audio.recordings.size(), [&](int) { return token; },
      [&](size_t i) -> const std::string& { return audio.recordings[i].text; });
  if (whole) return *std::move(whole);
  throw Error(ErrorKind::invalid, fmt::format("the prompt must have one placeholder {} for each of {} recordings: the "
                                              "chat template writes none",
                                              token, audio.recordings.size()));
}

void place_recordings(Prompt& prompt, const PromptAudio& audio, const Tokenizer& tokenizer) {
  for (MediaItem& item : placed(prompt, audio.recordings, audio.processor.audio_token(), "recording", tokenizer)) {
    prompt.media.push_back(std::move(item));
  }
  std::sort(prompt.media.begin(), prompt.media.end(),
            [](const MediaItem& a, const MediaItem& b) { return a.begin < b.begin; });
}

}  // namespace mlxk

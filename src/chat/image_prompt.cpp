#include "chat/image_prompt.h"

#include <fmt/format.h>

#include <optional>

#include "base/error.h"

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

/// Replaces each placeholder by its image's text and finishes the prompt; nullopt if their number is not that of the
/// images.
std::optional<std::string> expand(const std::string& text, const PromptImages& all) {
  std::string out;
  size_t begin = 0;
  for (size_t i = 0; i < all.images.size(); ++i) {
    const std::string placeholder = all.processor.placeholder(static_cast<int>(i));
    const size_t at = text.find(placeholder, begin);
    if (at == text.npos) return std::nullopt;
    out.append(text, begin, at - begin).append(all.images[i].text);
    begin = at + placeholder.size();
  }
  if (text.find(all.processor.placeholder(static_cast<int>(all.images.size())), begin) != text.npos)
    return std::nullopt;
  return all.processor.finished(out.append(text, begin));
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

void place_images(Prompt& prompt, const PromptImages& images, const Tokenizer& tokenizer) {
  const std::string token = images.processor.image_token();
  const std::vector<int32_t> id = tokenizer.encode(token, false);
  if (id.size() != 1) throw Error(ErrorKind::bad_model, fmt::format("[tokenizer] has no token {} for images", token));
  const auto size = static_cast<int64_t>(prompt.ids.size());
  int64_t at = 0;
  const auto next = [&] {
    while (at < size && prompt.ids[static_cast<size_t>(at)] != id.front()) ++at;
    return at < size;
  };
  for (size_t i = 0; i < images.images.size(); ++i) {
    const ProcessedImage& image = images.images[i];
    MediaItem item{0, 0, id.front(), image.data};
    for (int count = 0; count < image.tokens; ++count, ++at) {
      if (!next()) {
        throw Error(ErrorKind::invalid,
                    fmt::format("image {} needs {} tokens {}, the prompt has {}", i + 1, image.tokens, token, count));
      }
      if (count == 0) item.begin = at;
      item.end = at + 1;
    }
    if (images.processor.attention() == ImageProcessor::Attention::image_blocks) {
      prompt.attend_both_ways.push_back({item.begin, item.end});
    }
    prompt.media.push_back(std::move(item));
  }
  if (next()) throw Error(ErrorKind::invalid, fmt::format("the prompt has more tokens {} than its images need", token));
  if (images.processor.attention() == ImageProcessor::Attention::whole_prompt) prompt.attend_both_ways = {{0, size}};
}

}  // namespace mlxk

#include "server/openai/messages.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/fields.h"
#include "server/openai/schema.h"
#include "tokenizer/base64.h"

namespace mlxk {
namespace {

using namespace schema;

constexpr size_t kMaxMessages = 20'000;
constexpr size_t kMaxParts = 10'000;
constexpr size_t kMegabyte = 1 << 20;
constexpr size_t kMaxImageBytes = 20 * kMegabyte, kMaxImagesBytes = 50 * kMegabyte, kMaxAudioBytes = 50 * kMegabyte;

Json part(const char* type, const char* content, Json schema) {
  Json properties = {{"type", one_of({type})}};
  properties[content] = std::move(schema);
  properties["prompt_cache_breakpoint"] = unsupported("prefixes are cached without being asked for");
  return object(std::move(properties), {"type", content});
}

Json text_or_parts(std::vector<Json> parts) {
  return any_of({text(), array(parts.size() == 1 ? parts.front() : any_of(parts), 1, kMaxParts)});
}

Json message(std::vector<const char*> roles, Json content, Json more = Json::object(),
             std::initializer_list<std::string_view> required = {"role", "content"}) {
  Json properties = {{"role", {{"type", "string"}, {"enum", roles}}}, {"content", std::move(content)}};
  properties["name"] = nullable(text());
  properties.update(more);
  return object(std::move(properties), required);
}

Json make_schema() {
  const Json text_part = part("text", "text", text());
  const Json refusal_part = part("refusal", "refusal", text());
  const Json image_part =
      part("image_url", "image_url",
           object({{"url", with(text(1), {{"description", "A data URL of a JPEG, PNG, GIF or WebP image in base64"}})},
                   {"detail", nullable(one_of({"auto", "low", "high", "original"}))}},
                  {"url"}));
  const Json audio_part =
      part("input_audio", "input_audio",
           object({{"data", text(1)}, {"format", one_of({"wav", "mp3", "mpeg"})}}, {"data", "format"}));
  const Json call = object(
      {{"id", nullable(text())},
       {"type", one_of({"function"})},
       {"function",
        object({{"name", text(1)},
                {"arguments", with(nullable(any_of({text(), object()})),
                                   {{"description", "A JSON object, as text or as it is; templates get the object"}})}},
               {"name"})}},
      {"function"});
  const Json answer = {
      {"tool_calls", nullable(array(call, 0, 128))},
      {"refusal", nullable(text())},
      {"reasoning_content", nullable(text())},
      {"reasoning", nullable(text())},
      {"thinking", nullable(text())},
      {"annotations", nullable(array(object(), 0, kMaxParts))},
      {"audio", unsupported("no model here speaks")},
      {"function_call", unsupported("it is deprecated, use tool_calls")},
  };
  return array(any_of({
                   message({"system", "developer"}, text_or_parts({text_part})),
                   message({"user"}, text_or_parts({text_part, image_part, audio_part})),
                   message({"assistant"}, nullable(text_or_parts({text_part, refusal_part})), answer, {"role"}),
                   message({"tool"}, text_or_parts({text_part}), {{"tool_call_id", text()}},
                           {"role", "content", "tool_call_id"}),
               }),
               1, kMaxMessages);
}

/// The bytes of base64 text; throws naming `param`.
size_t decoded_size(const std::string& encoded, const char* what, const std::string& param) {
  const auto bytes = base64_decode(encoded);
  if (!bytes) refuse_field(param, fmt::format("Failed to decode base64 {} data: not padded base64", what));
  if (bytes->empty()) refuse_field(param, fmt::format("Decoded {} data is empty", what));
  return bytes->size();
}

std::string megabytes(size_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / static_cast<double>(kMegabyte));
}

size_t image_bytes(const std::string& url, const std::string& param) {
  if (url.rfind("data:", 0) != 0) {
    refuse_field(param,
                 "Only data URLs are supported (data:image/<type>;base64,<data>). External URLs are not supported.");
  }
  const size_t comma = url.find(',');
  const std::string head = url.substr(0, comma == url.npos ? 0 : comma);
  bool known = false;
  for (const char* type : {"jpeg", "jpg", "png", "gif", "webp"}) {
    known = known || head == fmt::format("data:image/{};base64", type);
  }
  if (!known) {
    refuse_field(param, "Invalid data URL format. Expected data:image/<jpeg|jpg|png|gif|webp>;base64,<data>");
  }
  const size_t size = decoded_size(url.substr(comma + 1), "image", param);
  if (size > kMaxImageBytes) {
    refuse_field(param, fmt::format("Image size ({}) exceeds limit (20 MB)", megabytes(size)));
  }
  return size;
}

/// Checks media as it goes; texts are collected.
class Reader {
 public:
  Conversation read(const Json& messages) {
    Conversation result{Json::array()};
    for (size_t i = 0; i < messages.size(); ++i) {
      result.messages.push_back(read_message(messages[i], fmt::format("messages[{}]", i)));
    }
    result.has_images = images_bytes_ > 0;
    result.has_audio = has_audio_;
    return result;
  }

 private:
  Json read_message(Json message, const std::string& path) {
    if (message["role"] == "developer") message["role"] = "system";
    message["content"] = read_content(message, path + ".content");
    if (given(message, "tool_calls")) read_calls(message["tool_calls"], path + ".tool_calls");
    return message;
  }

  Json read_content(const Json& message, const std::string& path) {
    if (const Json* content = given(message, "content")) {
      return content->is_array() ? read_parts(*content, path) : *content;
    }
    if (const Json* refusal = given(message, "refusal")) return *refusal;
    if (const Json* calls = given(message, "tool_calls"); calls && !calls->empty())
      return "";  // templates trim and join it
    refuse_field(path, path + " is required unless tool_calls are given", "missing_required_parameter");
  }

  Json read_parts(const Json& parts, const std::string& path) {
    std::string joined;
    bool all_text = true;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto& type = parts[i]["type"].get_ref<const std::string&>();
      const std::string place = fmt::format("{}[{}].{}", path, i, type);
      if (type == "text" || type == "refusal") {
        if (i > 0) joined += ' ';
        joined += parts[i][type].get_ref<const std::string&>();
        continue;
      }
      all_text = false;
      if (type == "image_url") {
        images_bytes_ += image_bytes(parts[i][type]["url"].get_ref<const std::string&>(), place + ".url");
        if (images_bytes_ > kMaxImagesBytes) {
          refuse_field(place + ".url",
                       fmt::format("Total image size ({}) exceeds limit (50 MB)", megabytes(images_bytes_)));
        }
      } else {
        const size_t size =
            decoded_size(parts[i][type]["data"].get_ref<const std::string&>(), "audio", place + ".data");
        if (size > kMaxAudioBytes) {
          refuse_field(place + ".data", fmt::format("Audio size ({}) exceeds limit (50 MB)", megabytes(size)));
        }
        has_audio_ = true;
      }
    }
    return all_text ? Json(joined) : parts;
  }

  static void read_calls(Json& calls, const std::string& path) {
    for (size_t i = 0; i < calls.size(); ++i) {
      calls[i].emplace("type", "function");
      Json& function = calls[i]["function"];
      const Json* arguments = given(function, "arguments");
      const std::string place = fmt::format("{}[{}].function.arguments", path, i);
      if (!arguments || *arguments == "") {
        function["arguments"] = Json::object();
      } else if (arguments->is_string()) {
        function["arguments"] = parse_object(arguments->get_ref<const std::string&>(), place);
      }
    }
  }

  size_t images_bytes_ = 0;
  bool has_audio_ = false;
};

}  // namespace

const Json& messages_schema() {
  static const Json schema = make_schema();
  return schema;
}

Conversation read_messages(const Json& messages) { return Reader().read(messages); }

}  // namespace mlxk

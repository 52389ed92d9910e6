#include "server/openai/messages.h"

#include <fmt/format.h>

#include <list>
#include <string>
#include <utility>
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
constexpr size_t kMaxImagesBytes = 50 * kMegabyte, kMaxAudioBytes = 50 * kMegabyte;

Json part(const char* type, const char* content, Json schema) {
  Json properties = {{"type", one_of({type})}};
  properties[content] = std::move(schema);
  return object(std::move(properties), {"type", content});
}

/// The parts that are checked: those that a model is shown.
const Json& image_part() {
  const Json url = with(text(1), {{"description", "A data URL of a JPEG, PNG, GIF or WebP image in base64"}});
  static const Json schema =
      part("image_url", "image_url",
           any_of({object({{"url", url}, {"detail", nullable(one_of({"auto", "low", "high", "original"}))}}, {"url"}),
                   url}));
  return schema;
}

const Json& audio_part() {
  static const Json schema =
      part("input_audio", "input_audio",
           object({{"data", text(1)}, {"format", one_of({"wav", "mp3", "mpeg"})}}, {"data", "format"}));
  return schema;
}

/// A tool call of an earlier answer, however broken.
Json call_schema() {
  const Json function =
      object({{"name", nullable(text())},
              {"arguments", {{"description", "A JSON object, as text or as it is; templates get an object"}}}});
  return object({{"id", nullable(text())},
                 {"type", nullable(text())},
                 {"function", nullable(function)},
                 {"custom", nullable(object({{"name", nullable(text())}}))}});
}

Json make_schema() {
  // Media are checked by their own schemas; a part of any other type is passed on as text.
  const Json any_part = any_of({text(),
                                part("text", "text", nullable(text())),
                                part("refusal", "refusal", text()),
                                image_part(),
                                audio_part(),
                                object(),
                                {{"type", "null"}}});
  const std::vector<Json> contents = {text(), array(any_part, 0, kMaxParts), object()};
  std::vector<Json> results = contents;  // programs send back earlier answers
  for (const char* type : {"number", "boolean"}) results.push_back({{"type", type}});
  const auto message = [](Json role, Json content) {
    return object({{"role", std::move(role)},
                   {"content", nullable(std::move(content))},
                   {"name", nullable(text())},
                   {"tool_call_id", nullable(text())},
                   {"tool_calls", nullable(array(call_schema(), 0, kMaxParts))},
                   {"refusal", nullable(text())},
                   {"reasoning_content", nullable(text())},
                   {"reasoning", nullable(text())},
                   {"thinking", nullable(text())},
                   {"annotations", nullable(array(object(), 0, kMaxParts))},
                   {"audio", nullable(object())},
                   {"function_call", nullable(object({{"name", nullable(text())}}))}},
                  {"role"});
  };
  const Json any_role = with(text(1, 64), {{"pattern", kNamePattern}});
  return array(any_of({message(one_of({"tool", "function"}), any_of(results)), message(any_role, any_of(contents))}), 1,
               kMaxMessages);
}

/// The bytes of base64 text; throws naming `param`.
std::string decoded(const std::string& encoded, const char* what, const std::string& param) {
  auto bytes = base64_decode(encoded);
  if (!bytes) refuse_field(param, fmt::format("Failed to decode base64 {} data: not padded base64", what));
  if (bytes->empty()) refuse_field(param, fmt::format("Decoded {} data is empty", what));
  return *std::move(bytes);
}

std::string megabytes(size_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / static_cast<double>(kMegabyte));
}

/// The bytes of a data URL.
std::string image_bytes(const std::string& url, const std::string& param) {
  const size_t comma = url.find(',');
  const std::string head = url.substr(0, comma == url.npos ? 0 : comma);
  bool known = false;
  for (const char* type : {"jpeg", "jpg", "png", "gif", "webp"}) {
    known = known || head == fmt::format("data:image/{};base64", type);
  }
  if (!known) {
    refuse_field(param, "Invalid data URL format. Expected data:image/<jpeg|jpg|png|gif|webp>;base64,<data>");
  }
  std::string bytes = decoded(url.substr(comma + 1), "image", param);
  if (bytes.size() > kMaxImageBytes) {
    refuse_field(param, fmt::format("Image size ({}) exceeds limit (20 MB)", megabytes(bytes.size())));
  }
  return bytes;
}

/// Whether a part is a medium that no model here is shown.
bool is_other_medium(std::string_view type) {
  for (const char* medium : {"file", "input_file", "document", "input_image", "image", "image_file", "audio",
                             "audio_url", "video", "video_url", "input_video"}) {
    if (type == medium) return true;
  }
  return false;
}

std::string as_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? std::string() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Checks media on the way; texts are collected. Malformed parts of earlier answers or clients are converted to the
/// nearest valid form.
class Reader {
 public:
  Conversation read(const Json& messages) {
    Conversation result{Json::array()};
    for (size_t i = 0; i < messages.size(); ++i) {
      result.messages.push_back(read_message(messages[i], fmt::format("messages[{}]", i)));
    }
    result.images = std::move(images_);
    result.has_audio = has_audio_;
    return result;
  }

 private:
  Json read_message(Json message, const std::string& path) {
    std::string role = message["role"];
    if (role == "developer") role = "system";
    if (role == "function") role = "tool";
    message["role"] = role;
    message["content"] = read_content(message, path + ".content");
    read_function_call(message);
    if (given(message, "tool_calls")) read_calls(message["tool_calls"]);
    if (role == "tool") read_call_id(message);
    return message;
  }

  Json read_content(Json& message, const std::string& path) {
    const Json* content = given(message, "content");
    if (!content) return given(message, "refusal") ? message["refusal"] : Json("");  // templates trim and join it
    if (content->is_array()) return read_parts(message, *content, path);
    if (content->is_object() && content->contains("type")) return read_parts(message, Json::array({*content}), path);
    return as_text(*content);
  }

  Json read_parts(Json& message, const Json& parts, const std::string& path) {
    std::string joined, reasoning;
    Json media = Json::array();
    bool all_text = true;
    for (size_t i = 0; i < parts.size(); ++i) {
      const Json& part = parts[i];
      const std::string place = fmt::format("{}[{}]", path, i);
      const Json* type_value = part.is_object() ? given(part, "type") : nullptr;
      const std::string type = type_value && type_value->is_string() ? type_value->get<std::string>() : "";
      if (type == "image_url" || type == "input_audio") {
        all_text = false;
        media.push_back(read_medium(part, type, place));
      } else if (is_other_medium(type)) {
        refuse_field(place + ".type",
                     fmt::format("{}.type {} is not supported: models are shown text, image_url and input_audio", place,
                                 shown(type)),
                     "unsupported_value");
      } else if (type == "thinking" || type == "reasoning") {
        if (const Json* text = given(part, type.c_str())) reasoning += as_text(*text);
      } else {
        const std::string text = text_of(part);
        joined += (media.empty() ? "" : " ") + text;
        media.push_back({{"type", "text"}, {"text", text}});
      }
    }
    if (!reasoning.empty() && !given(message, "reasoning_content")) message["reasoning_content"] = reasoning;
    return all_text ? Json(joined) : media;
  }

  /// The text of a part, of whatever type, or the whole part.
  static std::string text_of(const Json& part) {
    if (!part.is_object()) return as_text(part);
    for (const char* key : {"text", "refusal"}) {
      const auto found = part.find(key);
      if (found != part.end() && !found->is_structured()) return as_text(*found);
    }
    return part.value("type", Json()) == "text" ? std::string() : as_text(part);
  }

  Json read_medium(Json part, const std::string& type, const std::string& place) {
    const Checked checked = check(type == "image_url" ? image_part() : audio_part(), part, place);
    if (checked.violation) {
      refuse_field(checked.violation->path, checked.violation->message, checked.violation->code.c_str());
    }
    if (type == "input_audio") {
      const std::string param = place + ".input_audio.data";
      const size_t size = decoded(part[type]["data"].get_ref<const std::string&>(), "audio", param).size();
      if (size > kMaxAudioBytes)
        refuse_field(param, fmt::format("Audio size ({}) exceeds limit (50 MB)", megabytes(size)));
      has_audio_ = true;
      return part;
    }
    const Json& image = part[type];
    MessageImage own{"", image.is_string() ? image.get<std::string>() : image["url"].get<std::string>(),
                     place + ".image_url.url"};
    if (own.url.rfind("data:", 0) == 0) own.bytes = image_bytes(std::exchange(own.url, ""), own.place);
    images_bytes_ += own.bytes.size();
    if (images_bytes_ > kMaxImagesBytes) {
      refuse_field(own.place, fmt::format("Total image size ({}) exceeds limit (50 MB)", megabytes(images_bytes_)));
    }
    images_.push_back(std::move(own));
    return {{"type", "image"}};
  }

  /// The form before tools: one call, without an id.
  static void read_function_call(Json& message) {
    const Json* call = given(message, "function_call");
    if (call && !given(message, "tool_calls")) message["tool_calls"] = Json::array({{{"function", *call}}});
    message.erase("function_call");
    message.erase("audio");  // earlier audio cannot be looked up
  }

  void read_calls(Json& calls) {
    unanswered_.clear();
    for (Json& call : calls) {
      Json function = given(call, "function") ? call["function"] : Json::object();
      if (const Json* custom = given(call, "custom")) {
        function = {{"name", given(*custom, "name") ? (*custom)["name"] : Json("")},
                    {"arguments", {{"input", custom->value("input", Json(""))}}}};
      }
      if (!given(function, "name")) function["name"] = "";
      function["arguments"] = read_arguments(function);
      const Json* id = given(call, "id");
      Json whole = {{"id", id && *id != "" ? *id : Json(fresh_id())}, {"type", "function"}};
      for (const auto& [key, value] : call.items()) {
        if (key != "id" && key != "type" && key != "custom" && key != "function") whole[key] = value;
      }
      whole["function"] = std::move(function);
      unanswered_.push_back(whole["id"]);
      call = std::move(whole);
    }
  }

  /// An object, which templates iterate by name. Text that is not an object, often cut off by the token limit, becomes
  /// the value of one key.
  static Json read_arguments(const Json& function) {
    const Json* given_arguments = given(function, "arguments");
    if (!given_arguments || *given_arguments == "") return Json::object();
    Json arguments = *given_arguments;
    if (arguments.is_string()) {
      try {
        return parse_object(arguments.get_ref<const std::string&>(), "arguments");
      } catch (const ApiError&) {
      }
    }
    return arguments.is_object() ? arguments : Json{{"arguments", std::move(arguments)}};
  }

  /// Results without a call id are matched to the calls in order.
  void read_call_id(Json& message) {
    const Json* id = given(message, "tool_call_id");
    if (!id || *id == "") message["tool_call_id"] = unanswered_.empty() ? Json(fresh_id()) : unanswered_.front();
    unanswered_.remove(message["tool_call_id"]);
  }

  /// Some templates want nine letters or digits.
  std::string fresh_id() { return fmt::format("call{:05}", fresh_++); }

  std::vector<MessageImage> images_;
  size_t images_bytes_ = 0;
  bool has_audio_ = false;
  std::list<Json> unanswered_;  // ids of the last answer's calls
  int fresh_ = 0;
};

}  // namespace

const Json& messages_schema() {
  static const Json schema = make_schema();
  return schema;
}

Conversation read_messages(const Json& messages) { return Reader().read(messages); }

}  // namespace mlxk

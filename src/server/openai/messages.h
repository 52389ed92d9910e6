#pragma once

#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// The JSON Schema of `messages`.
const Json& messages_schema();

constexpr size_t kMaxImageBytes = 20 << 20;

/// An image of a message.
struct MessageImage {
  std::string bytes;  // of the image file; empty: only its address was given
  std::string url;    // the address to fetch; empty for a data URL
  std::string place;  // the field that has it
};

struct Conversation {
  Json messages;
  std::vector<MessageImage> images;  // in order, those of the parts {"type": "image"}
  bool has_audio = false;
};

/// Converts messages that conform to the schema to the form of templates. developer becomes system, function becomes
/// tool; content is one string, its text parts joined by a space, or a list if there are media; a tool call has an id
/// and arguments that are an object, a tool's message the id of its call. Images are taken out and leave a part
/// {"type": "image"} each. Malformed parts of earlier answers or clients are converted to the nearest valid form.
/// Checks the media parts. Throws ApiError 400.
Conversation read_messages(const Json& messages);

}  // namespace mlxk

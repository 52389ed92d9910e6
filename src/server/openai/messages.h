#pragma once

#include "json/json.h"

namespace mlxk {

/// The JSON Schema of `messages`.
const Json& messages_schema();

struct Conversation {
  Json messages;
  bool has_images = false, has_audio = false;
};

/// Messages that keep to the schema as templates want them: developer is system; content of text parts alone is one
/// string, its parts joined by a blank; null content is ""; a tool call's arguments are an object. Checks the media
/// parts, which stay as they are. Throws ApiError 400.
Conversation read_messages(const Json& messages);

}  // namespace mlxk

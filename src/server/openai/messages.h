#pragma once

#include "json/json.h"

namespace mlxk {

/// The JSON Schema of `messages`.
const Json& messages_schema();

struct Conversation {
  Json messages;
  bool has_images = false, has_audio = false;
};

/// Messages that keep to the schema as templates want them. developer is system, function is tool; content is one
/// string, its text parts joined by a blank, or a list where there are media; a tool call has an id and arguments that
/// are an object, a tool's message the id of its call. What an earlier answer or a client broke is put into the nearest
/// such form. Checks the media parts. Throws ApiError 400.
Conversation read_messages(const Json& messages);

}  // namespace mlxk

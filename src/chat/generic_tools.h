#pragma once

#include "json/json_fwd.h"

namespace mlxk {

class ChatTemplate;
struct RenderOptions;

/// Whether the template (its variant for tools) shows a system message; false where it leaves it out or refuses it.
bool takes_system_message(const ChatTemplate& chat_template);

/// For a template that knows no tools: describes `options.tools` in the system message of `messages`, or in the first
/// user turn where there is no `system_message`, and writes the calls and results of the conversation as text, in the
/// form of the family json_tools. `options.tools` is null afterwards, and options.tools_in_messages says whether it was
/// given. Messages that are not as expected stay as they are.
void write_generic_tools(Json& messages, RenderOptions& options, bool system_message);

}  // namespace mlxk

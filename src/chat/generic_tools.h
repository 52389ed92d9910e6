#pragma once

#include "json/json_fwd.h"

namespace mlxk {

class ChatTemplate;
struct RenderOptions;

/// Whether the template (its variant for tools) shows a system message; false if it leaves it out or refuses it.
bool takes_system_message(const ChatTemplate& chat_template);

/// For a template without tool support: describes `options.tools` in the system message of `messages`, or in the first
/// user turn if `system_message` is false, and writes the conversation's calls and results as text, in the format
/// json_tools. Afterwards `options.tools` is null, and options.tools_in_messages says whether it was given. Malformed
/// messages are unchanged.
void write_generic_tools(Json& messages, RenderOptions& options, bool system_message);

}  // namespace mlxk

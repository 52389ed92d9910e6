// Tools for models whose chat template does not support them, as in llama.cpp. The format is that of Hermes and
// Qwen2.5, which most models have seen in training.
#include "chat/generic_tools.h"

#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "chat/tools/typed_value.h"
#include "json/member.h"
#include "tokenizer/chat_template.h"

namespace mlxk {

namespace {
std::string role_of(const Json& message) {
  if (!message.is_object()) return "";
  const auto role = message.find("role");
  return role != message.end() && role->is_string() ? role->get<std::string>() : "";
}

/// A message's text; its text parts joined by a space.
std::string text_of(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (!content.is_array()) return text;
  for (const Json& part : content) {
    const Json& one = value_at(part, "text");
    if (one.is_string()) text += (text.empty() ? "" : " ") + one.get<std::string>();
  }
  return text;
}

/// Puts `text` before a message's content, which may have parts other than text.
void prepend(const std::string& text, Json& content) {
  if (content.is_array()) {
    content.insert(content.begin(), Json{{"type", "text"}, {"text", text}});
  } else {
    const std::string behind = text_of(content);
    content = behind.empty() ? text : text + "\n\n" + behind;
  }
}

/// The description of the request's functions, with instructions for calling them.
std::string description(const Json& tools) {
  std::string text = "# Tools\n\nThese functions are available:\n<tools>\n";
  for (const Json& tool : tools) {
    Json function = tool.contains("function") ? tool["function"] : tool;
    if (function.is_object()) function.erase("strict");
    text += json_text(function) + "\n";
  }
  return text +
         "</tools>\n\nTo call a function, reply with its name and arguments:\n"
         "<tool_call>\n{\"name\": \"function-name\", \"arguments\": {\"argument-name\": \"value\"}}\n</tool_call>\n"
         "The result follows in <tool_response></tool_response>.\n\n"
         "Call a function only if the request needs it. Otherwise reply to the user in plain words.";
}

std::string call_text(const Json& call) {
  const Json& function = value_at(call, "function");
  const Json& arguments = value_at(function, "arguments");
  const std::string written = arguments.is_string() ? arguments.get<std::string>()
                              : arguments.is_null() ? "{}"
                                                    : json_text(arguments);
  return "<tool_call>\n{\"name\": " + json_text(value_at(function, "name")) + ", \"arguments\": " + written +
         "}\n</tool_call>";
}

/// The conversation without the roles and fields that the template does not support.
class Rewriter {
 public:
  Json rewrite(const Json& messages) {
    for (const Json& message : messages) {
      const std::string role = role_of(message);
      if (role == "assistant" && value_at(message, "tool_calls").is_array() && !message["tool_calls"].empty()) {
        add_calls(message);
      } else if (role == "tool") {
        add_result(message);
      } else if (role == "user" && in_results_) {
        Json behind = message;  // many templates refuse two consecutive user turns
        prepend(text_of(value_at(result_.back(), "content")), behind["content"]);
        result_.back() = std::move(behind);
        in_results_ = false;
      } else {
        add(message);
      }
    }
    return std::move(result_);
  }

 private:
  void add(Json message) {
    result_.push_back(std::move(message));
    in_results_ = false;
  }

  void add_calls(Json message) {
    std::string text = text_of(value_at(message, "content"));
    for (const Json& call : message["tool_calls"]) {
      text += (text.empty() ? "" : "\n") + call_text(call);
      const Json& id = value_at(call, "id");
      if (id.is_string()) names_[id.get<std::string>()] = value_at(value_at(call, "function"), "name");
    }
    message.erase("tool_calls");
    message["content"] = std::move(text);
    add(std::move(message));
  }

  void add_result(const Json& message) {
    Json shown = Json::object();
    const Json& id = value_at(message, "tool_call_id");
    const auto called = id.is_string() ? names_.find(id.get<std::string>()) : names_.end();
    const Json& name = called == names_.end() ? value_at(message, "name") : called->second;
    if (name.is_string()) shown["name"] = name;
    shown["content"] = text_of(value_at(message, "content"));
    const std::string text = "<tool_response>\n" + json_text(shown) + "\n</tool_response>";
    if (in_results_) {
      auto& before = result_.back()["content"].get_ref<std::string&>();
      before += "\n" + text;
      return;
    }
    add({{"role", "user"}, {"content", text}});
    in_results_ = true;
  }

  Json result_ = Json::array();
  std::map<std::string, Json> names_;  // names of functions, by the id of their call
  bool in_results_ = false;            // the last message of the result consists of results only
};

void describe(const Json& tools, bool system_message, Json& messages) {
  std::string text = description(tools);
  const bool has_system =
      !messages.empty() && (role_of(messages[0]) == "system" || role_of(messages[0]) == "developer");
  if (has_system) {
    const std::string own = text_of(value_at(messages[0], "content"));
    if (!own.empty()) text = own + "\n\n" + text;
  } else if (system_message) {  // in place of the template's own
    text = "You are a helpful assistant.\n\n" + text;
  }
  if (system_message) {
    const Json message = {{"role", "system"}, {"content", text}};
    if (has_system) {
      messages[0]["content"] = text;
    } else {
      messages.insert(messages.begin(), message);
    }
    return;
  }
  if (has_system) messages.erase(messages.begin());
  for (Json& message : messages) {
    if (role_of(message) != "user") continue;
    prepend(text, message["content"]);
    return;
  }
  messages.insert(messages.begin(), Json{{"role", "user"}, {"content", text}});
}
}  // namespace

bool takes_system_message(const ChatTemplate& chat_template) {
  constexpr const char* kWord = "q7x3";
  try {
    const Json messages = {{{"role", "system"}, {"content", kWord}}, {{"role", "user"}, {"content", "Hello"}}};
    RenderOptions options;
    options.tools_in_messages = true;
    return chat_template.render(messages, options).find(kWord) != std::string::npos;
  } catch (const Error&) {
    return false;
  }
}

void write_generic_tools(Json& messages, RenderOptions& options, bool system_message) {
  if (!messages.is_array()) return;
  messages = Rewriter().rewrite(messages);
  if (options.tools.is_array() && !options.tools.empty()) describe(options.tools, system_message, messages);
  options.tools_in_messages = options.tools.is_array();
  options.tools = nullptr;
}

}  // namespace mlxk

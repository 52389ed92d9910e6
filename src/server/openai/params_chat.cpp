#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "server/openai/fields.h"
#include "server/openai/messages.h"

namespace mlxk {
namespace {

using namespace schema;
using Use = FieldUse;

Json function_name() { return with(text(1, 64), {{"pattern", kNamePattern}}); }

Json tools_schema() {
  const Json function = object({{"name", function_name()},
                                {"description", nullable(text())},
                                {"parameters", nullable(object())},
                                {"strict", nullable(boolean())}},
                               {"name"});
  return array(object({{"type", one_of({"function"})}, {"function", function}}, {"function"}), 0, 128);
}

Json tool_choice_schema() {
  const Json named =
      object({{"type", one_of({"function"})}, {"function", object({{"name", text(1)}}, {"name"})}}, {"function"});
  const Json allowed =
      object({{"mode", one_of({"auto", "required"})}, {"tools", array(named, 1, 128)}}, {"mode", "tools"});
  return any_of({one_of({"none", "auto", "required", "any"}), named,
                 object({{"type", one_of({"none", "auto", "required", "any"})}}, {"type"}),
                 object({{"type", one_of({"allowed_tools"})}, {"allowed_tools", allowed}}, {"type", "allowed_tools"})});
}

void read_messages_field(const Json& value, ChatParams& params) {
  Conversation conversation = read_messages(value);
  params.messages = std::move(conversation.messages);
  params.images = std::move(conversation.images);
  params.has_audio = conversation.has_audio;
}

void read_tools(const Json& value, ChatParams& params) {
  std::set<std::string> names;
  for (size_t i = 0; i < value.size(); ++i) {
    if (!names.insert(value[i]["function"]["name"]).second) {
      refuse_field(fmt::format("tools[{}].function.name", i),
                   fmt::format("tools[{}].function.name is that of an earlier tool", i));
    }
  }
  params.tools.tools = value;
  for (Json& tool : params.tools.tools) tool["type"] = "function";
}

void add_template_kwargs(const Json& value, Json& kwargs) {
  for (const auto& [key, item] : value.items()) {
    for (const char* taken : {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message",
                              "bos_token", "eos_token", "unk_token", "pad_token"}) {
      if (key == taken) {
        refuse_field("chat_template_kwargs." + key, fmt::format("chat_template_kwargs.{} is the server's to set", key));
      }
    }
    kwargs[key] = item;
  }
}

bool has_tool(const Json& tools, const std::string& name) {
  return std::any_of(tools.begin(), tools.end(), [&](const Json& tool) { return tool["function"]["name"] == name; });
}

void require_tool(const Json& tools, const std::string& name, const std::string& param) {
  if (!has_tool(tools, name))
    refuse_field(param, fmt::format("{} names {}, which is not one of the tools", param, shown(name)));
}

/// Leaves the tools that tool_choice.allowed_tools names.
void keep_allowed(const Json& allowed, ToolOptions& options) {
  Json kept = Json::array();
  for (size_t i = 0; i < allowed.size(); ++i) {
    require_tool(options.tools, allowed[i]["function"]["name"],
                 fmt::format("tool_choice.allowed_tools.tools[{}].function.name", i));
  }
  for (const Json& tool : options.tools) {
    if (has_tool(allowed, tool["function"]["name"])) kept.push_back(tool);
  }
  options.tools = std::move(kept);
}

void read_tool_choice(const Json* choice, ToolOptions& options) {
  using Choice = ToolOptions::Choice;
  // {"type": "auto"} is "auto".
  if (choice && choice->is_object() && choice->size() == 1 && choice->contains("type")) choice = &(*choice)["type"];
  if (options.tools.empty()) {
    if (choice && *choice != "none" && *choice != "auto") {
      refuse_field("tool_choice", "tool_choice is only allowed when tools are given");
    }
    options.choice = Choice::none;
    return;
  }
  if (!choice) return;
  const auto by_word = [](const Json& word) {
    return word == "none" ? Choice::none : word == "auto" ? Choice::automatic : Choice::required;
  };
  if (choice->is_string()) {
    options.choice = by_word(*choice);
  } else if (choice->contains("function")) {
    options.choice = Choice::named;
    options.name = (*choice)["function"]["name"];
    require_tool(options.tools, options.name, "tool_choice.function.name");
  } else {
    keep_allowed((*choice)["allowed_tools"]["tools"], options);
    options.choice = by_word((*choice)["allowed_tools"]["mode"]);
  }
}

std::vector<Field<ChatParams>> make_chat_fields() {
  using P = ChatParams;
  using F = Field<P>;
  const Json no = Json::array({false}), yes = Json::array({true});
  return {
      {"messages", Use::honoured, messages_schema(), "The conversation", read_messages_field, true},
      {"max_completion_tokens", Use::honoured, answer_field("max_tokens").schema, "As max_tokens; both only if equal",
       [](const Json& v, P& p) { answer_field("max_tokens").read(v, p); }},
      {"logprobs", Use::honoured, with(boolean(), {{"default", false}}), "Log-probabilities of the answer's tokens"},
      {"top_logprobs", Use::honoured, integer(0, 20), "Number of alternatives per token; only with logprobs"},
      {"tools", Use::honoured, tools_schema(), "Functions that the model may call", read_tools},
      {"tool_choice", Use::honoured, tool_choice_schema(), "Whether the model calls tools, and which"},
      {"parallel_tool_calls", Use::honoured, with(boolean(), {{"default", true}}),
       "Allows more than one call in an answer", [](const Json& v, P& p) { p.tools.parallel = v; }},
      {"reasoning_effort", Use::honoured, one_of({"none", "minimal", "low", "medium", "high", "xhigh", "max"}),
       "Passed to the template, with enable_thinking and thinking (false for none)"},
      {"chat_template_kwargs", Use::honoured, object(), "Additional template variables"},
      {"modalities", Use::honoured, array(one_of({"text"}), 1, 1), "Only text"},
      {"verbosity", Use::honoured, one_of({"low", "medium", "high"}), "Passed to the template"},
      {"documents", Use::honoured, array(object(), 0, 10'000), "Passed to the template",
       [](const Json& v, P& p) { p.documents = v; }},
      {"image_table", Use::honoured, boolean(),
       "Begins the answer with a table of the images, unless tools or response_format are given",
       [](const Json& v, P& p) { p.image_table = v.get<bool>(); }},
      F::ignored("chunk", integer(1, 5), "Images per batch of vision models"),
      F::ignored("store", boolean(), "Nothing is stored"),
      F::ignored("metadata", object(), "Labels of stored answers"),
      F::ignored("service_tier", text(), "There is only one tier"),
      F::ignored("safety_identifier", text(), "The client's end user"),
      F::ignored("prompt_cache_key", text(), "The prefix cache compares tokens"),
      F::ignored("prompt_cache_retention", text(), "The prefix cache evicts the least recently used prefix"),
      F::ignored("prompt_cache_options", object(), "Prefix caching is always on"),
      F::ignored("prediction", object(), "Drafts do not change the answer"),
      F::refused("functions", "deprecated, use tools", Json::array({Json::array()})),
      F::refused("function_call", "deprecated, use tool_choice", Json::array({"none", "auto"})),
      F::refused("audio", "speech output is not supported"),
      F::refused("moderation", "answers are not moderated"),
      F::refused("web_search_options", "the server does not search the web"),
      F::refused("echo", "use /v1/completions", no),
      F::refused("add_generation_prompt", "an answer needs a generation prompt", yes),
      F::refused("continue_final_message", "an answer is always a new message", no),
      F::refused("add_special_tokens", "the chat template writes them", no),
      F::refused("chat_template", "the server uses the model's own template"),
      F::refused("thinking_token_budget", "use max_tokens or reasoning_effort"),
      F::refused("include_reasoning", "reasoning_effort none switches it off", yes),
      F::refused("reasoning_format", "reasoning is in reasoning_content", Json::array({"auto", "deepseek"})),
      F::refused("reasoning_control", "a running answer cannot be controlled", no),
      F::refused("parse_tool_calls", "tool_choice none switches calls off", yes),
  };
}

}  // namespace

const std::vector<Field<ChatParams>>& chat_fields() {
  static const auto fields = make_chat_fields();
  return fields;
}

const Json& chat_schema() {
  static const Json schema = body_schema(chat_fields());
  return schema;
}

Json template_kwargs(const Json& body) {
  Json kwargs = Json::object();
  if (const Json* effort = given(body, "reasoning_effort")) {
    kwargs["reasoning_effort"] = *effort;
    kwargs["enable_thinking"] = kwargs["thinking"] = *effort != "none";  // templates know the switch by either name
  }
  if (const Json* verbosity = given(body, "verbosity")) kwargs["verbosity"] = *verbosity;
  if (const Json* more = given(body, "chat_template_kwargs")) add_template_kwargs(*more, kwargs);
  return kwargs;
}

void finish_chat(const Json& body, ChatParams& params) {
  const Json* logprobs = given(body, "logprobs");
  const Json* top = given(body, "top_logprobs");
  if (logprobs && logprobs->get<bool>()) {
    params.top_logprobs = top ? top->get<int>() : 0;
  } else if (top && *top != 0) {
    refuse_field("top_logprobs", "top_logprobs is only allowed when logprobs is true");
  }
  if (!params.images.empty() && !given(body, "temperature")) params.sampling.temperature = 0;
  params.template_kwargs = template_kwargs(body);
  read_tool_choice(given(body, "tool_choice"), params.tools);
}

}  // namespace mlxk

// POST /tokenize, /detokenize, /apply-template
#include <fmt/format.h>

#include <limits>

#include "base/stop.h"
#include "chat/prompt.h"
#include "server/openai/documents.h"
#include "server/openai/endpoints.h"
#include "server/openai/fields.h"
#include "server/openai/messages.h"
#include "server/openai/prepare.h"
#include "serving/model_pool.h"
#include "serving/served_model.h"
#include "tokenizer/chat_template.h"

namespace mlxk {
namespace {

using namespace schema;

constexpr size_t kMaxListItems = 2'000'000;

std::shared_ptr<const ServedText> acquire(ServerContext& context, const Json& body) {
  return as_text(context.models.acquire(body["model"], RequestFacts{Context::server, false, false}));
}

bool flag(const Json& body, const char* name, bool absent) {
  const Json* value = given(body, name);
  return value ? value->get<bool>() : absent;
}

/// Each id with the text that it completes.
Json pieces_of(const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<int32_t>& ids) {
  StreamDecoder decoder(tokenizer, /*skip_special_tokens=*/false);
  Json tokens = Json::array();
  for (const int32_t id : ids) tokens.push_back({{"id", id}, {"piece", decoder.push(id)}});
  const std::string rest = decoder.finish();
  if (!tokens.empty()) tokens.back()["piece"] = tokens.back()["piece"].get<std::string>() + rest;
  return tokens;
}

/// Renders like a chat if there is a template, but with unchanged `messages`.
std::string render(const ServerContext& context, const ServedText& model, const Json& body) {
  const Json& messages = body["messages"];
  if (!model.chat_template()) {
    const Checked checked = check(messages_schema(), messages, "messages");
    if (checked.violation) {
      refuse_field(checked.violation->path,
                   "a model without a chat template takes plain messages: " + checked.violation->message);
    }
    return plain_conversation(read_messages(messages).messages);
  }
  RenderOptions options;
  options.add_generation_prompt = flag(body, "add_generation_prompt", true);
  if (const Json* tools = given(body, "tools")) options.tools = *tools;
  if (const Json* documents = given(body, "documents")) options.documents = *documents;
  options.kwargs = template_kwargs(body);
  if (context.tool_support(model.tool_support()) != ToolSupport::generic) {
    return model.chat_template()->render(messages, options);
  }
  Json written = messages;
  model.write_generic_tools(written, options);
  return model.chat_template()->render(written, options);
}

}  // namespace

const Json& tokenize_schema() {
  static const Json schema = object({{"model", answer_field("model").schema},
                                     {"content", text()},
                                     {"add_special", nullable(with(boolean(), {{"default", false}}))},
                                     {"with_pieces", nullable(with(boolean(), {{"default", false}}))}},
                                    {"model", "content"});
  return schema;
}

const Json& detokenize_schema() {
  static const Json schema =
      object({{"model", answer_field("model").schema},
              {"tokens", array(integer(0, std::numeric_limits<int32_t>::max()), 0, kMaxListItems)}},
             {"model", "tokens"});
  return schema;
}

const Json& apply_template_schema() {
  static const Json schema = object({{"model", answer_field("model").schema},
                                     {"messages", with(array(Json::object(), 1, kMaxListItems),
                                                       {{"description", "Anything that the template takes"}})},
                                     {"tools", nullable(array(Json::object(), 0, kMaxListItems))},
                                     {"documents", nullable(array(Json::object(), 0, kMaxListItems))},
                                     {"add_generation_prompt", nullable(with(boolean(), {{"default", true}}))},
                                     {"reasoning_effort", nullable(text())},
                                     {"chat_template_kwargs", nullable(object())}},
                                    {"model", "messages"});
  return schema;
}

HttpResponse tokenize(ServerContext& context, const ApiCall& call) {
  const Json body = parse_body(call.request.body);
  check_body(tokenize_schema(), body);
  const auto model = acquire(context, body);
  const StopScope scope(preparation_check(context, call.exchange));
  const auto& text = body["content"].get_ref<const std::string&>();
  const std::vector<int32_t> ids = model->tokenizer()->encode(text, flag(body, "add_special", false));
  if (flag(body, "with_pieces", false)) return json_answer({{"tokens", pieces_of(model->tokenizer(), ids)}});
  return json_answer({{"tokens", ids}});
}

HttpResponse detokenize(ServerContext& context, const ApiCall& call) {
  const Json body = parse_body(call.request.body);
  check_body(detokenize_schema(), body);
  const auto model = acquire(context, body);
  const auto ids = body["tokens"].get<std::vector<int32_t>>();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= model->tokenizer()->vocab_size()) {
      refuse_field(fmt::format("tokens[{}]", i),
                   fmt::format("tokens[{}] must be below the vocabulary's size of {}, got {}", i,
                               model->tokenizer()->vocab_size(), ids[i]));
    }
  }
  return json_answer({{"content", model->tokenizer()->decode(ids, /*skip_special_tokens=*/false)}});
}

HttpResponse apply_template(ServerContext& context, const ApiCall& call) {
  const Json body = parse_body(call.request.body);
  check_body(apply_template_schema(), body);
  const auto model = acquire(context, body);
  const StopScope scope(preparation_check(context, call.exchange));
  const std::string prompt = render(context, *model, body);
  // As chat_prompt: a template wrote its special tokens itself.
  const std::vector<int32_t> ids =
      model->chat_template() ? model->tokenizer()->encode(prompt, false) : raw_prompt(prompt, *model->tokenizer()).ids;
  return json_answer({{"prompt", prompt}, {"tokens", ids}});
}

}  // namespace mlxk

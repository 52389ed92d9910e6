// POST /v1/chat/completions
#include "base/stop.h"
#include "chat/prepared_chat.h"
#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/endpoints.h"
#include "server/openai/prepare.h"
#include "server/preparation.h"

namespace mlxk {

namespace {
/// Refuses tools where there is no form for them.
void check_tools(ToolSupport support, const ServedText& model, const ToolOptions& tools) {
  if (!tools.active() || support != ToolSupport::none) return;
  throw ApiError(ErrorKind::invalid,
                 model.chat_template() ? "this model's chat template does not support tools"
                                       : "this model has no chat template, so it cannot use tools",
                 "tools");
}

void answer_chat(ServerContext& context, const ApiCall& call, const ChatParams& params,
                 std::shared_ptr<const ServedText> model) {
  const ToolSupport support = context.tool_support(model->tool_support());
  check_tools(support, *model, params.tools);
  RenderOptions options;
  if (params.tools.active()) options.tools = params.tools.tools;
  options.documents = params.documents;
  options.kwargs = params.template_kwargs;
  const ChatTemplate* chat_template = model->chat_template();
  Json written;
  if (support == ToolSupport::generic) {
    written = params.messages;
    model->write_generic_tools(written, options);
  }
  const PreparedChat chat = prompt_within(*model, "messages", [&](size_t most) {
    return prepare_chat(written.is_null() ? params.messages : written, chat_template, options, *model->tokenizer(),
                        most);
  });
  check_stop();
  const ToolFormat* format = params.tools.active() ? model->tool_format() : nullptr;
  std::vector<std::string> stops = params.stops;
  stops.insert(stops.end(), chat.stops.begin(), chat.stops.end());
  AnswerPlan plan = plan_answer(context, params, AnswerHead::Kind::chat, model);
  GenerateRequest request = engine_request(context, call, params, *model, chat.prompt.ids, "messages");
  request.constraint = constraint_of(*model, params, params.tools, format, chat.reasoning);
  add_choices(plan,
              {std::move(request),
               Completion(model->tokenizer(), stops, chat.reasoning, format, params.tools),
               {},
               {},
               params.max_tokens == 0},
              params.n);
  run_answer(context, call, std::move(plan));
}
}  // namespace

void chat_completions(ServerContext& context, ApiCall call) {
  const Json body = parse_object(call.request.body);
  const auto params = std::make_shared<ChatParams>(parse_chat(body));
  call.request.body.clear();
  if (params->has_audio) return transcribe_chat(context, std::move(call), body, std::move(*params));
  with_model(context, std::move(call), params->model, {Context::server, params->has_images, params->has_audio},
             [&context, params](const ApiCall& call, std::shared_ptr<const ServedText> model) {
               answer_chat(context, call, *params, std::move(model));
             });
}

}  // namespace mlxk

// POST /v1/chat/completions, /v1/estimate
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "chat/prepared_chat.h"
#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/documents.h"
#include "server/openai/endpoints.h"
#include "server/openai/fields.h"
#include "server/openai/prepare.h"
#include "server/preparation.h"
#include "serving/images.h"
#include "serving/served_model.h"
#include "tokenizer/chat_template.h"

namespace mlxk {

namespace {
/// Refuses tools if the model has no format for them.
void check_tools(ToolSupport support, const ServedText& model, const ToolOptions& tools) {
  if (!tools.active() || support != ToolSupport::none) return;
  throw ApiError(ErrorKind::invalid,
                 model.chat_template() ? "this model's chat template does not support tools"
                                       : "this model has no chat template, so it cannot use tools",
                 "tools");
}

/// The images of a chat for its model; empty if there are none.
std::optional<PromptImages> images_of(const ServerContext& context, const ChatParams& params, const ServedText& model) {
  if (params.images.empty()) return std::nullopt;
  std::vector<ImageFile> files;
  for (const MessageImage& image : params.images) {
    files.push_back(
        {image.url.empty() ? image.bytes : read_image_url(context.images, image.url, image.place, kMaxImageBytes),
         image.place});
  }
  if (!model.image_processor()) throw Error(ErrorKind::internal, "the model was loaded without its image processor");
  return process_images(*model.image_processor(), files);
}

/// The prompt of a chat with its images.
PreparedChat prepare(const ServerContext& context, const ChatParams& params,
                     const std::shared_ptr<const ServedText>& model) {
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
  const std::optional<PromptImages> images = images_of(context, params, *model);
  return prompt_within(*model, "messages", [&](size_t most) {
    return prepare_chat(written.is_null() ? params.messages : written, chat_template, options, *model->tokenizer(),
                        most, images ? &*images : nullptr);
  });
}

void answer_chat(ServerContext& context, const ApiCall& call, const ChatParams& params,
                 std::shared_ptr<const ServedText> model) {
  const PreparedChat chat = prepare(context, params, model);
  check_stop();
  const ToolFormat* format = params.tools.active() ? model->tool_format() : nullptr;
  std::vector<std::string> stops = params.stops;
  stops.insert(stops.end(), chat.stops.begin(), chat.stops.end());
  AnswerPlan plan = plan_answer(context, params, AnswerHead::Kind::chat, model);
  GenerateRequest request = engine_request(context, call, params, *model, chat.prompt.ids, "messages");
  request.media = chat.prompt.media;
  request.attend_both_ways = chat.prompt.attend_both_ways;
  request.constraint = constraint_of(*model, params, params.tools, format, chat.reasoning);
  add_choices(plan,
              {std::move(request),
               Completion(model->tokenizer(), stops, chat.reasoning, format, params.tools),
               {},
               {},
               params.max_tokens == 0,
               held_source(context, params, params.tools, chat.reasoning)},
              params.n);
  run_answer(context, call, std::move(plan));
}

void answer_estimate(ServerContext& context, const ApiCall& call, const ChatParams& params,
                     const std::shared_ptr<const ServedText>& model) {
  const PreparedChat chat = prepare(context, params, model);
  const GenerateRequest request = engine_request(context, call, params, *model, chat.prompt.ids, "messages");
  const auto& ids = chat.prompt.ids;
  int64_t image_tokens = 0;
  for (const MediaItem& item : chat.prompt.media) {
    image_tokens += std::count(ids.begin() + item.begin, ids.begin() + item.end, item.placeholder);
  }
  call.exchange->respond(json_answer({{"model", params.model},
                                      {"prompt_tokens", ids.size()},
                                      {"image_tokens", image_tokens},
                                      {"max_tokens", request.max_tokens},
                                      {"context_length", model->info().context_length}}));
}

RequestFacts facts_of(const ChatParams& params) { return {Context::server, !params.images.empty(), params.has_audio}; }
}  // namespace

void chat_completions(ServerContext& context, ApiCall call) {
  const Json body = parse_object(call.request.body);
  const auto params = std::make_shared<ChatParams>(parse_chat(body));
  call.request.body.clear();
  if (params->has_audio) return transcribe_chat(context, std::move(call), body, std::move(*params));
  with_model(context, std::move(call), params->model, facts_of(*params),
             [&context, params](const ApiCall& call, std::shared_ptr<const ServedText> model) {
               answer_chat(context, call, *params, std::move(model));
             });
}

void estimate(ServerContext& context, ApiCall call) {
  const auto params = std::make_shared<ChatParams>(parse_chat(parse_object(call.request.body)));
  call.request.body.clear();
  if (params->has_audio) refuse_field("messages", "the tokens of a recording cannot be estimated", "unsupported_value");
  with_model(context, std::move(call), params->model, facts_of(*params),
             [&context, params](const ApiCall& call, std::shared_ptr<const ServedText> model) {
               answer_estimate(context, call, *params, model);
             });
}

}  // namespace mlxk

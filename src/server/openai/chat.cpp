// POST /v1/chat/completions, /v1/estimate
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/stop.h"
#include "chat/prepared_chat.h"
#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/documents.h"
#include "server/openai/endpoints.h"
#include "server/openai/fields.h"
#include "server/openai/image_rows.h"
#include "server/openai/prepare.h"
#include "server/preparation.h"
#include "serving/images.h"
#include "serving/model_pool.h"
#include "serving/recordings.h"
#include "serving/served_model.h"
#include "tokenizer/base64.h"
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

/// The table of images before a chat's answer; empty if none was asked for, or if the answer must be something else.
std::string table_of(const ChatParams& params, const std::vector<ImageFile>& files,
                     const std::vector<ImageMetadata>& metadata) {
  const char* always = std::getenv("MLXK2_EXIF_METADATA");
  const bool wanted = params.image_table.value_or(always && std::string_view(always) == "1");
  if (!wanted || params.tools.active() || !params.grammar_field.empty()) return "";
  const auto rows = image_rows(params.messages, files, metadata);
  return image_table(image_summary(rows.size()), rows, true);
}

/// The images of a chat for its model, and their table; empty if there are none.
std::optional<PromptImages> images_of(const ServerContext& context, const ChatParams& params, const ServedText& model,
                                      std::string& table) {
  if (params.images.empty()) return std::nullopt;
  std::vector<ImageFile> files;
  for (const MessageImage& image : params.images) {
    files.push_back(
        {image.url.empty() ? image.bytes : read_image_url(context.images, image.url, image.place, kMaxImageBytes),
         image.place});
  }
  if (!model.image_processor()) throw Error(ErrorKind::internal, "the model was loaded without its image processor");
  std::vector<ImageMetadata> metadata;
  PromptImages images = process_images(*model.image_processor(), files, &metadata);
  table = table_of(params, files, metadata);
  return images;
}

/// Removes the recordings from `messages`; each leaves a part {"type": "audio"}.
std::vector<AudioFile> take_recordings(Json& messages) {
  std::vector<AudioFile> files;
  for (size_t i = 0; i < messages.size(); ++i) {
    Json& content = messages[i]["content"];
    for (size_t k = 0; content.is_array() && k < content.size(); ++k) {
      if (content[k].value("type", "") != "input_audio") continue;
      const std::string& data = content[k]["input_audio"]["data"].get_ref<const std::string&>();
      files.push_back({*base64_decode(data), fmt::format("messages[{}].content[{}].input_audio.data", i, k)});
      content[k] = {{"type", "audio"}};
    }
  }
  return files;
}

/// The recordings of a chat as input of its model; their errors are the request's fault.
std::optional<PromptAudio> audio_of(const ServerContext& context, const std::vector<AudioFile>& files,
                                    const ServedText& model) {
  if (files.empty()) return std::nullopt;
  if (!model.audio_processor()) throw Error(ErrorKind::internal, "the model was loaded without its audio processor");
  PromptAudio audio{*model.audio_processor(), {}};
  for (const AudioFile& file : files) {
    try {
      auto one = process_recordings(audio.processor, {file}, model.info().context_length, context.audio_limit);
      audio.recordings.push_back(std::move(one.recordings.front()));
    } catch (const ApiError&) {
      throw;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::unsupported) {
        throw ApiError(error.kind(), error.what(), file.place, "unsupported_codec", 415);
      }
      if (error.kind() != ErrorKind::invalid) throw;
      throw ApiError(error.kind(), error.what(), file.place, "invalid_audio");
    }
  }
  return audio;
}

struct Prepared {
  PreparedChat chat;
  std::string table;  // of the images, before the answer
};

/// The prompt of a chat with its images and recordings.
Prepared prepare(const ServerContext& context, const ChatParams& params,
                 const std::shared_ptr<const ServedText>& model) {
  const ToolSupport support = context.tool_support(model->tool_support());
  check_tools(support, *model, params.tools);
  RenderOptions options;
  if (params.tools.active()) options.tools = params.tools.tools;
  options.documents = params.documents;
  options.kwargs = params.template_kwargs;
  const ChatTemplate* chat_template = model->chat_template();
  Json written;
  std::vector<AudioFile> files;
  const bool had_tables = has_image_tables(params.messages);
  if (params.has_audio || support == ToolSupport::generic || had_tables) written = params.messages;
  if (had_tables) remove_image_tables(written);
  if (params.has_audio) files = take_recordings(written);
  if (support == ToolSupport::generic) {
    model->write_generic_tools(written, options);
  }
  std::string table;
  const std::optional<PromptImages> images = images_of(context, params, *model, table);
  const std::optional<PromptAudio> audio = audio_of(context, files, *model);
  PreparedChat chat = prompt_within(*model, "messages", [&](size_t most) {
    return prepare_chat(written.is_null() ? params.messages : written, chat_template, options, *model->tokenizer(),
                        most, images ? &*images : nullptr, audio ? &*audio : nullptr);
  });
  return {std::move(chat), std::move(table)};
}

void answer_chat(ServerContext& context, const ApiCall& call, const ChatParams& params,
                 std::shared_ptr<const ServedText> model) {
  const auto [chat, table] = prepare(context, params, model);
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
               table,
               {},
               params.max_tokens == 0,
               held_source(context, params, params.tools, chat.reasoning)},
              params.n);
  run_answer(context, call, std::move(plan));
}

void answer_estimate(ServerContext& context, const ApiCall& call, const ChatParams& params,
                     const std::shared_ptr<const ServedText>& model) {
  const PreparedChat chat = prepare(context, params, model).chat;
  const GenerateRequest request = engine_request(context, call, params, *model, chat.prompt.ids, "messages");
  const auto& ids = chat.prompt.ids;
  int64_t image_tokens = 0, audio_tokens = 0;
  for (const MediaItem& item : chat.prompt.media) {
    (item.data->kind == MediaKind::audio ? audio_tokens : image_tokens) +=
        std::count(ids.begin() + item.begin, ids.begin() + item.end, item.placeholder);
  }
  call.exchange->respond(json_answer({{"model", params.model},
                                      {"prompt_tokens", ids.size()},
                                      {"image_tokens", image_tokens},
                                      {"audio_tokens", audio_tokens},
                                      {"max_tokens", request.max_tokens},
                                      {"context_length", model->info().context_length}}));
}

/// Whether a chat's recording is for a speech model, which answers with the transcript.
bool wants_transcript(ServerContext& context, const ChatParams& params) {
  return params.has_audio && context.models.describe(params.model).audio_backend == AudioBackend::stt;
}

RequestFacts facts_of(const ChatParams& params) { return {Context::server, !params.images.empty(), params.has_audio}; }
}  // namespace

void chat_completions(ServerContext& context, ApiCall call) {
  const Json body = parse_object(call.request.body);
  const auto params = std::make_shared<ChatParams>(parse_chat(body));
  call.request.body.clear();
  if (wants_transcript(context, *params)) return transcribe_chat(context, std::move(call), body, std::move(*params));
  with_model(context, std::move(call), params->model, facts_of(*params),
             [&context, params](const ApiCall& call, std::shared_ptr<const ServedText> model) {
               answer_chat(context, call, *params, std::move(model));
             });
}

void estimate(ServerContext& context, ApiCall call) {
  const auto params = std::make_shared<ChatParams>(parse_chat(parse_object(call.request.body)));
  call.request.body.clear();
  if (wants_transcript(context, *params))
    refuse_field("messages", "the tokens of a recording cannot be estimated", "unsupported_value");
  with_model(context, std::move(call), params->model, facts_of(*params),
             [&context, params](const ApiCall& call, std::shared_ptr<const ServedText> model) {
               answer_estimate(context, call, *params, model);
             });
}

}  // namespace mlxk

// POST /v1/embeddings, and POST /embed and /embed_sparse as in text-embeddings-inference
#include "server/openai/embeddings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>

#include "base/stop.h"
#include "json/floats.h"
#include "json/json.h"
#include "server/answer/vectors.h"
#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/embed_backend.h"
#include "server/openai/embedding_params.h"
#include "server/openai/endpoints.h"
#include "server/openai/prepare.h"
#include "server/openai/schema.h"
#include "server/preparation.h"
#include "serving/model_pool.h"
#include "serving/served_model.h"
#include "serving/text_prompt.h"
#include "tokenizer/base64.h"

namespace mlxk {

namespace {

constexpr int64_t kMaxRequestTokens = 4'000'000;  // of a request

/// Which of several texts a message is about.
std::string place_of(const char* field, size_t index, bool is_list) {
  return is_list ? fmt::format("{}[{}]", field, index) : std::string(field);
}

void check_ids(const std::vector<int32_t>& ids, const TextEncoder& encoder, const std::string& place) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < encoder.tokenizer()->vocab_size()) continue;
    refuse_field(place, fmt::format("{}[{}] must be below the vocabulary's size of {}, got {}", place, i,
                                    encoder.tokenizer()->vocab_size(), ids[i]));
  }
}

/// Token ids are passed to the model unchanged.
EncodedText encode_ids(const std::vector<int32_t>& given, const TextEncoder& encoder, Truncate truncate,
                       const std::string& place) {
  check_ids(given, encoder, place);
  EncodedText text{.ids = given};
  const auto most = static_cast<size_t>(std::max<int64_t>(encoder.max_tokens(), 0));
  if (most == 0 || given.size() <= most) return text;
  if (truncate == Truncate::none) throw TextTooLongForModel(static_cast<int64_t>(given.size()), encoder.max_tokens());
  if (truncate == Truncate::start) text.ids.erase(text.ids.begin(), text.ids.end() - static_cast<std::ptrdiff_t>(most));
  text.ids.resize(most);
  return text;
}

int64_t checked_dimensions(const ServerContext& context, const ServedEmbedding& model, int64_t asked) {
  const int64_t own = model.handle()->facts().embedding->dimensions;
  const EmbeddingConfig& config = model.encoder()->config();
  if (asked == 0 || asked == own) return asked;
  if (own == 0) {
    refuse_field("dimensions", fmt::format("dimensions: model '{}' has no text vectors", model.info().ref.name),
                 "unsupported_value");
  }
  if (asked > own) refuse_field("dimensions", fmt::format("dimensions must be at most {}, got {}", own, asked));
  if (!config.is_matryoshka && !context.allow_truncate) {
    refuse_field(
        "dimensions",
        fmt::format("model '{}' was not trained for vectors shorter than its {} numbers; leave dimensions out, "
                    "or start the server with --allow-truncate",
                    model.info().ref.name, own),
        "unsupported_value");
  }
  const auto& known = config.dimensions;
  if (!known.empty() && !context.allow_truncate && std::find(known.begin(), known.end(), asked) == known.end()) {
    refuse_field("dimensions", fmt::format("dimensions must be one of {}, got {}", fmt::join(known, ", "), asked),
                 "unsupported_value");
  }
  return asked;
}

int32_t find_task(const ServedEmbedding& model, const std::string& asked, const NamedPrompt& prompt) {
  const auto& tasks = model.handle()->facts().embedding->tasks;
  const auto find = [&](const std::string& name) {
    const auto found = std::find(tasks.begin(), tasks.end(), name);
    return found == tasks.end() ? -1 : static_cast<int32_t>(found - tasks.begin());
  };
  if (asked.empty()) return find(prompt.name);
  const int32_t task = find(asked);
  if (task >= 0) return task;
  if (tasks.empty())
    refuse_field("task", fmt::format("task: the weights of '{}' have no adapters", model.info().ref.name));
  refuse_field("task", fmt::format("task must be one of {}, got {}", fmt::join(tasks, ", "), schema::shown(asked)));
}

std::string little_endian(const std::vector<float>& numbers) {
  std::string bytes;
  bytes.reserve(4 * numbers.size());
  for (const float number : numbers) {
    const auto bits = std::bit_cast<uint32_t>(number);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xFF);
  }
  return bytes;
}

/// The outputs to return. Throws ApiError 400 naming a field whose output the model does not have.
EmbedOutputs chosen_outputs(const ServedEmbedding& model, const EmbeddingParams& params) {
  const EmbeddingFacts& own = *model.handle()->facts().embedding;
  const bool nothing_said = !params.sparse.value_or(false) && !params.multivector.value_or(false);
  EmbedOutputs outputs;
  outputs.vector = params.dense.value_or(own.dimensions > 0);
  const bool instead = nothing_said && !outputs.vector;
  outputs.token_vectors = params.multivector.value_or(instead && own.token_dimensions > 0);
  outputs.sparse = params.sparse.value_or(instead && !outputs.token_vectors);
  const auto refuse = [&](const char* field, bool asked, bool has, const char* what) {
    if (!asked || has) return;
    refuse_field(field, fmt::format("{}: model '{}' has no {}", field, model.info().ref.name, what),
                 "unsupported_value");
  };
  refuse("return_dense", outputs.vector, own.dimensions > 0, "text vectors");
  refuse("return_sparse", outputs.sparse, own.sparse, "sparse vectors");
  refuse("return_multivector", outputs.token_vectors, own.token_dimensions > 0, "token vectors");
  return outputs;
}

void append_numbers(std::string& out, const std::vector<float>& numbers, bool base64) {
  if (base64) {
    out += '"' + base64_encode(little_endian(numbers)) + '"';
  } else {
    append_floats(out, numbers);
  }
}

/// A list of vectors; `numbers`: [n, width].
void append_rows(std::string& out, const std::vector<float>& numbers, int64_t width, bool base64) {
  out += '[';
  for (size_t at = 0; at < numbers.size(); at += static_cast<size_t>(width)) {
    if (at > 0) out += ',';
    const auto first = numbers.begin() + static_cast<std::ptrdiff_t>(at);
    append_numbers(out, {first, first + width}, base64);
  }
  out += ']';
}

/// OpenAI's document; the vectors are the most of it.
HttpResponse list_of(const EmbeddingParams& params, const ServedEmbedding& model, const EmbedOutputs& outputs,
                     const std::vector<TextNumbers>& texts, int64_t tokens) {
  std::string out = R"({"object":"list","data":[)";
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ',';
    fmt::format_to(std::back_inserter(out), R"({{"object":"embedding","index":{},"embedding":)", i);
    append_numbers(out, texts[i].vector, params.base64 && outputs.vector);  // OpenAI's clients need the key
    if (outputs.sparse) {
      const TokenWeights sparse = model.encoder()->sparse_vector(texts[i].sparse);
      fmt::format_to(std::back_inserter(out), R"(,"sparse_embedding":{{"indices":[{}],"values":)",
                     fmt::join(sparse.ids, ","));
      append_floats(out, sparse.weights);
      out += '}';
    }
    if (outputs.token_vectors) {
      out += R"(,"embeddings":)";
      append_rows(out, texts[i].token_vectors, model.handle()->facts().embedding->token_dimensions, params.base64);
    }
    out += '}';
  }
  out += R"(],"model":)" + Json(params.model).dump(-1, ' ', false, Json::error_handler_t::replace);
  out += fmt::format(R"(,"usage":{{"prompt_tokens":{0},"total_tokens":{0}}}}})", tokens);
  HttpResponse response;
  response.body = std::move(out);
  return response;
}

/// The form of text-embeddings-inference: a list of vectors, or of sparse vectors, which are lists of ids and weights.
HttpResponse bare_list_of(const ServedEmbedding& model, const EmbedOutputs& outputs,
                          const std::vector<TextNumbers>& texts) {
  HttpResponse response;
  std::string& out = response.body = "[";
  for (const TextNumbers& text : texts) {
    if (out.size() > 1) out += ',';
    if (outputs.vector) {
      append_floats(out, text.vector);
      continue;
    }
    const TokenWeights sparse = model.encoder()->sparse_vector(text.sparse);
    Json list = Json::array();
    for (size_t i = 0; i < sparse.ids.size(); ++i) {
      list.push_back({{"index", sparse.ids[i]}, {"value", as_written(sparse.weights[i])}});
    }
    out += list.dump();
  }
  out += ']';
  return response;
}

void embed(ServerContext& context, ApiCall call, std::shared_ptr<EmbeddingParams> params, const char* field,
           bool bare) {
  name_model(context, params->model);
  with_embedding_model(
      context, std::move(call), params->model, {.context = Context::server, .encodes = EncoderTask::embed},
      [&context, params, field, bare](const ApiCall& call, std::shared_ptr<const ServedEmbedding> model) {
        const TextEncoder& encoder = *model->encoder();
        const EmbedOutputs outputs = chosen_outputs(*model, *params);
        const int64_t dimensions = checked_dimensions(context, *model, params->dimensions);
        const NamedPrompt prompt = blame_field(params->prompt.name.empty() ? "input_type" : "prompt_name",
                                               [&] { return choose_prompt(encoder.config(), params->prompt); });
        const int32_t task = find_task(*model, params->task, prompt);
        VectorPlan plan;
        plan.request = new_request(call, params->deadline_ms);
        plan.request.outputs = outputs;
        for (size_t i = 0; i < params->inputs.size(); ++i) {
          const std::string place = place_of(field, i, params->is_list);
          plan.request.texts.push_back(encoded_at(place, [&] {
            const auto& input = params->inputs[i];
            if (const auto* ids = std::get_if<std::vector<int32_t>>(&input)) {
              return encode_ids(*ids, encoder, params->truncate, place);
            }
            return encoder.encode(std::get<std::string>(input), prompt, params->truncate);
          }));
          plan.request.texts.back().task = task;
          check_stop();
        }
        check_tokens(plan.request, field);
        const bool normalize = params->normalize.value_or(encoder.config().pipeline.normalize);
        plan.write = [params, model, outputs, dimensions, normalize, bare](std::vector<TextNumbers> texts,
                                                                           int64_t tokens) {
          for (TextNumbers& text : texts) finish_vector(text.vector, dimensions, normalize);
          return bare ? bare_list_of(*model, outputs, texts) : list_of(*params, *model, outputs, texts, tokens);
        };
        plan.model = std::move(model);
        run_vectors(context, call, std::move(plan));
      });
}

}  // namespace

void name_model(const ServerContext& context, std::string& model) {
  if (!model.empty()) return;
  model = context.models.pinned();
  if (model.empty()) {
    refuse_field("model", "model is required: this server has no model that --model pinned",
                 "missing_required_parameter");
  }
}

EmbedRequest new_request(const ApiCall& call, std::optional<int64_t> deadline_ms) {
  EmbedRequest request;
  request.cache_scope = call.key_id;
  if (deadline_ms) request.deadline = call.arrived + std::chrono::milliseconds(*deadline_ms);
  return request;
}

void check_tokens(const EmbedRequest& request, const char* field) {
  int64_t tokens = 0;
  for (const EncodedText& text : request.texts) tokens += static_cast<int64_t>(text.ids.size());
  if (tokens <= kMaxRequestTokens) return;
  refuse_field(field,
               fmt::format("{} has {} tokens in all, at most {} fit into a request", field, tokens, kMaxRequestTokens));
}

void embeddings(ServerContext& context, ApiCall call) {
  if (!context.embed_backend.empty()) return forward_embeddings(context, std::move(call));
  auto params = std::make_shared<EmbeddingParams>(parse_embedding(parse_body(call.request.body)));
  call.request.body.clear();
  embed(context, std::move(call), std::move(params), "input", false);
}

void tei_embed(ServerContext& context, ApiCall call) {
  auto params = std::make_shared<EmbeddingParams>(parse_tei_embed(parse_body(call.request.body)));
  call.request.body.clear();
  embed(context, std::move(call), std::move(params), "inputs", true);
}

void tei_embed_sparse(ServerContext& context, ApiCall call) {
  auto params = std::make_shared<EmbeddingParams>(parse_tei_sparse(parse_body(call.request.body)));
  call.request.body.clear();
  embed(context, std::move(call), std::move(params), "inputs", true);
}

}  // namespace mlxk

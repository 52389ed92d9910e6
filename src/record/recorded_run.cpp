#include "record/recorded_run.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"
#include "tokenizer/base64.h"

namespace mlxk {

namespace {
constexpr int kFormat = 1;

/// Calls `field(name, member)` for each member of a Sampling, const or not.
template <class Sampling, class Field>
void each_field(Sampling& sampling, const Field& field) {
  field("temperature", sampling.temperature);
  field("top_p", sampling.top_p);
  field("min_p", sampling.min_p);
  field("min_tokens_to_keep", sampling.min_tokens_to_keep);
  field("top_k", sampling.top_k);
  field("xtc_probability", sampling.xtc_probability);
  field("xtc_threshold", sampling.xtc_threshold);
  field("xtc_special_tokens", sampling.xtc_special_tokens);
  field("repetition_penalty", sampling.repetition_penalty);
  field("repetition_context_size", sampling.repetition_context_size);
  field("presence_penalty", sampling.presence_penalty);
  field("presence_context_size", sampling.presence_context_size);
  field("frequency_penalty", sampling.frequency_penalty);
  field("frequency_context_size", sampling.frequency_context_size);
  field("dry_multiplier", sampling.dry_multiplier);
  field("dry_base", sampling.dry_base);
  field("dry_allowed_length", sampling.dry_allowed_length);
  field("dry_penalty_last_n", sampling.dry_penalty_last_n);
  field("dry_breakers", sampling.dry_breakers);
  field("logit_bias", sampling.logit_bias);
}

Json sampling_json(const Sampling& sampling) {
  Json json = Json::object();
  each_field(sampling, [&](const char* name, const auto& value) { json[name] = value; });
  json["seed"] = sampling.seed ? Json(*sampling.seed) : Json();
  return json;
}

constexpr const char* kGrammars[] = {"none", "json_object", "json_schema", "lark", "regex"};
constexpr const char* kChoices[] = {"none", "automatic", "required", "named"};
constexpr const char* kReasonings[] = {"none", "tags", "harmony"};
constexpr const char* kReasons[] = {"stop", "length", "cancelled"};
constexpr const char* kMedia[] = {"image", "audio"};

Json held_json(const ConstraintSource& held) {
  const ReasoningFormat& reasoning = held.reasoning;
  return {{"grammar", {{"kind", kGrammars[static_cast<size_t>(held.grammar.kind)]}, {"source", held.grammar.source}}},
          {"tools",
           {{"tools", held.tools.tools},
            {"choice", kChoices[static_cast<size_t>(held.tools.choice)]},
            {"name", held.tools.name},
            {"parallel", held.tools.parallel}}},
          {"reasoning",
           {{"kind", kReasonings[static_cast<size_t>(reasoning.kind)]},
            {"open", reasoning.open},
            {"close", reasoning.close},
            {"prompt_opens", reasoning.prompt_opens},
            {"calls", reasoning.calls},
            {"answer_open", reasoning.answer_open},
            {"answer_close", reasoning.answer_close}}}};
}

Json media_json(const GenerateRequest& request) {
  Json all = Json::array();
  for (const MediaItem& item : request.media) {
    const MediaData& data = *item.data;
    const std::string_view bytes(reinterpret_cast<const char*>(data.values.data()), data.values.size() * sizeof(float));
    all.push_back({{"begin", item.begin},
                   {"end", item.end},
                   {"placeholder", item.placeholder},
                   {"kind", kMedia[static_cast<size_t>(data.kind)]},
                   {"shape", data.shape},
                   {"grid", data.grid},
                   {"values", base64_encode(bytes)}});
  }
  return all;
}

Json ranges_json(const std::vector<TokenRange>& ranges) {
  Json all = Json::array();
  for (const TokenRange& range : ranges) all.push_back({range.begin, range.end});
  return all;
}

/// Reads a JSON object field by field; errors name file and field.
class Reader {
 public:
  Reader(const Json& json, std::string place) : json_(json), place_(std::move(place)) {}

  template <class Value>
  void read(const char* name, Value& value) const {
    try {
      value = json_.at(name).get<Value>();
    } catch (const nlohmann::json::exception&) {
      bad(name);
    }
  }
  template <class Value>
  Value get(const char* name) const {
    Value value{};
    read(name, value);
    return value;
  }
  /// The index of the field's word in `names`.
  template <class Enum, size_t N>
  Enum word(const char* name, const char* const (&names)[N]) const {
    const std::string text = get<std::string>(name);
    for (size_t i = 0; i < N; ++i) {
      if (text == names[i]) return static_cast<Enum>(i);
    }
    bad(name);
  }
  Reader inner(const char* name) const { return {value_at(json_, name), place_ + "." + name}; }
  const Json& value(const char* name) const { return value_at(json_, name); }
  [[noreturn]] void bad(const char* name) const {
    throw Error(ErrorKind::bad_model, fmt::format("{}.{} is missing or not as `--record` writes it", place_, name),
                "a record can be replayed by the version that wrote it or a newer one");
  }

 private:
  const Json& json_;
  std::string place_;
};

Sampling read_sampling(const Reader& reader) {
  Sampling sampling;
  each_field(sampling, [&](const char* name, auto& value) { reader.read(name, value); });
  if (!reader.value("seed").is_null()) sampling.seed = reader.get<uint64_t>("seed");
  return sampling;
}

ConstraintSource read_held(const Reader& reader) {
  const Reader grammar = reader.inner("grammar"), tools = reader.inner("tools"), reasoning = reader.inner("reasoning");
  ConstraintSource held;
  held.grammar.kind = grammar.word<AnswerGrammar::Kind>("kind", kGrammars);
  grammar.read("source", held.grammar.source);
  held.tools.tools = tools.value("tools");
  if (!held.tools.tools.is_array()) tools.bad("tools");
  held.tools.choice = tools.word<ToolOptions::Choice>("choice", kChoices);
  tools.read("name", held.tools.name);
  tools.read("parallel", held.tools.parallel);
  held.reasoning.kind = reasoning.word<ReasoningFormat::Kind>("kind", kReasonings);
  reasoning.read("open", held.reasoning.open);
  reasoning.read("close", held.reasoning.close);
  reasoning.read("prompt_opens", held.reasoning.prompt_opens);
  reasoning.read("calls", held.reasoning.calls);
  reasoning.read("answer_open", held.reasoning.answer_open);
  reasoning.read("answer_close", held.reasoning.answer_close);
  return held;
}

MediaItem read_media(const Reader& reader) {
  MediaItem item;
  reader.read("begin", item.begin);
  reader.read("end", item.end);
  reader.read("placeholder", item.placeholder);
  MediaData data;
  data.kind = reader.word<MediaKind>("kind", kMedia);
  reader.read("shape", data.shape);
  reader.read("grid", data.grid);
  const auto bytes = base64_decode(reader.get<std::string>("values"));
  if (!bytes || bytes->size() % sizeof(float) != 0) reader.bad("values");
  uint64_t count = 1;
  for (const int side : data.shape) {
    if (side < 0 || (side > 0 && count > bytes->size() / static_cast<uint64_t>(side))) reader.bad("shape");
    count *= static_cast<uint64_t>(side);
  }
  if (count * sizeof(float) != bytes->size()) reader.bad("shape");
  data.values.resize(bytes->size() / sizeof(float));
  std::memcpy(data.values.data(), bytes->data(), bytes->size());
  item.data = with_digest(std::move(data));
  return item;
}

template <class Item, class Read>
std::vector<Item> read_list(const Reader& reader, const char* name, const Read& read) {
  const Json& list = reader.value(name);
  if (!list.is_array()) reader.bad(name);
  std::vector<Item> items;
  for (const Json& one : list) items.push_back(read(one));
  return items;
}
}  // namespace

Json record_json(const RecordedRun& run, bool redact) {
  Json tokens = Json::array(), logprobs = Json::array();
  for (const TokenEvent& token : run.tokens) {
    tokens.push_back(token.token);
    logprobs.push_back(token.logprob);
  }
  const GenerateRequest& request = run.request;
  const bool whole = !redact;
  return {{"format", kFormat},
          {"mlxk_version", run.version},
          {"mlx_version", run.device.mlx_version},
          {"device", run.device.name},
          {"kernels", run.device.kernels},
          {"created_at", run.created_at},
          {"model",
           {{"name", run.model.name},
            {"path", run.model.path.string()},
            {"revision", run.model.revision},
            {"cached", run.model.cached},
            {"content_hash", run.content_hash}}},
          {"request",
           {{"prompt", whole ? Json(request.prompt) : Json()},
            {"prompt_tokens", run.prompt_tokens},
            {"media", whole ? media_json(request) : Json::array()},
            {"attend_both_ways", whole ? ranges_json(request.attend_both_ways) : Json::array()},
            {"sampling", sampling_json(request.sampling)},
            {"max_tokens", request.max_tokens},
            {"eos_token_ids", request.eos_token_ids},
            {"constrained", run.constrained},
            {"held_to", whole && run.held ? held_json(*run.held) : Json()}}},
          {"finish_reason", kReasons[static_cast<size_t>(run.reason)]},
          {"tokens", std::move(tokens)},
          {"logprobs", std::move(logprobs)}};
}

RecordedRun read_record(const std::filesystem::path& path) {
  const Json json = read_json(path);
  const Reader reader(json, path.string());
  if (reader.get<int>("format") != kFormat) reader.bad("format");
  RecordedRun run;
  reader.read("mlxk_version", run.version);
  reader.read("mlx_version", run.device.mlx_version);
  reader.read("device", run.device.name);
  reader.read("kernels", run.device.kernels);
  reader.read("created_at", run.created_at);
  const Reader model = reader.inner("model"), request = reader.inner("request");
  model.read("name", run.model.name);
  run.model.path = model.get<std::string>("path");
  model.read("revision", run.model.revision);
  model.read("cached", run.model.cached);
  model.read("content_hash", run.content_hash);
  if (!request.value("prompt").is_null()) request.read("prompt", run.request.prompt);
  request.read("prompt_tokens", run.prompt_tokens);
  const std::string place = path.string() + ".request";
  run.request.media = read_list<MediaItem>(
      request, "media", [&](const Json& one) { return read_media(Reader(one, place + ".media[]")); });
  const auto ranges = request.get<std::vector<std::pair<int64_t, int64_t>>>("attend_both_ways");
  for (const auto& [begin, end] : ranges) run.request.attend_both_ways.push_back({begin, end});
  run.request.sampling = read_sampling(request.inner("sampling"));
  request.read("max_tokens", run.request.max_tokens);
  request.read("eos_token_ids", run.request.eos_token_ids);
  request.read("constrained", run.constrained);
  if (!request.value("held_to").is_null()) run.held = read_held(request.inner("held_to"));
  run.reason = reader.word<FinishReason>("finish_reason", kReasons);
  const auto tokens = reader.get<std::vector<int32_t>>("tokens");
  const auto logprobs = reader.get<std::vector<float>>("logprobs");
  if (tokens.size() != logprobs.size()) reader.bad("logprobs");
  for (size_t i = 0; i < tokens.size(); ++i) run.tokens.push_back({tokens[i], logprobs[i], {}});
  return run;
}

}  // namespace mlxk

// GET /v1/models, GET /v1/models/{id}, POST /v1/models/load and /v1/models/unload
#include <sys/stat.h>

#include "selftest/verdicts.h"
#include "server/openai/documents.h"
#include "server/openai/endpoints.h"
#include "server/openai/fields.h"
#include "serving/model_pool.h"
#include "serving/speech_abilities.h"

namespace mlxk {
namespace {

/// When the model came to this disk, in seconds since 1970; 0: unknown.
int64_t created_at(const ModelRef& ref) {
  struct stat facts{};
  return stat((ref.path / "config.json").c_str(), &facts) == 0 ? facts.st_mtime : 0;
}

/// Bits, group size and mode, without config.json's entries for single layers; null: not quantised.
Json quantization_of(const ModelInfo& info) {
  if (info.quantization.empty()) return nullptr;
  const Json config = parse_json(info.quantization, "config.json");
  Json result = Json::object();
  for (const auto& [key, value] : config.items()) {
    if (value.is_primitive()) result[key] = value;
  }
  return result;
}

Json document_of(const ServerContext& context, const SelftestVerdicts& verdicts, const ModelPool::Entry& entry) {
  const ModelInfo& info = entry.info;
  return {
      {"id", entry.id},
      {"object", "model"},
      {"created", created_at(info.ref)},
      {"owned_by", info.ref.cached ? "mlx-knife-2.0" : "workspace"},
      {"permission", Json::array()},
      {"context_length", info.context_length > 0 ? Json(info.context_length) : Json()},
      {"model_type", info.model_type},
      {"capabilities", info.capabilities},
      {"tools", tool_support_name(context.tool_support(tool_support_of(info)))},
      {"speech", speech_json(info)},
      {"quantization", quantization_of(info)},
      {"size_bytes", info.size_bytes},
      {"weight_bytes", info.weight_bytes},
      {"loaded", entry.loaded},
      {"pinned", entry.pinned},
      {"selftest", verdict_json(verdicts.find(info))},
  };
}

/// The model that `spec` names, as in the list; throws not_found, ambiguous.
ModelPool::Entry find_entry(const ServerContext& context, const std::string& spec) {
  const ModelInfo info = context.models.describe(spec);
  for (ModelPool::Entry& entry : context.models.list()) {
    if (entry.info.ref.path == info.ref.path) return std::move(entry);
  }
  // It exists but does not run: the list leaves it out, but its clients may ask about it.
  return {info, info.ref.cached ? info.ref.name : spec, false, false};
}

std::string model_of(const ApiCall& call) {
  const Json body = parse_body(call.request.body);
  check_body(model_name_schema(), body);
  return body["model"];
}

}  // namespace

const Json& model_name_schema() {
  static const Json schema = schema::object({{"model", answer_field("model").schema}}, {"model"});
  return schema;
}

HttpResponse list_models(ServerContext& context, const ApiCall& /*call*/) {
  const SelftestVerdicts verdicts;
  Json models = Json::array();
  for (const ModelPool::Entry& entry : context.models.list()) models.push_back(document_of(context, verdicts, entry));
  return json_answer({{"object", "list"}, {"data", std::move(models)}});
}

HttpResponse show_model(ServerContext& context, const ApiCall& call) {
  return json_answer(document_of(context, {}, find_entry(context, call.name)));
}

HttpResponse load_model(ServerContext& context, const ApiCall& call) {
  const std::string model = model_of(call);
  const auto held = context.models.acquire(model, {});
  return json_answer(document_of(context, {}, find_entry(context, model)));
}

HttpResponse unload_model(ServerContext& context, const ApiCall& call) {
  const std::string model = model_of(call);
  context.models.unload(model);
  return json_answer(document_of(context, {}, find_entry(context, model)));
}

}  // namespace mlxk

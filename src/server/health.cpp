#include "server/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "server/api_error.h"
#include "server/json_text.h"
#include "server/metrics.h"
#include "serving/model_pool.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
void gauge(std::string& out, std::string_view name, std::string_view help, double value) {
  fmt::format_to(std::back_inserter(out), "# HELP {0} {1}\n# TYPE {0} gauge\n{0} {2}\n", name, help, value);
}

/// A label's value: quotes, backslashes and newlines escaped.
std::string label(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

/// A metric with one line for each model.
struct ModelFigure {
  const char* name;
  const char* type;
  const char* help;
  double (*value)(const ModelStatus& model);
};
constexpr ModelFigure kModelFigures[] = {
    {"mlxk_model_running", "gauge", "Requests that run.", [](const ModelStatus& m) { return double(m.running); }},
    {"mlxk_model_waiting", "gauge", "Requests that wait.", [](const ModelStatus& m) { return double(m.waiting); }},
    {"mlxk_model_kv_bytes", "gauge", "Keys and values of running requests, at most.",
     [](const ModelStatus& m) { return double(m.kv_bytes); }},
    {"mlxk_prefix_cache_bytes", "gauge", "Keys and values of past prompts in memory.",
     [](const ModelStatus& m) { return double(m.cache.prefix_bytes); }},
    {"mlxk_prefix_cache_disk_bytes", "gauge", "Keys and values of past prompts on disk.",
     [](const ModelStatus& m) { return double(m.cache.prefix_disk_bytes); }},
    {"mlxk_prefix_cache_entries", "gauge", "Past prompts that are kept.",
     [](const ModelStatus& m) { return double(m.cache.prefix_entries); }},
    {"mlxk_prefix_cache_hit_tokens_total", "counter", "Tokens of prompts found in the prefix cache.",
     [](const ModelStatus& m) { return double(m.cache.hit_tokens); }},
    {"mlxk_prefix_cache_lookup_tokens_total", "counter", "Tokens of prompts looked up in the prefix cache.",
     [](const ModelStatus& m) { return double(m.cache.lookup_tokens); }},
    {"mlxk_drafted_tokens_total", "counter", "Tokens that speculation proposed.",
     [](const ModelStatus& m) { return double(m.cache.drafted_tokens); }},
    {"mlxk_accepted_tokens_total", "counter", "Proposed tokens that the model agreed with.",
     [](const ModelStatus& m) { return double(m.cache.accepted_tokens); }},
};

void append_models(std::string& out, const std::vector<ModelPool::Loaded>& loaded, const WorkerStatus& status) {
  const auto to = std::back_inserter(out);
  out += "# HELP mlxk_model_weight_bytes Weights of loaded models.\n# TYPE mlxk_model_weight_bytes gauge\n";
  for (const auto& one : loaded) {
    fmt::format_to(to, "mlxk_model_weight_bytes{{model=\"{}\"}} {}\n", label(one.id), one.weight_bytes);
  }
  for (const ModelFigure& figure : kModelFigures) {
    fmt::format_to(to, "# HELP {0} {1}\n# TYPE {0} {2}\n", figure.name, figure.help, figure.type);
    for (const ModelStatus& model : status.models) {
      const auto named =
          std::find_if(loaded.begin(), loaded.end(), [&](const auto& one) { return one.handle == model.id; });
      if (named == loaded.end()) continue;
      fmt::format_to(to, "{}{{model=\"{}\"}} {}\n", figure.name, label(named->id), figure.value(model));
    }
  }
}
}  // namespace

HttpResponse show_health(ServerContext& context, const ApiCall& call) {
  const WorkerStatus status = context.worker.status();
  if (status.since_turn_s > context.stuck_after.count()) {
    return error_response(503, fmt::format("the generation loop has not turned for {:.0f} s", status.since_turn_s),
                          call.exchange->request_id(), "", "stuck");
  }
  if (const double seconds = context.preparation.longest().count(); seconds > context.stuck_after.count()) {
    return error_response(503, fmt::format("a request has been prepared for {:.0f} s", seconds),
                          call.exchange->request_id(), "", "stuck");
  }
  HttpResponse response;
  response.body = fmt::format(
      R"({{"status":"healthy","service":"mlx-knife-server-2.0","version":"{}","running":{},"waiting":{},"since_turn_s":{:.3f}}})",
      MLXK_VERSION, status.running, status.waiting, status.since_turn_s);
  return response;
}

HttpResponse show_ready(ServerContext& context, const ApiCall& call) {
  const bool ready = context.models.ready();
  if (context.draining || !ready) {
    HttpResponse response =
        context.draining
            ? error_response(503, "Server is shutting down", call.exchange->request_id(), "", "shutting_down")
            : error_response(503, "the model is being loaded", call.exchange->request_id(), "", "loading");
    response.headers.add("Retry-After", context.draining ? "5" : "1");
    return response;
  }
  HttpResponse response;
  response.body = R"({"status":"ready","models":[)";
  const char* comma = "";
  for (const auto& one : context.models.loaded()) {
    response.body += comma;
    append_json_string(response.body, one.id);
    comma = ",";
  }
  response.body += "]}";
  return response;
}

HttpResponse show_metrics(ServerContext& context, const ApiCall& /*call*/) {
  const WorkerStatus status = context.worker.status();
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  std::string& out = response.body;
  out = context.metrics.text();
  gauge(out, "mlxk_running_requests", "Requests that run on the engine.", static_cast<double>(status.running));
  gauge(out, "mlxk_waiting_requests", "Requests that wait for the engine.", static_cast<double>(status.waiting));
  gauge(out, "mlxk_tokens_per_second", "Tokens generated in the last ten seconds, a second.", status.tokens_per_s);
  gauge(out, "mlxk_loop_seconds", "Time since the generation loop last turned; 0 while there is nothing to do.",
        status.since_turn_s);
  gauge(out, "mlxk_loading", "Whether a model is being loaded.", status.loading ? 1 : 0);
  gauge(out, "mlxk_draining", "Whether the server is shutting down.", context.draining ? 1 : 0);
  append_models(out, context.models.loaded(), status);
  fmt::format_to(std::back_inserter(out),
                 "# HELP mlxk_build_info The program.\n# TYPE mlxk_build_info gauge\n"
                 "mlxk_build_info{{version=\"{}\"}} 1\n",
                 MLXK_VERSION);
  return response;
}

}  // namespace mlxk

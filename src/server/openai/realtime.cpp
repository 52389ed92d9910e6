// GET /v1/realtime?intent=transcription: a WebSocket
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "server/api_error.h"
#include "server/openai/endpoints.h"
#include "server/openai/fields.h"
#include "server/openai/realtime_session.h"
#include "server/openai/schema.h"
#include "serving/model_pool.h"
#include "transport/target.h"
#include "transport/web_socket.h"

namespace mlxk {

namespace {

constexpr int kMaxRealtimeSessions = 64;

std::map<std::string, std::string> read_query(std::string_view query) {
  std::map<std::string, std::string> fields;
  while (!query.empty()) {
    std::string field(query.substr(0, query.find('&')));
    query.remove_prefix(std::min(field.size() + 1, query.size()));
    std::replace(field.begin(), field.end(), '+', ' ');
    const size_t equals = std::min(field.find('='), field.size());
    const auto name = percent_decode(field.substr(0, equals));
    const auto value =
        percent_decode(std::min(equals + 1, field.size()) == field.size() ? "" : field.substr(equals + 1));
    if (!name || !value) {
      throw ApiError(ErrorKind::invalid, fmt::format("{} in the query is not percent-encoded", schema::shown(field)));
    }
    fields[*name] = *value;
  }
  return fields;
}

bool offers(const HttpRequest& request, std::string_view protocol) {
  const auto offered = offered_protocols(request);
  return std::find(offered.begin(), offered.end(), protocol) != offered.end();
}

}  // namespace

void realtime(ServerContext& context, ApiCall call) {
  auto query = read_query(call.request.query);
  if (query["intent"] != "transcription") {
    refuse_field("intent",
                 fmt::format("intent must be transcription, got {}: spoken answers are not built in",
                             schema::shown(query["intent"])),
                 "unsupported_value");
  }
  if (context.realtime_sessions >= kMaxRealtimeSessions) {
    throw ApiError(ErrorKind::unavailable,
                   fmt::format("{} live transcriptions are open already.", kMaxRealtimeSessions), "", "queue_full",
                   429);
  }
  const HttpRequest& request = call.request;
  const bool older = request.headers.find("openai-beta").value_or("").find("realtime=v1") != std::string_view::npos ||
                     offers(request, "openai-beta.realtime-v1");
  std::string model = query["model"];
  if (model.empty()) model = context.models.pinned();
  WebSocketPlan plan;
  if (offers(request, "realtime")) plan.protocol = "realtime";
  const auto exchange = call.exchange;
  const auto session = std::make_shared<RealtimeSession>(context, std::move(call), std::move(model), older);
  plan.sink = session;
  exchange->upgrade(std::move(plan));
  session->start();
}

}  // namespace mlxk

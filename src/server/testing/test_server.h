#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "json/json.h"
#include "server/server.h"
#include "server/testing/fake_engine.h"
#include "server/testing/fake_exchange.h"
#include "server/testing/open_guard.h"
#include "serving/model_pool.h"
#include "serving/testing/tiny_model.h"
#include "worker/worker.h"

namespace mlxk::testing {

/// The models "tiny" and "other", removed by the destructor.
class TinyModels {
 public:
  TinyModels() : home_(std::filesystem::temp_directory_path() / ("mlxk_server_test_" + std::to_string(getpid()))) {
    for (const char* name : {"tiny", "other"}) write_tiny_model(home_ / "workspaces" / name, 1024);
    setenv("MLXK_WORKSPACE_HOME", (home_ / "workspaces").c_str(), 1);
    setenv("HF_HOME", (home_ / "hf").c_str(), 1);
  }
  ~TinyModels() { std::filesystem::remove_all(home_); }
  const std::filesystem::path& home() const { return home_; }

 private:
  std::filesystem::path home_;
};

/// A server between a fake transport and a fake engine.
struct TestServer {
  explicit TestServer(FakeEngineOptions engine = {}, ServerOptions options = {}, WorkerLimits limits = {},
                      PoolOptions pool = {})
      : worker([engine] { return std::make_unique<FakeEngine>(engine); }, limits),
        models(worker, std::move(pool)),
        server(worker, models, guard, std::move(options)) {}
  ~TestServer() { io->stop(); }  // as a transport ends before its handler

  /// Starts a request as the transport does: the head first, then the body unless the head was refused.
  std::shared_ptr<FakeExchange> start(const std::string& method, const std::string& path, const std::string& body = {},
                                      const std::string& type = "application/json") {
    auto exchange = std::make_shared<FakeExchange>(io);
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.id = exchange->request_id();
    if (!type.empty()) request.headers.add("Content-Type", type);
    BodyPlan plan = server.plan(request);
    if (plan.refusal) {
      exchange->respond(*plan.refusal);
      return exchange;
    }
    if (body.size() > plan.limit) {
      exchange->respond(server.refusal(413, "too large", request.id));
      return exchange;
    }
    if (plan.sink) {
      plan.sink->take(body);
      request.sink = plan.sink;
    } else {
      request.body = body;
    }
    io->post([this, request, exchange] { server.handle(request, exchange); });
    return exchange;
  }
  std::shared_ptr<FakeExchange> ask(const std::string& method, const std::string& path, const std::string& body = {},
                                    const std::string& type = "application/json") {
    auto exchange = start(method, path, body, type);
    EXPECT_TRUE(exchange->wait()) << path << ' ' << body;
    return exchange;
  }
  /// Returns the document of a whole answer.
  Json post(const std::string& path, const Json& body, int status = 200) {
    const auto exchange = ask("POST", path, body.dump());
    EXPECT_EQ(exchange->status(), status) << exchange->body();
    return Json::parse(exchange->body());
  }
  /// Waits until no request runs or waits on the engine; false after ten seconds.
  bool wait_until_idle() {
    for (int i = 0; i < 1000; ++i) {
      const WorkerStatus status = worker.status();
      if (status.running == 0 && status.waiting == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  Worker worker;
  ModelPool models;
  OpenGuard guard;
  Server server;
  std::shared_ptr<IoThread> io = std::make_shared<IoThread>();
};

/// The data of a stream's events, without comments.
inline std::vector<std::string> events_of(const std::string& body) {
  std::vector<std::string> events;
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find("\n\n", at);
    if (end == std::string::npos) {
      ADD_FAILURE() << "a stream ends within an event: " << body.substr(at);
      break;
    }
    const std::string event = body.substr(at, end - at);
    if (event.rfind("data: ", 0) == 0) events.push_back(event.substr(6));
    at = end + 2;
  }
  return events;
}

/// A choice, assembled from its chunks as a client does.
struct Assembled {
  std::string content, reasoning, finish_reason;
  Json calls = Json::array();
  Json chat_logprobs = Json::array();
  int chunks = 0;
};

/// Assembles every choice; `usage` gets that of the last chunk, if any. The stream must be well formed.
inline std::vector<Assembled> assemble(const std::string& body, Json* usage = nullptr) {
  std::vector<Assembled> choices;
  auto events = events_of(body);
  if (events.empty() || events.back() != "[DONE]") {
    ADD_FAILURE() << "no [DONE]: " << body;
    return choices;
  }
  events.pop_back();
  for (const std::string& event : events) {
    const Json chunk = Json::parse(event);
    if (chunk.contains("error")) continue;
    if (usage && chunk.contains("usage") && !chunk["usage"].is_null()) *usage = chunk["usage"];
    for (const Json& one : chunk["choices"]) {
      const auto index = one["index"].get<size_t>();
      if (index >= choices.size()) choices.resize(index + 1);
      Assembled& choice = choices[index];
      ++choice.chunks;
      EXPECT_EQ(choice.finish_reason, "") << "a chunk behind the last: " << event;
      if (!one["finish_reason"].is_null()) choice.finish_reason = one["finish_reason"].get<std::string>();
      if (one.contains("text")) choice.content += one["text"].get<std::string>();
      if (!one["logprobs"].is_null() && one["logprobs"].contains("content")) {
        for (const Json& entry : one["logprobs"]["content"]) choice.chat_logprobs.push_back(entry);
      }
      if (!one.contains("delta")) continue;
      const Json& delta = one["delta"];
      if (delta.contains("content")) choice.content += delta["content"].get<std::string>();
      if (delta.contains("reasoning_content")) choice.reasoning += delta["reasoning_content"].get<std::string>();
      for (const Json& call : delta.value("tool_calls", Json::array())) {
        const auto number = call["index"].get<size_t>();
        if (number >= choice.calls.size()) {
          choice.calls.push_back({{"id", call["id"]},
                                  {"type", call["type"]},
                                  {"function", {{"name", call["function"]["name"]}, {"arguments", ""}}}});
        }
        auto& arguments = choice.calls[number]["function"]["arguments"].get_ref<std::string&>();
        arguments += call["function"].value("arguments", "");
      }
    }
  }
  return choices;
}

inline Json user(const std::string& text) { return Json::array({{{"role", "user"}, {"content", text}}}); }

}  // namespace mlxk::testing

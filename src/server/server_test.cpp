#include "server/server.h"

#include <fstream>

#include "server/routes.h"
#include "server/testing/test_server.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

using testing::TestServer;
using testing::user;

class ServerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { models_ = std::make_unique<testing::TinyModels>(); }
  static void TearDownTestSuite() { models_.reset(); }
  static std::filesystem::path folder(const char* model) { return models_->home() / "workspaces" / model; }

 private:
  inline static std::unique_ptr<testing::TinyModels> models_;
};

/// The envelope of an answer, whose form must be right.
Json error_of(const testing::FakeExchange& exchange) {
  const Json document = Json::parse(exchange.body());
  EXPECT_EQ(document["status"], "error");
  EXPECT_EQ(document["request_id"], exchange.request_id());
  const Json& error = document["error"];
  for (const char* key : {"message", "type", "param", "code"}) EXPECT_TRUE(error.contains(key)) << key;
  EXPECT_EQ(exchange.head().content_type, "application/json");
  return error;
}

TEST_F(ServerTest, answers_an_unknown_route_in_the_envelope) {
  TestServer server;
  const auto exchange = server.ask("GET", "/v2/\"nothing\"");
  EXPECT_EQ(exchange->status(), 404);
  EXPECT_EQ(error_of(*exchange)["code"], "unknown_route");
  EXPECT_EQ(error_of(*exchange)["type"], "not_found");
  EXPECT_EQ(error_of(*exchange)["message"],
            "There is no GET \"/v2/\"nothing\"\" here; GET /openapi.json lists the routes");
  EXPECT_EQ(error_of(*server.ask("POST", "/chat/completions", "{}"))["message"],
            "There is no POST \"/chat/completions\" here; did you mean /v1/chat/completions?");
}

TEST(Routes, know_what_is_spelled_alike) {
  for (const auto& [path, similar] :
       std::vector<std::pair<std::string, std::string>>{{"/v1//chat/completions", "/v1/chat/completions"},
                                                        {"/v1/v1/chat/completions", "/v1/chat/completions"},
                                                        {"/v1/chat", "/v1/chat/completions"},
                                                        {"/v1/completion/", "/v1/completions"},
                                                        {"/models", "/v1/models"},
                                                        {"/openapi.jsn", "/openapi.json"},
                                                        {"/", ""},
                                                        {"/v1/responses", ""},
                                                        {"/v1/messages", ""},
                                                        {"/api/tags", ""},
                                                        {"/" + std::string(10'000, 'x'), ""}}) {
    EXPECT_EQ(similar_path(path), similar) << path;
  }
}

TEST_F(ServerTest, tells_a_person_with_a_browser_what_it_is) {
  TestServer server;
  const auto exchange = server.ask("GET", "/");
  EXPECT_EQ(exchange->status(), 200);
  EXPECT_EQ(exchange->head().content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(exchange->body(), "mlxk " MLXK_VERSION ": an OpenAI API at /v1, described by /openapi.json\n");
}

TEST_F(ServerTest, names_the_methods_of_a_path) {
  TestServer server;
  for (const auto& [method, path, allowed] :
       std::vector<std::array<const char*, 3>>{{"GET", "/v1/chat/completions", "POST"},
                                               {"POST", "/health", "GET, HEAD"},
                                               {"DELETE", "/v1/models/org/name", "GET, HEAD"},
                                               {"PUT", "/v1/models/load", "GET, HEAD, POST"}}) {
    const auto exchange = server.ask(method, path, "{}");
    EXPECT_EQ(exchange->status(), 405) << path;
    EXPECT_EQ(exchange->head().headers.find("allow"), allowed) << path;
    EXPECT_EQ(error_of(*exchange)["type"], "method_not_allowed");
  }
}

TEST_F(ServerTest, takes_json_alone) {
  TestServer server;
  for (const char* type :
       {"text/plain", "application/x-www-form-urlencoded", "", "application/json5", "multipart/form-data"}) {
    const auto exchange = server.ask("POST", "/v1/chat/completions", "{}", type);
    EXPECT_EQ(exchange->status(), 415) << type;
  }
  for (const char* type : {"application/json", "Application/JSON; charset=utf-8", "application/json ;x"}) {
    EXPECT_EQ(server.ask("POST", "/v1/chat/completions", "{}", type)->status(), 400) << type;
  }
}

TEST_F(ServerTest, says_why_a_known_route_is_not_built) {
  TestServer server;
  for (const char* path : {"/v1/audio/speech", "/v1/images/generations"}) {
    const auto exchange = server.ask("POST", path, "x", "multipart/form-data");
    EXPECT_EQ(exchange->status(), 501);
    EXPECT_EQ(error_of(*exchange)["type"], "not_implemented");
  }
}

TEST_F(ServerTest, refuses_everything_but_its_state_while_it_drains) {
  TestServer server;
  server.server.drain();
  const auto refused = server.ask("POST", "/v1/completions", R"({"model":"tiny","prompt":"x"})");
  EXPECT_EQ(refused->status(), 503);
  EXPECT_EQ(error_of(*refused)["type"], "server_shutdown");
  EXPECT_EQ(error_of(*refused)["retryable"], true);
  EXPECT_TRUE(refused->head().headers.find("retry-after"));
  EXPECT_EQ(server.ask("GET", "/ready")->status(), 503);
  EXPECT_EQ(server.ask("GET", "/health")->status(), 200);
  EXPECT_EQ(server.ask("GET", "/metrics")->status(), 200);
}

TEST_F(ServerTest, is_ready_once_the_pinned_model_is_loaded) {
  TestServer server({}, {}, {}, {.pinned = "tiny"});
  EXPECT_EQ(server.ask("GET", "/ready")->status(), 503);
  server.post("/v1/completions", {{"model", "other"}, {"prompt", "x"}});
  EXPECT_EQ(server.ask("GET", "/ready")->status(), 503);
  server.post("/v1/completions", {{"model", "tiny"}, {"prompt", "x"}});
  EXPECT_EQ(server.ask("GET", "/ready")->status(), 200);
}

TEST_F(ServerTest, is_healthy_while_the_engine_works) {
  TestServer server({.step = std::chrono::milliseconds(5)});
  const auto busy = server.start("POST", "/v1/completions", R"({"model":"tiny","prompt":"!endless","max_tokens":200})");
  while (server.worker.status().running == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto health = server.ask("GET", "/health");
  EXPECT_EQ(health->status(), 200);
  EXPECT_EQ(Json::parse(health->body())["status"], "healthy");
  EXPECT_EQ(Json::parse(health->body())["running"], 1);
  busy->disconnect();
}

TEST_F(ServerTest, counts_what_it_does) {
  TestServer server;
  server.post("/v1/completions", {{"model", "tiny"}, {"prompt", "!say abc"}});
  server.post("/v1/completions", {{"model", "tiny"}, {"prompt", "!say abc"}});
  HttpRequest head;
  head.method = "POST";
  head.path = "/v1/completions";
  server.server.answered(head, 200, 100, 0.02);
  head.path = "/elsewhere/\"{";
  server.server.answered(head, 404, 100, 0.0001);
  EXPECT_TRUE(server.wait_until_idle());
  const std::string text = server.ask("GET", "/metrics")->body();
  const auto has = [&](const std::string& line) {
    EXPECT_NE(text.find("\n" + line + "\n"), std::string::npos) << line << text;
  };
  has(R"(mlxk_requests_total{route="/v1/completions",status="200"} 1)");
  has(R"(mlxk_requests_total{route="other",status="404"} 1)");
  has(R"(mlxk_request_seconds_bucket{route="/v1/completions",le="0.01"} 0)");
  has(R"(mlxk_request_seconds_bucket{route="/v1/completions",le="0.025"} 1)");
  has(R"(mlxk_request_seconds_bucket{route="/v1/completions",le="+Inf"} 1)");
  has("mlxk_prompt_tokens_total 14");
  has("mlxk_cached_tokens_total 6");
  has("mlxk_completion_tokens_total 8");
  has("mlxk_first_token_seconds_count 2");
  has("mlxk_running_requests 0");
  has(R"(mlxk_model_running{model="tiny"} 0)");
}

TEST_F(ServerTest, bounds_the_requests_that_wait_to_be_prepared) {
  TestServer server({}, {.max_preparing = 0});
  const auto exchange = server.ask("POST", "/v1/completions", R"({"model":"tiny","prompt":"x"})");
  EXPECT_EQ(exchange->status(), 429);
  EXPECT_TRUE(exchange->head().headers.find("retry-after"));
  EXPECT_EQ(server.ask("GET", "/health")->status(), 200);
}

TEST_F(ServerTest, refuses_megabytes_by_their_length) {
  TestServer server;
  const std::string digits(20 << 20, '7');
  const auto prompt = server.ask("POST", "/v1/completions", Json{{"model", "tiny"}, {"prompt", digits}}.dump());
  EXPECT_EQ(prompt->status(), 400);
  EXPECT_EQ(error_of(*prompt)["code"], "context_length_exceeded");
  const auto chat =
      server.ask("POST", "/v1/chat/completions", Json{{"model", "tiny"}, {"messages", user(digits)}}.dump());
  EXPECT_EQ(chat->status(), 400);
  EXPECT_EQ(error_of(*chat)["code"], "context_length_exceeded");
  EXPECT_EQ(error_of(*chat)["param"], "messages");
}

/// Two lists of sixty levels whose halves are the same, compared: that takes as long as a render may.
TEST_F(ServerTest, goes_on_beside_requests_that_are_prepared_slowly) {
  std::ofstream(folder("other") / "chat_template.jinja")
      << "{% if messages[0].content != 'slow' %}{{ messages[0].content }}{% else %}"
         "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}"
         "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}{% endif %}";
  TestServer server({}, {.stuck_after = std::chrono::milliseconds(200)});
  const std::string slow = Json{{"model", "other"}, {"messages", user("slow")}}.dump();
  server.post("/v1/chat/completions", {{"model", "other"}, {"messages", user("!say abc")}});
  const auto first = server.start("POST", "/v1/chat/completions", slow);
  const auto second = server.start("POST", "/v1/chat/completions", slow);
  int health = 0;
  while (first->heads() == 0 && health != 503) health = server.ask("GET", "/health")->status();
  EXPECT_EQ(health, 503) << "nobody was told";
  EXPECT_EQ(server.ask("GET", "/v1/models")->status(), 200);
  server.post("/v1/chat/completions", {{"model", "tiny"}, {"messages", user("!say abc")}});
  EXPECT_EQ(first->heads(), 0);
  for (const auto& exchange : {first, second}) {
    EXPECT_TRUE(exchange->wait() || exchange->wait());
    EXPECT_EQ(exchange->status(), 400) << exchange->body();
  }
  while (server.ask("GET", "/health")->status() != 200) std::this_thread::yield();
  std::filesystem::remove(folder("other") / "chat_template.jinja");
}

TEST_F(ServerTest, answers_to_a_model_that_is_not_there) {
  TestServer server;
  for (const char* name : {"nothing", "org/nothing", "/etc", "../tiny", "./tiny"}) {
    const auto exchange =
        server.ask("POST", "/v1/chat/completions", Json{{"model", name}, {"messages", user("x")}}.dump());
    EXPECT_EQ(exchange->status(), 404) << name << exchange->body();
    EXPECT_EQ(error_of(*exchange)["type"], "model_not_found");
    EXPECT_EQ(error_of(*exchange)["code"], "model_not_found");
    EXPECT_EQ(error_of(*exchange)["message"],
              std::string("Model not found in cache: ") + name + "; GET /v1/models lists the models");
  }
}

TEST(Routes, keep_what_stands_for_the_id) {
  EXPECT_EQ(match_route("GET", "/v1/models/org/name").name, "org/name");
  EXPECT_EQ(match_route("GET", "/v1/models/").route, nullptr);
  EXPECT_EQ(match_route("GET", "/v1/models").name, "");
  EXPECT_EQ(match_route("GET", "/v1/models//").name, "/");
}

TEST(Routes, only_admins_load_and_unload) {
  for (const ApiRoute& route : routes()) {
    const std::string pattern = route.pattern;
    const bool admin = pattern == "/v1/models/load" || pattern == "/v1/models/unload";
    EXPECT_EQ(route.scope, admin ? Scope::admin : Scope::inference) << pattern;
  }
}

}  // namespace
}  // namespace mlxk

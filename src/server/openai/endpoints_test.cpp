#include "server/openai/endpoints.h"

#include <gtest/gtest.h>

#include <cctype>
#include <set>

#include "server/openai/documents.h"
#include "server/routes.h"
#include "server/testing/test_server.h"

namespace mlxk {
namespace {

struct EndpointsTest : ::testing::Test {
  Json get(const std::string& path, int status = 200) {
    const auto exchange = server.ask("GET", path);
    EXPECT_EQ(exchange->status(), status) << path << ' ' << exchange->body();
    return Json::parse(exchange->body());
  }
  std::string refused_param(const std::string& path, const Json& body) {
    return server.post(path, body, 400)["error"]["param"].dump();
  }

  testing::TinyModels models;
  testing::TestServer server;
};

TEST_F(EndpointsTest, ListsWhatCanBeAskedFor) {
  const Json list = get("/v1/models");
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 2);
  EXPECT_EQ(list["data"][0]["id"], "other");
  const Json& tiny = list["data"][1];
  EXPECT_EQ(tiny["id"], "tiny");
  EXPECT_EQ(tiny["owned_by"], "workspace");
  EXPECT_EQ(tiny["permission"], Json::array());
  EXPECT_EQ(tiny["context_length"], 1024);
  EXPECT_EQ(tiny["tools"], "native");
  EXPECT_TRUE(tiny["speech"].is_null());
  EXPECT_EQ(tiny["loaded"], false);
  EXPECT_GT(tiny["created"], 1'600'000'000);
  EXPECT_GT(tiny["size_bytes"], 0);
  EXPECT_EQ(get("/v1/models/tiny"), tiny);
}

TEST_F(EndpointsTest, AnUnknownModelIs404Everywhere) {
  for (const char* path : {"/v1/models/nobody/nothing", "/v1/models//etc", "/v1/models/../tiny"}) {
    EXPECT_EQ(get(path, 404)["error"]["type"], "model_not_found");
  }
  const Json nobody = {
      {"model", "nobody/nothing"}, {"content", "a"}, {"tokens", {1}}, {"messages", {{{"role", "user"}}}}};
  for (const char* path : {"/v1/models/load", "/v1/models/unload", "/tokenize", "/detokenize", "/apply-template"}) {
    EXPECT_EQ(server.post(path, nobody, 404)["error"]["type"], "model_not_found") << path;
  }
}

TEST_F(EndpointsTest, LoadsAndUnloads) {
  EXPECT_EQ(server.post("/v1/models/load", {{"model", "tiny"}})["loaded"], true);
  EXPECT_EQ(get("/v1/models/tiny")["loaded"], true);
  EXPECT_EQ(server.post("/v1/models/unload", {{"model", "tiny"}})["loaded"], false);
  EXPECT_EQ(get("/v1/models/tiny")["loaded"], false);
  EXPECT_EQ(refused_param("/v1/models/load", Json::object()), "\"model\"");
}

TEST_F(EndpointsTest, DetokenizeIsTheReverseOfTokenize) {
  const std::string text = "ab ba";
  const Json tokens = server.post("/tokenize", {{"model", "tiny"}, {"content", text}})["tokens"];
  EXPECT_FALSE(tokens.empty());
  EXPECT_EQ(server.post("/detokenize", {{"model", "tiny"}, {"tokens", tokens}})["content"], text);
  std::string joined;
  const Json pieces = server.post("/tokenize", {{"model", "tiny"}, {"content", text}, {"with_pieces", true}})["tokens"];
  ASSERT_EQ(pieces.size(), tokens.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    EXPECT_EQ(pieces[i]["id"], tokens[i]);
    joined += pieces[i]["piece"].get<std::string>();
  }
  EXPECT_EQ(joined, text);
  EXPECT_EQ(server.post("/tokenize", {{"model", "tiny"}, {"content", ""}})["tokens"], Json::array());
}

TEST_F(EndpointsTest, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(refused_param("/tokenize", {{"model", "tiny"}}), "\"content\"");
  EXPECT_EQ(refused_param("/tokenize", {{"model", "tiny"}, {"content", 5}}), "\"content\"");
  EXPECT_EQ(refused_param("/detokenize", {{"model", "tiny"}, {"tokens", {1, -1}}}), "\"tokens[1]\"");
  EXPECT_EQ(refused_param("/detokenize", {{"model", "tiny"}, {"tokens", {1, 2147483647}}}), "\"tokens[1]\"");
  EXPECT_EQ(refused_param("/apply-template", {{"model", "tiny"}, {"messages", Json::array()}}), "\"messages\"");
}

TEST_F(EndpointsTest, ATemplateGetsMessagesAsTheyCame) {
  const Json one =
      server.post("/apply-template", {{"model", "tiny"}, {"messages", {{{"role", "wizard"}, {"content", "ab"}}}}});
  const auto prompt = one["prompt"].get<std::string>();
  EXPECT_NE(prompt.find("wizard"), std::string::npos) << prompt;
  EXPECT_EQ(server.post("/tokenize", {{"model", "tiny"}, {"content", prompt}})["tokens"], one["tokens"]);
  const Json bare = server.post(
      "/apply-template",
      {{"model", "tiny"}, {"messages", {{{"role", "wizard"}, {"content", "ab"}}}}, {"add_generation_prompt", false}});
  EXPECT_LT(bare["prompt"].get<std::string>().size(), prompt.size());
}

TEST_F(EndpointsTest, SaysWhatItIs) {
  EXPECT_EQ(get("/version")["version"], MLXK_VERSION);
  EXPECT_EQ(get("/openapi.json")["openapi"], "3.1.0");
}

std::set<std::string> documented() {
  std::set<std::string> result;
  for (const auto& [path, operations] : openapi_document()["paths"].items()) {
    for (const auto& [method, operation] : operations.items()) {
      std::string upper = method;
      for (char& c : upper) c = static_cast<char>(std::toupper(c));
      result.insert(upper + " " + path);
    }
  }
  return result;
}

TEST(OpenApi, HasEveryRouteAndNoOther) {
  std::set<std::string> there;
  for (const ApiRoute& route : routes()) there.insert(std::string(route.method) + " " + route.pattern);
  EXPECT_EQ(documented(), there);
}

TEST(OpenApi, SaysWhichRoutesAreNotBuiltIn) {
  for (const ApiRoute& route : routes()) {
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    const Json& responses = openapi_document()["paths"][route.pattern][method]["responses"];
    EXPECT_EQ(responses.contains("200"),
              !std::holds_alternative<Unbuilt>(route.handler) && !std::holds_alternative<Socketed>(route.handler))
        << route.pattern;
    EXPECT_EQ(openapi_document()["paths"][route.pattern][method].contains("requestBody"), route.body_limit > 0)
        << route.pattern;
  }
}

}  // namespace
}  // namespace mlxk

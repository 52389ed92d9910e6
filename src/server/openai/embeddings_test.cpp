#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "server/api_error.h"
#include "server/openai/embed_backend.h"
#include "server/testing/test_server.h"
#include "tokenizer/base64.h"

namespace mlxk {
namespace {

/// "vectors" embeds, "ranks" reranks, "moods" classifies; see FakeEmbeddingModel. A text has a special token before and
/// after it, and is as long as it has bytes.
struct EmbeddingsTest : ::testing::Test {
  struct Fixture {
    Fixture() {
      const auto home = models.home() / "workspaces";
      testing::write_tiny_embedder(home / "vectors");
      testing::write_tiny_embedder(home / "ranks", {"score"});
      testing::write_tiny_embedder(home / "moods", {"calm", "angry"});
    }
    testing::TinyModels models;
    testing::TestServer server;
  };
  static void SetUpTestSuite() { fixture = std::make_unique<Fixture>(); }
  static void TearDownTestSuite() { fixture.reset(); }

  Json embed(const Json& input, const Json& more = Json::object(), int status = 200) {
    Json body = {{"model", "vectors"}, {"input", input}, {"normalize", false}};
    if (more.is_object()) body.update(more);
    return server.post("/v1/embeddings", body, status);
  }
  /// How many tokens each text had, in the order of the answer.
  static std::vector<int> lengths(const Json& answer) {
    std::vector<int> all;
    for (const Json& one : answer["data"]) {
      EXPECT_EQ(one["index"], all.size());
      all.push_back(one["embedding"][0].get<int>());
    }
    return all;
  }
  /// The message of a refusal, and the field that it names.
  static std::pair<std::string, std::string> refusal(const Json& answer) {
    const Json& error = answer["error"];
    return {error["message"], error["param"].is_null() ? "" : error["param"].get<std::string>()};
  }

  static std::unique_ptr<Fixture> fixture;
  testing::TestServer& server = fixture->server;
};
std::unique_ptr<EmbeddingsTest::Fixture> EmbeddingsTest::fixture;

using Refusal = std::pair<std::string, std::string>;

TEST_F(EmbeddingsTest, AnswersTextsAndTokensInTheirOrder) {
  const Json answer = embed({"four", "a", "seven!!"});
  EXPECT_EQ(answer["object"], "list");
  EXPECT_EQ(answer["model"], "vectors");
  EXPECT_EQ(lengths(answer), (std::vector{6, 3, 9}));
  EXPECT_EQ(answer["data"][1]["embedding"], Json::parse("[3.0,97.0,1.0,0.0]"));
  EXPECT_EQ(answer["usage"], (Json{{"prompt_tokens", 18}, {"total_tokens", 18}}));
  EXPECT_EQ(lengths(embed("one")), std::vector{5});
  EXPECT_EQ(lengths(embed({104, 105})), std::vector{2});  // as the model gets them
  EXPECT_EQ(lengths(embed({{104, 105}, {104, 105, 106}})), (std::vector{2, 3}));
}

TEST_F(EmbeddingsTest, WritesTheSameNumbersAsBase64) {
  const std::string bytes =
      *base64_decode(embed("one", {{"encoding_format", "base64"}})["data"][0]["embedding"].get<std::string>());
  std::vector<float> numbers(bytes.size() / 4);
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  EXPECT_EQ(numbers, embed("one")["data"][0]["embedding"].get<std::vector<float>>());
  EXPECT_EQ(embed("one", {{"encoding_format", "int8"}}, 400)["error"]["param"], "encoding_format");
}

TEST_F(EmbeddingsTest, NormalizesAsTheModelSaysUnlessAsked) {
  const Json answer = embed("a", {{"normalize", nullptr}});
  double sum = 0;
  for (const Json& x : answer["data"][0]["embedding"]) sum += x.get<double>() * x.get<double>();
  EXPECT_NEAR(sum, 1, 1e-6);
}

TEST_F(EmbeddingsTest, PutsThePromptInFront) {
  EXPECT_EQ(lengths(embed("text", {{"input_type", "query"}})), std::vector{9});
  EXPECT_EQ(lengths(embed("text", {{"input_type", "search_query"}})), std::vector{9});
  EXPECT_EQ(lengths(embed("text", {{"input_type", "document"}})), std::vector{6});
  EXPECT_EQ(lengths(embed("text", {{"prompt_name", "topics"}})), std::vector{9});
  EXPECT_EQ(lengths(embed("text", {{"instruction", "do: "}})), std::vector{10});
  const Json unknown = embed("text", {{"prompt_name", "gone"}}, 400);
  EXPECT_EQ(
      refusal(unknown),
      (Refusal{"prompt name 'gone': the model has no such prompt; it has query, document, topics", "prompt_name"}));
}

TEST_F(EmbeddingsTest, RefusesOrCutsWhatIsTooLong) {
  const std::string thirty = std::string(29, 'b') + "a", longer = std::string(1, 'c') + thirty;
  EXPECT_EQ(lengths(embed(thirty)), std::vector{32});
  EXPECT_EQ(refusal(embed({"short", longer}, {}, 400)),
            (Refusal{"input[1] has 33 tokens; the model takes 32", "input[1]"}));
  EXPECT_EQ(embed(longer, {}, 400)["error"]["code"], "context_length_exceeded");
  EXPECT_EQ(embed(longer, {{"truncate", "end"}})["data"][0]["embedding"][1], 'c');
  EXPECT_EQ(embed(longer, {{"truncate", "START"}})["data"][0]["embedding"][1], 'b');
  EXPECT_EQ(lengths(embed(longer, {{"truncate", "end"}})), std::vector{32});
  EXPECT_EQ(refusal(embed(std::vector<int>(40, 104), {}, 400)).first, "input has 40 tokens; the model takes 32");
  EXPECT_EQ(lengths(embed(std::vector<int>(40, 104), {{"truncate", "start"}})), std::vector{32});
}

TEST_F(EmbeddingsTest, RefusesWhatIsNoText) {
  EXPECT_EQ(embed("", {}, 400)["error"]["param"], "input");
  EXPECT_EQ(embed({"a", ""}, {}, 400)["error"]["param"], "input[1]");
  EXPECT_EQ(embed(Json::array(), {}, 400)["error"]["param"], "input");
  EXPECT_EQ(embed({{1}, Json::array()}, {}, 400)["error"]["param"], "input[1]");
  EXPECT_EQ(embed(std::vector<std::string>(2049, "a"), {}, 400)["error"]["param"], "input");
  EXPECT_EQ(refusal(embed({{1}, {5, 300}}, {}, 400)),
            (Refusal{"input[1][1] must be below the vocabulary's size of 269, got 300", "input[1]"}));
  EXPECT_EQ(embed({"a", "text!bad"}, {}, 500)["error"]["message"],
            "the model's output for text 1 is not finite: number 0 is nan");
}

TEST_F(EmbeddingsTest, ShortensOnlyVectorsThatWereTrainedForIt) {
  EXPECT_EQ(embed("a", {{"dimensions", 4}})["data"][0]["embedding"].size(), 4);
  EXPECT_EQ(embed("a", {{"dimensions", 5}}, 400)["error"]["message"], "dimensions must be at most 4, got 5");
  const Json refused = embed("a", {{"dimensions", 2}}, 400);
  EXPECT_NE(refused["error"]["message"].get<std::string>().find("'vectors' was not trained for vectors shorter"),
            std::string::npos);
  ServerOptions options;
  options.allow_truncate = true;
  testing::TestServer open({}, options);
  const Json answer = open.post("/v1/embeddings", {{"model", "vectors"}, {"input", "a"}, {"dimensions", 2}});
  EXPECT_EQ(answer["data"][0]["embedding"].size(), 2);
}

TEST_F(EmbeddingsTest, EachModelGivesWhatItIsFor) {
  const auto status = [&](const char* path, const Json& body) {
    return server.post(path, body, 400)["error"]["message"].get<std::string>();
  };
  EXPECT_EQ(status("/v1/embeddings", {{"model", "tiny"}, {"input", "a"}}),
            "Model 'tiny' is not an embedding model (it generates text).");
  EXPECT_EQ(status("/v1/rerank", {{"model", "vectors"}, {"query", "a"}, {"documents", Json::array({"b"})}}),
            "Model 'vectors' is an embedding model. Use /v1/embeddings.");
  EXPECT_EQ(status("/v1/chat/completions", {{"model", "vectors"}, {"messages", testing::user("hi")}}),
            "Model 'vectors' is an embedding model and generates no text. Use /v1/embeddings.");
  EXPECT_EQ(server.post("/v1/models/load", {{"model", "vectors"}})["capabilities"], Json::array({"embeddings"}));
}

TEST_F(EmbeddingsTest, EndsWorkThatNobodyWaitsFor) {
  const auto exchange = server.start("POST", "/v1/embeddings", R"({"model":"vectors","input":"x!endless"})");
  while (server.worker.status().running == 0) std::this_thread::yield();
  exchange->disconnect();
  EXPECT_TRUE(server.wait_until_idle());
}

TEST_F(EmbeddingsTest, AnswersInTheFormOfTextEmbeddingsInference) {
  const auto vectors = [&](Json body, int status = 200) {
    body["model"] = "vectors";
    return server.post("/embed", body, status);
  };
  EXPECT_EQ(vectors({{"inputs", "a"}, {"normalize", false}}), Json::parse("[[3.0,97.0,1.0,0.0]]"));
  EXPECT_EQ(vectors({{"inputs", {"a", "b"}}}).size(), 2);
  const std::string longer(40, 'x');
  EXPECT_EQ(refusal(vectors({{"inputs", {"a", longer}}}, 400)).first, "inputs[1] has 42 tokens; the model takes 32");
  EXPECT_EQ(vectors({{"inputs", longer}, {"truncate", true}, {"normalize", false}})[0][0], 32);
  EXPECT_EQ(server.post("/embed", {{"inputs", "a"}}, 400)["error"]["param"], "model");
}

TEST_F(EmbeddingsTest, RanksDocumentsInBothForms) {
  // The longer pair has the higher score.
  const Json body = {{"model", "ranks"}, {"query", "q"}, {"documents", {"aa", "a", {{"text", "aaa"}}, "bb"}}};
  for (const char* path : {"/rerank", "/v1/rerank", "/v2/rerank", "/reranking"}) {
    const Json answer = server.post(path, body);
    std::vector<int> order;
    for (const Json& one : answer["results"]) order.push_back(one["index"]);
    EXPECT_EQ(order, (std::vector{2, 0, 3, 1})) << path;
    EXPECT_EQ(answer["usage"]["total_tokens"], 24);
  }
  Json best = body;
  best["top_n"] = 1;
  best["return_documents"] = true;
  best["raw_scores"] = true;
  EXPECT_EQ(server.post("/v1/rerank", best)["results"],
            Json::parse(R"([{"index":2,"relevance_score":7.0,"document":{"text":"aaa"}}])"));
  EXPECT_EQ(
      server.post(
          "/rerank",
          {{"model", "ranks"}, {"query", "q"}, {"texts", {"a", "aa"}}, {"raw_scores", true}, {"return_text", true}}),
      Json::parse(R"([{"index":1,"score":6.0,"text":"aa"},{"index":0,"score":5.0,"text":"a"}])"));
  EXPECT_EQ(server.post("/rerank", {{"model", "ranks"}, {"query", "q"}}, 400)["error"]["param"], "documents");
  EXPECT_EQ(server.post(
                "/rerank",
                {{"model", "ranks"}, {"query", "q"}, {"documents", Json::array({"a"})}, {"texts", Json::array({"a"})}},
                400)["error"]["param"],
            "texts");
}

TEST_F(EmbeddingsTest, CutsLongDocumentsUnlessToldNotTo) {
  const std::string longer(40, 'd');
  Json body = {{"model", "ranks"}, {"query", "quick"}, {"documents", Json::array({longer})}, {"raw_scores", true}};
  EXPECT_EQ(server.post("/rerank", body)["results"][0]["relevance_score"], 32.0);
  body["truncate"] = "none";
  EXPECT_EQ(refusal(server.post("/rerank", body, 400)),
            (Refusal{"documents[0] has 48 tokens; the model takes 32", "documents[0]"}));
  EXPECT_EQ(
      refusal(server.post("/rerank", {{"model", "ranks"}, {"query", "quick"}, {"texts", Json::array({longer})}}, 400))
          .second,
      "texts[0]");
  body["truncate"] = "end";
  body["max_tokens_per_doc"] = 10;
  EXPECT_EQ(server.post("/rerank", body)["results"][0]["relevance_score"], 18.0);
}

TEST_F(EmbeddingsTest, TokenisesALongQueryOnce) {
  // 2048 times would take minutes, longer than the server prepares a request.
  const Json answer = server.post(
      "/rerank",
      {{"model", "ranks"}, {"query", std::string(1'000'000, 'q')}, {"documents", std::vector<std::string>(2048, "d")}});
  EXPECT_EQ(answer["results"].size(), 2048);
}

TEST_F(EmbeddingsTest, NamesTheLabelsOfTexts) {
  const Json answer = server.post("/v1/classify", {{"model", "moods"}, {"input", {"a", "b"}}, {"raw_scores", true}});
  ASSERT_EQ(answer["data"].size(), 2);
  EXPECT_EQ(answer["data"][0]["label"], "angry");
  EXPECT_EQ(answer["data"][0]["probs"], Json::parse("[3.0,97.0]"));
  EXPECT_EQ(answer["data"][0]["scores"][0], (Json{{"label", "calm"}, {"score", 3.0}}));
  const Json shares = server.post("/v1/classify", {{"model", "moods"}, {"input", "a"}})["data"][0]["probs"];
  EXPECT_NEAR(shares[0].get<double>() + shares[1].get<double>(), 1, 1e-6);
}

/// A port of this machine that accepts connections and never answers, or with `closed` none.
struct SilentPort {
  explicit SilentPort(bool closed = false) : listener(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(closed ? 0 : listen(listener, 8), 0);
    EXPECT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
    url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/v1/embeddings";
  }
  ~SilentPort() { close(listener); }
  int listener;
  std::string url;
};

TEST(EmbedBackend, ThatIsNotThereIs502AndASilentOne504) {
  HttpClient client;
  const auto refused = [&](const SilentPort& port) {
    HttpCall call{.url = port.url, .method = "POST", .body = "{}"};
    call.stall_seconds = 1;
    try {
      backend_answer(client, call);
    } catch (const ApiError& error) {
      return std::pair(error.status, error.code);
    }
    return std::pair(200, std::string());
  };
  EXPECT_EQ(refused(SilentPort(true)), std::pair(502, std::string("backend_unreachable")));
  EXPECT_EQ(refused(SilentPort()), std::pair(504, std::string("backend_timeout")));
}

TEST_F(EmbeddingsTest, TheModelMayBeThePinnedOne) {
  testing::TestServer pinned({}, {}, {}, {.pinned = "vectors"});
  EXPECT_EQ(pinned.post("/embed", {{"inputs", "a"}}).size(), 1);
  testing::TestServer any({}, {}, {}, {.pinned = "vectors", .any_name = true});
  EXPECT_EQ(any.post("/v1/embeddings", {{"model", "whatever"}, {"input", "a"}})["model"], "whatever");
}

}  // namespace
}  // namespace mlxk

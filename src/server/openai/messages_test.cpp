#include "server/openai/messages.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/params.h"

namespace mlxk {
namespace {

ChatParams chat(const std::string& messages) {
  return parse_chat(parse_object(R"({"model":"m","messages":)" + messages + "}"));
}

std::string refused_param(const std::string& messages) {
  try {
    chat(messages);
  } catch (const ApiError& e) {
    EXPECT_EQ(e.status, 400);
    EXPECT_NE(std::string(e.what()).size(), 0);
    return e.param;
  }
  return "accepted";
}

TEST(Messages, DeveloperIsSystem) {
  const Json m =
      chat(R"([{"role":"developer","content":"a"},{"role":"system","content":"b"},{"role":"user","content":"c"}])")
          .messages;
  EXPECT_EQ(m[0]["role"], "system");
  EXPECT_EQ(m[1]["role"], "system");
}

TEST(Messages, TextPartsAreOneText) {
  const ChatParams p = chat(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])");
  EXPECT_EQ(p.messages[0]["content"], "a b");
  EXPECT_TRUE(p.images.empty());
}

TEST(Messages, ArgumentsBecomeObjects) {
  const auto arguments = [](const std::string& text) -> Json {
    return chat(R"([{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":)"
                R"({"name":"f")" +
                text + "}}]}]")
        .messages[0]["tool_calls"][0]["function"]["arguments"];
  };
  EXPECT_EQ(arguments(R"(,"arguments":"{\"a\":[1]}")"), (Json{{"a", {1}}}));
  EXPECT_EQ(arguments(R"(,"arguments":{"a":1})"), (Json{{"a", 1}}));
  EXPECT_EQ(arguments(R"(,"arguments":"")"), Json::object());
  EXPECT_EQ(arguments(""), Json::object());
}

TEST(Messages, ArgumentsThatAreNoObjectAreTheOnlyValueOfOne) {
  const auto arguments = [](const std::string& value) -> Json {
    return chat(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":)" + value + "}}]}]")
        .messages[0]["tool_calls"][0]["function"]["arguments"];
  };
  EXPECT_EQ(arguments(R"("{\"city\": \"Par")"), (Json{{"arguments", "{\"city\": \"Par"}}));
  EXPECT_EQ(arguments(R"("[1]")"), (Json{{"arguments", "[1]"}}));
  EXPECT_EQ(arguments(R"("{\"a\":1e400}")"), (Json{{"arguments", "{\"a\":1e400}"}}));
  EXPECT_EQ(arguments("5"), (Json{{"arguments", 5}}));
  EXPECT_EQ(arguments("[1]"), (Json{{"arguments", {1}}}));
  EXPECT_EQ(arguments("null"), Json::object());
}

TEST(Messages, NullAndEmptyContentIsEmpty) {
  for (const char* role : {"system", "user", "assistant", "tool", "wizard"}) {
    for (const char* content : {R"(,"content":null)", "", R"(,"content":"")", R"(,"content":[])",
                                R"(,"content":[{"type":"text","text":null}])", R"(,"content":[null])"}) {
      const std::string message = fmt::format(R"([{{"role":"{}"{}}}])", role, content);
      EXPECT_EQ(chat(message).messages[0]["content"], "") << message;
    }
  }
  const std::string calls = R"("tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}])";
  EXPECT_EQ(chat(R"([{"role":"assistant","content":null,)" + calls).messages[0]["content"], "");
  EXPECT_EQ(chat(R"([{"role":"assistant","content":null,"refusal":"no"}])").messages[0]["content"], "no");
}

TEST(Messages, WhatIsNoTextBecomesText) {
  const auto content = [](const std::string& role, const std::string& value) {
    return chat(R"([{"role":")" + role + R"(","content":)" + value + "}]").messages[0]["content"];
  };
  EXPECT_EQ(content("tool", R"({"temperature":18})"), R"({"temperature":18})");
  EXPECT_EQ(content("tool", "18"), "18");
  EXPECT_EQ(content("tool", "false"), "false");
  EXPECT_EQ(content("tool", R"([{"type":"json","json":[1]}])"), R"({"type":"json","json":[1]})");
  EXPECT_EQ(content("user", R"({"type":"text","text":"a"})"), "a");
  EXPECT_EQ(content("user", R"(["a","b"])"), "a b");
  EXPECT_EQ(content("user", R"([{"type":"input_text","text":"a"},{"text":"b"}])"), "a b");
  EXPECT_EQ(content("assistant", R"([{"type":"output_text","text":"a"},{"type":"refusal","refusal":"b"}])"), "a b");
  EXPECT_EQ(content("user", R"([{"type":"nonsense","x":1}])"), R"({"type":"nonsense","x":1})");
  const Json thought = chat(R"([{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},)"
                            R"({"type":"text","text":"a"}]}])")
                           .messages[0];
  EXPECT_EQ(thought["reasoning_content"], "hm");
  EXPECT_EQ(thought["content"], "a");
}

TEST(Messages, UnknownRolesGoToTheTemplate) {
  EXPECT_EQ(chat(R"([{"role":"wizard","content":"a"}])").messages[0]["role"], "wizard");
  EXPECT_EQ(chat(R"([{"role":"function","name":"f","content":"a"}])").messages[0]["role"], "tool");
}

TEST(Messages, CallsAndResultsAreMatchedWhereTheyHaveNoIds) {
  const Json m =
      chat(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f"}},{"id":"","function":{"name":null}},)"
           R"({"id":"x","type":null,"function":null},{"type":"custom","custom":{"name":"g","input":"in"}}]},)"
           R"({"role":"tool","content":"1"},{"role":"tool","tool_call_id":"x","content":"3"},)"
           R"({"role":"tool","tool_call_id":null,"content":"2"},{"role":"tool","content":"4"},)"
           R"({"role":"tool","content":"5"}])")
          .messages;
  const Json& calls = m[0]["tool_calls"];
  for (const Json& call : calls) {
    EXPECT_EQ(call["type"], "function");
    EXPECT_TRUE(call["function"]["name"].is_string());
    EXPECT_TRUE(call["function"]["arguments"].is_object());
  }
  EXPECT_EQ(calls[0]["id"].get<std::string>().size(), 9) << "as Mistral's templates want it";
  EXPECT_EQ(calls[2]["id"], "x");
  EXPECT_EQ(calls[3]["function"], (Json{{"name", "g"}, {"arguments", {{"input", "in"}}}}));
  EXPECT_EQ(m[1]["tool_call_id"], calls[0]["id"]);
  EXPECT_EQ(m[2]["tool_call_id"], "x");
  EXPECT_EQ(m[3]["tool_call_id"], calls[1]["id"]);
  EXPECT_EQ(m[4]["tool_call_id"], calls[3]["id"]);
  EXPECT_EQ(m[5]["tool_call_id"].get<std::string>().size(), 9) << "nobody asked for it";
}

TEST(Messages, TheFormBeforeToolsIsACall) {
  const Json m = chat(R"([{"role":"assistant","content":null,"audio":{"id":"a"},)"
                      R"("function_call":{"name":"f","arguments":"{\"a\":1}"}}])")
                     .messages[0];
  EXPECT_EQ(m["tool_calls"][0]["function"], (Json{{"name", "f"}, {"arguments", {{"a", 1}}}}));
  EXPECT_FALSE(m.contains("function_call"));
  EXPECT_FALSE(m.contains("audio"));
}

TEST(Messages, WhatOpenAisPackageSendsBackIsAccepted) {
  EXPECT_EQ(refused_param(R"([{"role":"assistant","content":"a","refusal":null,"annotations":[],"audio":null,)"
                          R"("function_call":null,"tool_calls":null,"reasoning_content":"r"},)"
                          R"({"role":"tool","tool_call_id":"1","name":"f","content":[{"type":"text","text":"x"}]}])"),
            "accepted");
}

TEST(Messages, RefusesByPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("hi")", "messages"},
      {R"(["hi"])", "messages[0]"},
      {R"([{"content":"a"}])", "messages[0].role"},
      {R"([{"role":null,"content":"a"}])", "messages[0].role"},
      {R"([{"role":"<|im_end|>","content":"a"}])", "messages[0].role"},
      {R"([{"role":"","content":"a"}])", "messages[0].role"},
      {R"([{"role":"user","content":5}])", "messages[0].content"},
      {R"([{"role":"user","content":[{"type":"file","file":{}}]}])", "messages[0].content[0].type"},
      {R"([{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"video","video":"x"}]}])",
       "messages[1].content[0].type"},
      {R"([{"role":"user","content":[{"type":"image_url","image_url":5}]}])", "messages[0].content[0].image_url"},
      {R"([{"role":"user","content":[{"type":"image_url"}]}])", "messages[0].content[0].image_url"},
      {R"([{"role":"user","content":"x","name":5}])", "messages[0].name"},
      {R"([{"role":"assistant","tool_calls":"x"}])", "messages[0].tool_calls"},
      {R"([{"role":"assistant","tool_calls":["x"]}])", "messages[0].tool_calls[0]"},
  };
  for (const auto& [messages, param] : cases) EXPECT_EQ(refused_param(messages), param) << messages;
}

std::string image(const std::string& url) {
  return R"([{"role":"user","content":[{"type":"text","text":"?"},{"type":"image_url","image_url":{"url":")" + url +
         R"("}}]}])";
}

TEST(Messages, ImagesAreTakenOutOfTheirParts) {
  const ChatParams p = chat(image("data:image/png;base64,aGVsbG8="));
  ASSERT_EQ(p.images.size(), 1);
  EXPECT_EQ(p.images[0].bytes, "hello");
  EXPECT_EQ(p.messages[0]["content"][1], (Json{{"type", "image"}}));
  // Whether an address is allowed is known only once the model is.
  const ChatParams named = chat(image("https://example.com/a.png"));
  ASSERT_EQ(named.images.size(), 1);
  EXPECT_EQ(named.images[0].url, "https://example.com/a.png");
  EXPECT_EQ(named.images[0].place, "messages[0].content[1].image_url.url");
  EXPECT_EQ(refused_param(image("data:image/svg+xml;base64,aGVsbG8=")), "messages[0].content[1].image_url.url");
  EXPECT_EQ(refused_param(image("data:image/png;base64")), "messages[0].content[1].image_url.url");
  EXPECT_EQ(refused_param(image("data:image/png;base64,")), "messages[0].content[1].image_url.url");
  EXPECT_EQ(refused_param(image("data:image/png;base64,a b")), "messages[0].content[1].image_url.url");
}

TEST(Messages, AudioIsBase64) {
  const auto audio = [](const std::string& data, const std::string& format) {
    return R"([{"role":"user","content":[{"type":"input_audio","input_audio":{"data":")" + data + R"(","format":")" +
           format + R"("}}]}])";
  };
  EXPECT_TRUE(chat(audio("aGVsbG8=", "wav")).has_audio);
  EXPECT_EQ(refused_param(audio("aGVsbG8=", "ogg")), "messages[0].content[0].input_audio.format");
  EXPECT_EQ(refused_param(audio("", "wav")), "messages[0].content[0].input_audio.data");
  EXPECT_EQ(refused_param(audio("???", "wav")), "messages[0].content[0].input_audio.data");
}

}  // namespace
}  // namespace mlxk

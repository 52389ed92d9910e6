#include "server/openai/messages.h"

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

std::string refused_message(const std::string& messages) {
  try {
    chat(messages);
  } catch (const ApiError& e) {
    return e.what();
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
  EXPECT_FALSE(p.has_images);
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

TEST(Messages, NullContentWithToolCallsIsEmpty) {
  const std::string calls = R"("tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}])";
  EXPECT_EQ(chat(R"([{"role":"assistant","content":null,)" + calls).messages[0]["content"], "");
  EXPECT_EQ(chat(R"([{"role":"assistant",)" + calls).messages[0]["content"], "");
  EXPECT_EQ(chat(R"([{"role":"assistant","content":null,"refusal":"no"}])").messages[0]["content"], "no");
  EXPECT_EQ(refused_param(R"([{"role":"assistant","content":null}])"), "messages[0].content");
  EXPECT_EQ(refused_param(R"([{"role":"assistant","tool_calls":[]}])"), "messages[0].content");
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
      {R"([{"role":"user"}])", "messages[0].content"},
      {R"([{"role":"user","content":null}])", "messages[0].content"},
      {R"([{"role":"user","content":5}])", "messages[0].content"},
      {R"([{"role":"user","content":[]}])", "messages[0].content"},
      {R"([{"role":"user","content":"a"},{"role":"wizard","content":"b"}])", "messages[1].role"},
      {R"([{"role":"function","name":"f","content":"b"}])", "messages[0].role"},
      {R"([{"role":"user","content":["a"]}])", "messages[0].content[0]"},
      {R"([{"role":"user","content":[{"type":"text"}]}])", "messages[0].content[0].text"},
      {R"([{"role":"user","content":[{"type":"video","video":"x"}]}])", "messages[0].content[0].type"},
      {R"([{"role":"user","content":[{"type":"file","file":{}}]}])", "messages[0].content[0].type"},
      {R"([{"role":"user","content":[{"text":"x"}]}])", "messages[0].content[0].type"},
      {R"([{"role":"system","content":[{"type":"image_url","image_url":{"url":"data:x"}}]}])",
       "messages[0].content[0].type"},
      {R"([{"role":"user","content":[{"type":"image_url","image_url":"http://x"}]}])",
       "messages[0].content[0].image_url"},
      {R"([{"role":"user","content":[{"type":"text","text":"x","prompt_cache_breakpoint":{"mode":"explicit"}}]}])",
       "messages[0].content[0].prompt_cache_breakpoint"},
      {R"([{"role":"user","content":"x","name":5}])", "messages[0].name"},
      {R"([{"role":"tool","content":"x"}])", "messages[0].tool_call_id"},
      {R"([{"role":"assistant","content":"x","audio":{"id":"a"}}])", "messages[0].audio"},
      {R"([{"role":"assistant","content":"x","function_call":{"name":"f","arguments":""}}])",
       "messages[0].function_call"},
      {R"([{"role":"assistant","tool_calls":[{"id":"a","type":"custom"}]}])", "messages[0].tool_calls[0].type"},
      {R"([{"role":"assistant","tool_calls":[{"id":"a","type":"function"}]}])", "messages[0].tool_calls[0].function"},
      {R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":5}}]}])",
       "messages[0].tool_calls[0].function.arguments"},
      {R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}])",
       "messages[0].tool_calls[0].function.arguments"},
      {R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1e400}"}}]}])",
       "messages[0].tool_calls[0].function.arguments"},
  };
  for (const auto& [messages, param] : cases) EXPECT_EQ(refused_param(messages), param) << messages;
}

std::string image(const std::string& url) {
  return R"([{"role":"user","content":[{"type":"text","text":"?"},{"type":"image_url","image_url":{"url":")" + url +
         R"("}}]}])";
}

TEST(Messages, ImagesAreDataUrls) {
  const ChatParams p = chat(image("data:image/png;base64,aGVsbG8="));
  EXPECT_TRUE(p.has_images);
  EXPECT_EQ(p.messages[0]["content"][1]["type"], "image_url");
  EXPECT_EQ(refused_message(image("https://example.com/a.png")),
            "Only data URLs are supported (data:image/<type>;base64,<data>). External URLs are not supported.");
  EXPECT_EQ(refused_param(image("file:///etc/passwd")), "messages[0].content[1].image_url.url");
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

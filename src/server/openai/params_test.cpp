#include "server/openai/params.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/fields.h"

namespace mlxk {
namespace {

constexpr const char* kChat = R"({"model":"m","messages":[{"role":"user","content":"hi"}])";
constexpr const char* kCompletion = R"({"model":"m","prompt":"hi")";

ChatParams chat(const std::string& fields) {
  return parse_chat(parse_object(kChat + (fields.empty() ? "" : "," + fields) + "}"));
}
CompletionParams completion(const std::string& fields) {
  return parse_completion(parse_object(kCompletion + (fields.empty() ? "" : "," + fields) + "}"));
}
ChatParams with_messages(const std::string& messages) {
  return parse_chat(parse_object(R"({"model":"m","messages":)" + messages + "}"));
}

template <class Parse>
std::pair<std::string, std::string> refusal(Parse parse) {
  try {
    parse();
  } catch (const ApiError& e) {
    EXPECT_EQ(e.status, 400);
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    return {e.param, e.what()};
  }
  return {"", "accepted"};
}

TEST(ParseChat, AbsentFieldsHaveTheDefaultsOfTheOriginal) {
  const ChatParams p = chat("");
  EXPECT_EQ(p.model, "m");
  EXPECT_FLOAT_EQ(p.sampling.temperature, 0.7F);
  EXPECT_FLOAT_EQ(p.sampling.top_p, 0.9F);
  EXPECT_FLOAT_EQ(p.sampling.repetition_penalty, 1.1F);
  EXPECT_EQ(p.sampling.repetition_context_size, 20);
  EXPECT_EQ(p.sampling.seed, std::nullopt);
  EXPECT_EQ(p.max_tokens, std::nullopt);
  EXPECT_EQ(p.n, 1);
  EXPECT_FALSE(p.stream);
  EXPECT_EQ(p.top_logprobs, -1);
  EXPECT_EQ(p.grammar.kind, AnswerGrammar::Kind::none);
  EXPECT_EQ(p.tools.choice, ToolOptions::Choice::none);
  EXPECT_TRUE(p.tools.parallel);
  EXPECT_EQ(p.template_kwargs, Json::object());
}

TEST(ParseChat, NullIsAbsent) {
  std::string fields;
  for (const auto& field : chat_fields()) {
    if (!field.required) fields += (fields.empty() ? "\"" : ",\"") + field.name + "\":null";
  }
  for (const auto& field : answer_fields()) {
    if (!field.required) fields += ",\"" + field.name + "\":null";
  }
  EXPECT_FLOAT_EQ(chat(fields).sampling.temperature, 0.7F);
}

TEST(ParseChat, ReadsEveryFieldOfSampling) {
  const Sampling s = chat(R"("temperature":0.25,"top_p":0.5,"top_k":7,"min_p":0.125,"xtc_probability":0.5,
    "xtc_threshold":0.25,"repetition_penalty":1.5,"repetition_context_size":64,"presence_penalty":-2,
    "presence_context_size":0,"frequency_penalty":2,"frequency_context_size":9,"seed":-3,
    "logit_bias":{"0":-100,"42":1.5})")
                         .sampling;
  EXPECT_EQ(s.temperature, 0.25F);
  EXPECT_EQ(s.top_p, 0.5F);
  EXPECT_EQ(s.top_k, 7);
  EXPECT_EQ(s.min_p, 0.125F);
  EXPECT_EQ(s.xtc_probability, 0.5F);
  EXPECT_EQ(s.xtc_threshold, 0.25F);
  EXPECT_EQ(s.repetition_penalty, 1.5F);
  EXPECT_EQ(s.repetition_context_size, 64);
  EXPECT_EQ(s.presence_penalty, -2);
  EXPECT_EQ(s.presence_context_size, 0);
  EXPECT_EQ(s.frequency_penalty, 2);
  EXPECT_EQ(s.frequency_context_size, 9);
  EXPECT_EQ(s.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(s.logit_bias, (std::vector<std::pair<int32_t, float>>{{0, -100.0F}, {42, 1.5F}}));
}

TEST(ParseChat, ReadsDry) {
  EXPECT_EQ(chat("").dry_sequence_breakers, (std::vector<std::string>{"\n", ":", "\"", "*"}));
  EXPECT_EQ(chat("").sampling.dry_multiplier, 0);
  const ChatParams p = chat(R"("dry_multiplier":0.75,"dry_base":1.5,"dry_allowed_length":3,"dry_penalty_last_n":64,
    "dry_sequence_breakers":["#"])");
  EXPECT_EQ(p.sampling.dry_multiplier, 0.75F);
  EXPECT_EQ(p.sampling.dry_base, 1.5F);
  EXPECT_EQ(p.sampling.dry_allowed_length, 3);
  EXPECT_EQ(p.sampling.dry_penalty_last_n, 64);
  EXPECT_EQ(p.dry_sequence_breakers, std::vector<std::string>{"#"});
}

TEST(ParseChat, ReadsTheFieldsOfOtherServers) {
  EXPECT_EQ(chat(R"("top_k":-1)").sampling.top_k, 0);
  EXPECT_EQ(chat(R"("seed":-1)").sampling.seed, std::nullopt);
  EXPECT_EQ(chat(R"("min_keep":0)").sampling.min_tokens_to_keep, 1);
  EXPECT_EQ(chat(R"("min_keep":4)").sampling.min_tokens_to_keep, 4);
  const Sampling s = chat(R"("repeat_penalty":1.25,"presence_penalty":1,"repeat_last_n":64)").sampling;
  EXPECT_EQ(s.repetition_penalty, 1.25F);
  EXPECT_EQ(s.repetition_context_size, 64);
  EXPECT_EQ(s.presence_context_size, 64);
  EXPECT_EQ(s.frequency_context_size, 64);
  EXPECT_EQ(chat(R"("repeat_last_n":-1)").sampling.repetition_context_size, 0);
  const Sampling off = chat(R"("repeat_penalty":1.25,"presence_penalty":1,"repeat_last_n":0)").sampling;
  EXPECT_EQ(off.repetition_penalty, 1);
  EXPECT_EQ(off.presence_penalty, 0);
  EXPECT_EQ(chat(R"("stop_token_ids":[1,2])").stop_token_ids, (std::vector<int32_t>{1, 2}));
  EXPECT_TRUE(chat(R"("ignore_eos":true,"min_tokens":5)").ignore_eos);
  EXPECT_EQ(chat(R"("verbosity":"low")").template_kwargs["verbosity"], "low");
  EXPECT_EQ(chat(R"("documents":[{"text":"a"}])").documents.size(), 1);
}

TEST(ParseChat, TopPOfZeroLeavesTheLikeliestToken) { EXPECT_GT(chat(R"("top_p":0)").sampling.top_p, 0); }

TEST(ParseChat, ReadsWhatBoundsAnAnswer) {
  EXPECT_EQ(chat(R"("max_tokens":5)").max_tokens, 5);
  EXPECT_EQ(chat(R"("max_completion_tokens":6)").max_tokens, 6);
  EXPECT_EQ(chat(R"("max_tokens":7,"max_completion_tokens":7)").max_tokens, 7);
  EXPECT_EQ(chat(R"("stop":"x")").stops, std::vector<std::string>{"x"});
  EXPECT_EQ(chat(R"("stop":["x","\n\n"])").stops, (std::vector<std::string>{"x", "\n\n"}));
  EXPECT_EQ(chat(R"("stop":["","x",""])").stops, std::vector<std::string>{"x"});
  EXPECT_EQ(chat(R"("stop":"")").stops, std::vector<std::string>{});
  EXPECT_EQ(chat(R"("max_tokens":0)").max_tokens, 0);
  EXPECT_EQ(chat(R"("max_tokens":-1)").max_tokens, std::nullopt);
  EXPECT_EQ(chat(R"("max_completion_tokens":-1)").max_tokens, std::nullopt);
  EXPECT_EQ(chat(R"("n_predict":8)").max_tokens, 8);
  EXPECT_EQ(chat(R"("n":3)").n, 3);
  EXPECT_EQ(chat(R"("deadline_ms":1500)").deadline_ms, 1500);
}

TEST(ParseChat, ReadsHowTheAnswerIsShown) {
  EXPECT_EQ(chat(R"("logprobs":true)").top_logprobs, 0);
  EXPECT_EQ(chat(R"("logprobs":true,"top_logprobs":20)").top_logprobs, 20);
  EXPECT_EQ(chat(R"("logprobs":false)").top_logprobs, -1);
  const ChatParams p = chat(R"("stream":true,"stream_options":{"include_usage":true})");
  EXPECT_TRUE(p.stream);
  EXPECT_TRUE(p.include_usage);
  EXPECT_FALSE(chat(R"("stream":true,"stream_options":{}, "modalities":["text"],"verbosity":"medium")").include_usage);
}

TEST(ParseChat, ReadsGrammars) {
  using Kind = AnswerGrammar::Kind;
  const auto grammar = [](const std::string& fields) { return chat(fields).grammar; };
  EXPECT_EQ(grammar(R"("response_format":{"type":"text"})").kind, Kind::none);
  EXPECT_EQ(grammar(R"("response_format":{"type":"json_object"})").kind, Kind::json_object);
  const AnswerGrammar schema = grammar(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"array"}}})");
  EXPECT_EQ(schema.kind, Kind::json_schema);
  EXPECT_EQ(schema.source, R"({"type":"array"})");
  const AnswerGrammar lark = grammar(R"("grammar":{"type":"lark","source":"start: \"x\""})");
  EXPECT_EQ(lark.kind, Kind::lark);
  EXPECT_EQ(lark.source, R"(start: "x")");
  EXPECT_EQ(grammar(R"("grammar":{"type":"regex","source":"[ab]+"})").kind, Kind::regex);
  EXPECT_EQ(grammar(R"("grammar":"")").kind, Kind::none);
  for (const char* fields :
       {R"("response_format":{"type":"json_object","schema":{"type":"array"}})",
        R"("response_format":{"type":"json_schema","schema":{"type":"array"}})", R"("json_schema":{"type":"array"})",
        R"("guided_json":{"type":"array"})", R"("guided_json":"{\"type\":\"array\"}")",
        R"("structured_outputs":{"json":{"type":"array"}})",
        R"("structured_outputs":{"json":"{\"type\":\"array\"}"})"}) {
    EXPECT_EQ(grammar(fields).kind, Kind::json_schema) << fields;
    EXPECT_EQ(grammar(fields).source, R"({"type":"array"})") << fields;
  }
  EXPECT_EQ(grammar(R"("guided_regex":"a+")").source, "a+");
  EXPECT_EQ(grammar(R"("structured_outputs":{"regex":"a+"})").kind, Kind::regex);
  EXPECT_EQ(grammar(R"("structured_outputs":{"json_object":true})").kind, Kind::json_object);
  EXPECT_EQ(grammar(R"("structured_outputs":{"json_object":false})").kind, Kind::none);
  for (const char* fields : {R"("guided_choice":["a\"b","c"])", R"("structured_outputs":{"choice":["a\"b","c"]})"}) {
    EXPECT_EQ(grammar(fields).kind, Kind::lark);
    EXPECT_EQ(grammar(fields).source, R"(start: "a\"b" | "c")");
  }
}

constexpr const char* kTools = R"("tools":[{"type":"function","function":{"name":"a","parameters":{"type":"object"}}},)"
                               R"({"type":"function","function":{"name":"b"}}])";

TEST(ParseChat, ReadsTools) {
  using Choice = ToolOptions::Choice;
  const auto tools = [](const std::string& more) { return chat(kTools + more).tools; };
  EXPECT_EQ(tools("").choice, Choice::automatic);
  EXPECT_EQ(tools("").tools.size(), 2);
  EXPECT_EQ(tools(R"(,"tool_choice":"none")").choice, Choice::none);
  EXPECT_EQ(tools(R"(,"tool_choice":"required")").choice, Choice::required);
  EXPECT_EQ(tools(R"(,"tool_choice":"any")").choice, Choice::required);
  EXPECT_EQ(tools(R"(,"tool_choice":{"type":"auto"})").choice, Choice::automatic);
  EXPECT_EQ(tools(R"(,"tool_choice":{"type":"any"})").choice, Choice::required);
  EXPECT_EQ(tools(R"(,"tool_choice":{"type":"function","function":{"name":"b"}})").name, "b");
  EXPECT_EQ(tools(R"(,"tool_choice":{"function":{"name":"b"}})").name, "b");
  EXPECT_EQ(chat(R"("tools":[{"function":{"name":"a"}}])").tools.tools[0]["type"], "function");
  EXPECT_FALSE(tools(R"(,"parallel_tool_calls":false)").parallel);
  const ToolOptions allowed = tools(R"(,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required",)"
                                    R"("tools":[{"type":"function","function":{"name":"b"}}]}})");
  EXPECT_EQ(allowed.choice, Choice::required);
  ASSERT_EQ(allowed.tools.size(), 1);
  EXPECT_EQ(allowed.tools[0]["function"]["name"], "b");
}

TEST(ParseChat, HandsReasoningToTheTemplate) {
  const Json high = chat(R"("reasoning_effort":"high")").template_kwargs;
  EXPECT_EQ(high["reasoning_effort"], "high");
  EXPECT_EQ(high["enable_thinking"], true);
  const Json none =
      chat(R"("reasoning_effort":"none","chat_template_kwargs":{"thinking":true,"x":[1]})").template_kwargs;
  EXPECT_EQ(none["enable_thinking"], false);
  EXPECT_EQ(none["thinking"], true) << "what the client writes itself counts";
  EXPECT_EQ(none["x"], Json::array({1}));
}

struct Bad {
  const char* fields;
  const char* param;
};

// One or more of each field: type, range, what else it refuses.
const Bad kBadAnswerFields[] = {
    {R"("max_tokens":-2)", "max_tokens"},
    {R"("max_tokens":1.5)", "max_tokens"},
    {R"("max_tokens":"5")", "max_tokens"},
    {R"("max_tokens":9223372036854775808)", "max_tokens"},
    {R"("max_tokens":18446744073709551616)", "max_tokens"},
    {R"("n":0)", "n"},
    {R"("n":33)", "n"},
    {R"("n":true)", "n"},
    {R"("n":4294967297)", "n"},
    {R"("seed":9223372036854775808)", "seed"},
    {R"("seed":9.3e18)", "seed"},
    {R"("seed":"x")", "seed"},
    {R"("stop":["a",1])", "stop[1]"},
    {R"("stop":7)", "stop"},
    {R"("temperature":-0.1)", "temperature"},
    {R"("temperature":2.1)", "temperature"},
    {R"("temperature":"hot")", "temperature"},
    {R"("temperature":[1])", "temperature"},
    {R"("top_p":1.01)", "top_p"},
    {R"("top_p":-1)", "top_p"},
    {R"("top_k":-2)", "top_k"},
    {R"("top_k":2147483648)", "top_k"},
    {R"("min_p":1.5)", "min_p"},
    {R"("xtc_probability":2)", "xtc_probability"},
    {R"("xtc_threshold":0.6)", "xtc_threshold"},
    {R"("repetition_penalty":-1)", "repetition_penalty"},
    {R"("repetition_context_size":-1)", "repetition_context_size"},
    {R"("presence_penalty":2.5)", "presence_penalty"},
    {R"("presence_context_size":1e9)", "presence_context_size"},
    {R"("frequency_penalty":-2.5)", "frequency_penalty"},
    {R"("frequency_context_size":"a")", "frequency_context_size"},
    {R"("dry_multiplier":-1)", "dry_multiplier"},
    {R"("dry_base":0.5)", "dry_base"},
    {R"("dry_allowed_length":0)", "dry_allowed_length"},
    {R"("dry_penalty_last_n":-2)", "dry_penalty_last_n"},
    {R"("dry_sequence_breakers":["a",""])", "dry_sequence_breakers[1]"},
    {R"("dry_sequence_breakers":"a")", "dry_sequence_breakers"},
    {R"("logit_bias":[1])", "logit_bias"},
    {R"("logit_bias":{"x":1})", "logit_bias"},
    {R"("logit_bias":{"-1":1})", "logit_bias"},
    {R"("logit_bias":{"4294967296":1})", "logit_bias"},
    {R"("logit_bias":{"01":1})", "logit_bias"},
    {R"("logit_bias":{"1":101})", "logit_bias.1"},
    {R"("logit_bias":{"1":"a"})", "logit_bias.1"},
    {R"("response_format":"json")", "response_format"},
    {R"("response_format":{"type":"xml"})", "response_format.type"},
    {R"("response_format":{"type":"json_schema"})", "response_format.json_schema"},
    {R"("response_format":{"type":"json_schema","json_schema":{"name":"a","schema":"b"}})",
     "response_format.json_schema.schema"},
    {R"("response_format":{"type":"json_object","schema":[]})", "response_format.schema"},
    {R"("response_format":{"type":"json_object"},"json_schema":{})", "json_schema"},
    {R"("guided_regex":"a","structured_outputs":{"choice":["b"]})", "guided_regex"},
    {R"("structured_outputs":{"grammar":"x"})", "structured_outputs.grammar"},
    {R"("structured_outputs":{"json":{},"regex":"a"})", "structured_outputs"},
    {R"("max_tokens":1,"n_predict":2)", "n_predict"},
    {R"("repetition_penalty":1,"repeat_penalty":2)", "repeat_penalty"},
    {R"("min_tokens":5)", "min_tokens"},
    {R"("stop_token_ids":[-1])", "stop_token_ids[0]"},
    {R"("grammar":"x")", "grammar"},
    {R"("grammar":{"type":"gbnf","source":"x"})", "grammar.type"},
    {R"("grammar":{"type":"lark"})", "grammar.source"},
    {R"("grammar":{"type":"regex","source":""})", "grammar.source"},
    {R"("grammar":{"type":"regex","source":"a"},"response_format":{"type":"json_object"})", "grammar"},
    {R"("stream":1)", "stream"},
    {R"("stream_options":{"include_usage":true})", "stream_options"},
    {R"("stream":true,"stream_options":{"include_usage":"yes"})", "stream_options.include_usage"},
    {R"("stream":true,"stream_options":{"include_obfuscation":"yes"})", "stream_options.include_obfuscation"},
    {R"("deadline_ms":0)", "deadline_ms"},
    {R"("user":5)", "user"},
};

const Bad kBadChatFields[] = {
    {R"("image_table":1)", "image_table"},
    {R"("max_tokens":1,"max_completion_tokens":2)", "max_completion_tokens"},
    {R"("max_completion_tokens":-2)", "max_completion_tokens"},
    {R"("logprobs":5)", "logprobs"},
    {R"("top_logprobs":5)", "top_logprobs"},
    {R"("logprobs":true,"top_logprobs":21)", "top_logprobs"},
    {R"("tools":{})", "tools"},
    {R"("tools":[{"type":"custom","custom":{"name":"a"}}])", "tools[0].type"},
    {R"("tools":[{"type":"function"}])", "tools[0].function"},
    {R"("tools":[{"type":"function","function":{"name":""}}])", "tools[0].function.name"},
    {R"("tools":[{"type":"function","function":{"name":"a b"}}])", "tools[0].function.name"},
    {R"("tools":[{"type":"function","function":{"name":"a","parameters":[]}}])", "tools[0].function.parameters"},
    {R"("tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}])",
     "tools[1].function.name"},
    {R"("tool_choice":"required")", "tool_choice"},
    {R"("tool_choice":"maybe")", "tool_choice"},
    {R"("tools":[{"type":"function","function":{"name":"a"}}],)"
     R"("tool_choice":{"type":"function","function":{"name":"b"}})",
     "tool_choice.function.name"},
    {R"("tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":{"type":"allowed_tools",)"
     R"("allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"c"}}]}})",
     "tool_choice.allowed_tools.tools[0].function.name"},
    {R"("parallel_tool_calls":"no")", "parallel_tool_calls"},
    {R"("reasoning_effort":"extreme")", "reasoning_effort"},
    {R"("chat_template_kwargs":[])", "chat_template_kwargs"},
    {R"("chat_template_kwargs":{"messages":[]})", "chat_template_kwargs.messages"},
    {R"("modalities":["text","audio"])", "modalities"},
    {R"("modalities":["audio"])", "modalities[0]"},
    {R"("verbosity":"huge")", "verbosity"},
    {R"("documents":{})", "documents"},
    {R"("chunk":6)", "chunk"},
    {R"("chunk":0)", "chunk"},
    {R"("store":"yes")", "store"},
    {R"("metadata":7)", "metadata"},
    {R"("service_tier":1)", "service_tier"},
    {R"("safety_identifier":1)", "safety_identifier"},
    {R"("prompt_cache_key":1)", "prompt_cache_key"},
    {R"("prompt_cache_retention":1)", "prompt_cache_retention"},
    {R"("prompt_cache_options":"implicit")", "prompt_cache_options"},
    {R"("functions":[{"name":"f"}])", "functions"},
    {R"("function_call":{"name":"f"})", "function_call"},
    {R"("audio":{"voice":"x"})", "audio"},
    {R"("moderation":{"model":"x"})", "moderation"},
    {R"("prediction":"x")", "prediction"},
    {R"("web_search_options":{})", "web_search_options"},
};

const Bad kBadCompletionFields[] = {
    {R"("add_special_tokens":"no")", "add_special_tokens"},
    {R"("echo":"yes")", "echo"},
    {R"("logprobs":21)", "logprobs"},
    {R"("logprobs":true)", "logprobs"},
    {R"("best_of":2)", "best_of"},
    {R"("best_of":-1)", "best_of"},
    {R"("suffix":"x")", "suffix"},
};

template <class Cases, class Parse>
std::set<std::string> expect_refused(const Cases& cases, Parse parse) {
  std::set<std::string> fields;
  for (const Bad& bad : cases) {
    const auto [param, message] = refusal([&] { parse(bad.fields); });
    EXPECT_EQ(param, bad.param) << bad.fields << ": " << message;
    EXPECT_NE(message.find(bad.param), std::string::npos) << message;
    fields.insert(param.substr(0, param.find_first_of(".[")));
  }
  return fields;
}

/// Values that `schema` allows: its bounds, its enum, an empty and a full value if it has a size.
std::vector<Json> samples(const Json& schema) {
  std::vector<Json> values;
  const auto add = [&](const Json& one) {
    for (Json& value : samples(one)) values.push_back(std::move(value));
  };
  if (schema.contains("anyOf")) {
    for (const Json& branch : schema["anyOf"]) add(branch);
  } else if (schema.contains("enum")) {
    for (const Json& value : schema["enum"]) values.push_back(value);
  } else if (!schema.contains("type")) {
    values = {5, "x"};
  } else if (schema["type"].is_array()) {  // or null
    Json one = schema;
    one["type"] = schema["type"][0];
    add(one);
    values.emplace_back(nullptr);
  } else if (schema["type"] == "boolean") {
    values = {true, false};
  } else if (schema["type"] == "integer" || schema["type"] == "number") {
    values = {schema.value("minimum", Json(0)), schema.value("maximum", Json(1))};
  } else if (schema["type"] == "string") {
    values = {std::string(schema.value("minLength", size_t{0}), 'a')};
    if (schema.contains("maxLength")) values.emplace_back(std::string(schema["maxLength"].get<size_t>() % 1000, 'b'));
  } else if (schema["type"] == "array") {
    for (Json& item : samples(schema["items"])) {
      values.push_back(Json::array());
      for (size_t i = 0; i < std::max(schema.value("minItems", size_t{0}), size_t{1}); ++i)
        values.back().push_back(item);
    }
    if (schema.value("minItems", 0) == 0) values.push_back(Json::array());
  } else if (schema["type"] == "object") {
    Json least = Json::object();
    const Json properties = schema.value("properties", Json::object());
    for (const Json& key : schema.value("required", Json::array())) {
      least[key.get<std::string>()] = samples(properties[key.get<std::string>()]).front();
    }
    values.push_back(least);
    for (const auto& [key, property] : properties.items()) {
      for (Json& value : samples(property)) {
        Json one = least;
        one[key] = std::move(value);
        values.push_back(std::move(one));
      }
    }
  } else {
    values = {nullptr};
  }
  return values;
}

/// The fields that a value of `field` requires.
Json companions(const std::string& field) {
  if (field == "stream_options") return {{"stream", true}};
  if (field == "top_logprobs") return {{"logprobs", true}};
  if (field == "min_tokens") return {{"ignore_eos", true}};
  if (field == "best_of") return {{"n", 32}};
  if (field == "tool_choice") {
    const Json tool = {{"type", "function"}, {"function", {{"name", "a"}}}};
    return {{"tools", Json::array({tool})}};
  }
  return Json::object();
}

/// Every documented value of every field is taken, anything else is refused by the field's name.
template <class Params, class Parse>
void expect_decided(const std::vector<Field<Params>>& fields, Parse parse) {
  for (const auto& field : fields) {
    if (field.required) continue;  // tests of their own
    std::vector<Json> values = samples(field.schema);
    values.emplace_back(nullptr);
    for (const Json& value : values) {
      const bool needs_schema = field.name == "response_format" && value.is_object() && value["type"] == "json_schema";
      if (needs_schema && !given(value, "json_schema") && !given(value, "schema")) continue;
      if (field.name == "best_of" && value == 1) continue;
      Json body = companions(field.name);
      body[field.name] = value;
      EXPECT_EQ(refusal([&] { parse(body); }).second, "accepted") << body.dump().substr(0, 200);
    }
    for (const Json& value : {Json("no such value"), Json{{"no", {"such", "value"}}}, Json(-12345.5)}) {
      if (schema::check(field.schema, value).violation == std::nullopt) continue;
      Json body = companions(field.name);
      body[field.name] = value;
      const auto [param, message] = refusal([&] { parse(body); });
      EXPECT_EQ(param.substr(0, param.find_first_of(".[")), field.name) << body << message;
      EXPECT_NE(message.find(field.name), std::string::npos) << message;
      if (field.use == FieldUse::refused) {
        EXPECT_NE(message.find(" is not supported: "), std::string::npos) << message;
      }
    }
  }
}

TEST(Fields, EachValueIsDecided) {
  const auto chat_body = [](Json body) {
    body["model"] = "m";
    body["messages"] = {{{"role", "user"}, {"content", "x"}}};
    return parse_chat(body);
  };
  const auto completion_body = [](Json body) {
    body["model"] = "m";
    body["prompt"] = "x";
    return parse_completion(body);
  };
  expect_decided(answer_fields(), chat_body);
  expect_decided(compat_fields(), chat_body);
  expect_decided(chat_fields(), chat_body);
  expect_decided(answer_fields(), completion_body);
  expect_decided(compat_fields(), completion_body);
  expect_decided(completion_fields(), completion_body);
}

TEST(Fields, HaveOneNameEach) {
  std::set<std::string> names;
  for (const auto& field : answer_fields()) EXPECT_TRUE(names.insert(field.name).second) << field.name;
  for (const auto& field : compat_fields()) EXPECT_TRUE(names.insert(field.name).second) << field.name;
  std::set<std::string> own = names;
  for (const auto& field : chat_fields()) EXPECT_TRUE(own.insert(field.name).second) << field.name;
  own = names;
  for (const auto& field : completion_fields()) EXPECT_TRUE(own.insert(field.name).second) << field.name;
}

template <class Params>
void expect_all_named(const std::vector<Field<Params>>& fields, const std::set<std::string>& seen) {
  for (const auto& field : fields) {
    // Fields.EachValueIsDecided covers all refused ones.
    EXPECT_TRUE(field.required || field.use == FieldUse::refused || seen.count(field.name))
        << field.name << " has no case";
  }
}

TEST(ParseChat, RefusesByName) {
  expect_all_named(answer_fields(), expect_refused(kBadAnswerFields, chat));
  expect_all_named(chat_fields(), expect_refused(kBadChatFields, chat));
}

TEST(ParseCompletion, RefusesByName) {
  expect_all_named(answer_fields(), expect_refused(kBadAnswerFields, completion));
  expect_all_named(completion_fields(), expect_refused(kBadCompletionFields, completion));
}

TEST(ParseChat, AcceptsWithoutEffect) {
  const ChatParams p =
      chat(R"("store":true,"metadata":{"a":"b"},"service_tier":"flex","safety_identifier":"x","user":"u",
    "prompt_cache_key":"k","prompt_cache_retention":"24h","chunk":5,"some_new_field":{"a":1})");
  EXPECT_EQ(p.messages.size(), 1);
}

TEST(ParseChat, SaysWhatItWanted) {
  EXPECT_EQ(refusal([] { chat(R"("temperature":3)"); }).second, "temperature must be a number from 0 to 2, got 3");
  EXPECT_EQ(refusal([] { chat(R"("stop":{})"); }).second,
            "stop must be a string of at most 256 characters or an array of 0 to 1024 items, got an object");
  EXPECT_EQ(refusal([] { chat(R"("seed":1e30)"); }).second, "seed must be an integer of 64 bits, got 1e+30");
  EXPECT_EQ(refusal([] { chat(R"("functions":[1])"); }).second,
            "functions is not supported: deprecated, use tools; leave it out or send []");
  EXPECT_EQ(refusal([] { chat(R"("top_n_sigma":2)"); }).second,
            "top_n_sigma is not supported: use top_p or min_p; leave it out or send 0 or -1");
  EXPECT_EQ(refusal([] { chat(R"("moderation":1)"); }).second,
            "moderation is not supported: answers are not moderated");
  EXPECT_EQ(
      refusal([] { with_messages(R"([{"role":"<>","content":"x"}])"); }).second,
      R"(messages[0].role must be "tool", "function" or a name of 1 to 64 letters, digits, _, . and -, got "<>")");
}

TEST(ParseChat, RefusesNumbersThatAreNotFinite) {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    Json body = parse_object(std::string(kChat) + "}");
    for (const char* field : {"temperature", "top_p", "presence_penalty", "max_tokens", "seed", "repetition_penalty"}) {
      Json changed = body;
      changed[field] = bad;
      EXPECT_EQ(refusal([&] { parse_chat(changed); }).first, field);
    }
  }
}

TEST(ParseChat, RefusesHugeListsQuickly) {
  std::string stops = R"("stop":[)";
  for (int i = 0; i < 100'000; ++i) stops += "\"a\",";
  EXPECT_EQ(refusal([&] { chat(stops + "\"z\"]"); }).first, "stop");
  std::string bias = R"("logit_bias":{)";
  for (int i = 0; i < 19'000; ++i) bias += "\"" + std::to_string(i) + "\":1,";
  EXPECT_EQ(refusal([&] { chat(bias + "\"99999\":1}"); }).first, "logit_bias");
}

TEST(ParseChat, RequiresModelAndMessages) {
  EXPECT_EQ(refusal([] { parse_chat(Json::object()); }).first, "model");
  EXPECT_EQ(refusal([] { parse_chat({{"model", "m"}}); }).first, "messages");
  EXPECT_EQ(refusal([] { parse_chat({{"model", ""}}); }).first, "model");
  EXPECT_EQ(refusal([] { parse_chat({{"model", nullptr}, {"messages", Json::array()}}); }).first, "model");
  EXPECT_EQ(refusal([] { parse_chat(Json::array()); }).second, "the body must be an object");
  EXPECT_EQ(refusal([] { with_messages("[]"); }).first, "messages");
}

TEST(ParseCompletion, ReadsPrompts) {
  const auto prompts = [](const std::string& prompt) {
    return parse_completion(parse_object(R"({"model":"m","prompt":)" + prompt + "}")).prompts;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(std::get<std::string>(prompts("\"a\"").at(0)), "a");
  EXPECT_EQ(prompts(R"(["a","b"])").size(), 2);
  EXPECT_EQ(std::get<Ids>(prompts("[1,2,3]").at(0)), (Ids{1, 2, 3}));
  EXPECT_EQ(std::get<Ids>(prompts("[[1],[2,3]]").at(1)), (Ids{2, 3}));
}

TEST(ParseCompletion, RefusesPromptsByPlace) {
  const auto param = [](const std::string& prompt) {
    return refusal([&] { parse_completion(parse_object(R"({"model":"m","prompt":)" + prompt + "}")); }).first;
  };
  EXPECT_EQ(param("5"), "prompt");
  EXPECT_EQ(param("null"), "prompt");
  EXPECT_EQ(param("[]"), "prompt");
  EXPECT_EQ(param("[[]]"), "prompt[0]");
  EXPECT_EQ(param(R"(["a",1])"), "prompt[1]");
  EXPECT_EQ(param("[1,-1]"), "prompt[1]");
  EXPECT_EQ(param("[1,2147483648]"), "prompt[1]");
  EXPECT_EQ(param("[[1],[\"a\"]]"), "prompt[1][0]");
  EXPECT_EQ(param("[[1],2]"), "prompt[1]");
  EXPECT_EQ(refusal([] { completion(R"("n":32,"prompt2":1)"); }).second, "accepted");
  EXPECT_EQ(refusal([] {
              parse_completion({{"model", "m"}, {"n", 32}, {"prompt", std::vector<std::string>(17, "a")}});
            }).first,
            "prompt");
}

TEST(ParseCompletion, ReadsItsOwnFields) {
  const CompletionParams p = completion(R"("echo":true,"logprobs":0,"n":2,"best_of":2,"max_tokens":1)");
  EXPECT_TRUE(p.echo);
  EXPECT_EQ(p.top_logprobs, 0);
  EXPECT_EQ(p.n, 2);
  EXPECT_EQ(completion(R"("logprobs":20)").top_logprobs, 20);
}

}  // namespace
}  // namespace mlxk

// Checks of answers: they satisfy their constraints, and the model answers questions and describes images.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/error.h"
#include "chat/answer_grammar.h"
#include "chat/tools.h"
#include "selftest/run_checks.h"
#include "selftest/text_checks.h"
#include "serving/generate.h"
#include "tokenizer/chat_template.h"
#include "vision/processor.h"

namespace mlxk {

namespace {
constexpr int64_t kHeldTokens = 256, kHeldReasoningTokens = 2048;
// Every text that it accepts is short, whatever the model prefers to write.
constexpr const char* kSchema =
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":24},"age":{"type":"integer","minimum":0,"maximum":150},"likes":{"type":"array","items":{"enum":["tea","coffee","water"]},"minItems":1,"maxItems":2}},"required":["name","age","likes"],"additionalProperties":false})";

/// An answer with its parts.
struct Parts {
  std::string answer, reasoning, tool, arguments;
  int calls = 0;
  FinishReason reason = FinishReason::stop;
};

/// The answer to `chat` under the given constraints. Throws unsupported if the tokenizer does not support grammars.
Parts held_answer(const TextSubject& subject, const PreparedChat& chat, const AnswerGrammar& grammar,
                  const ToolOptions& tools, const std::string& scope) {
  const ToolFormat* format = tools.active() ? subject.model.tool_format() : nullptr;
  const bool reasons = chat.reasoning.kind != ReasoningFormat::Kind::none;
  GenerateRequest request = subject.request(chat.prompt.ids, reasons ? kHeldReasoningTokens : kHeldTokens, scope);
  request.media = chat.prompt.media;
  request.attend_both_ways = chat.prompt.attend_both_ways;
  const bool held = format || grammar.kind != AnswerGrammar::Kind::none;
  if (held) request.constraint = make_constraint(subject.model.grammars(), grammar, tools, format, chat.reasoning);
  const int64_t context = subject.model.info().context_length;
  if (context > 0) {
    request.max_tokens = std::min(request.max_tokens, context - static_cast<int64_t>(request.prompt.size()));
  }
  Parts found;
  const GeneratedAnswer answer = generate(
      subject.worker, subject.model.handle(), std::move(request),
      Completion(subject.model.tokenizer(), chat.stops, chat.reasoning, format, tools),
      [&](const std::vector<Part>& parts) {
        for (const Part& part : parts) {
          if (part.kind == Part::Kind::reasoning) found.reasoning += part.text;
          if (part.kind == Part::Kind::answer) found.answer += part.text;
          if (part.kind != Part::Kind::tool_call) continue;
          if (!part.call.name.empty()) {
            ++found.calls;
            found.tool = part.call.name;
          }
          found.arguments += part.call.arguments;
        }
      },
      subject.options.stop_wanted);
  found.reason = answer.reason;
  return found;
}

/// The beginning of `text`, as a JSON string for one line of output.
std::string excerpt(const std::string& text) {
  constexpr size_t kMaxBytes = 60;
  const std::string shown = text.size() > kMaxBytes ? text.substr(0, kMaxBytes) : text;
  return Json(shown).dump(-1, ' ', false, Json::error_handler_t::replace) + (text.size() > kMaxBytes ? "…" : "");
}

std::optional<Json> parsed(const std::string& text) {
  try {
    return parse_json(text, "the answer");
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Whether `person` satisfies kSchema.
bool is_person(const Json& person) {
  const auto has = [&](const char* key, auto is) { return person.contains(key) && is(person[key]); };
  return person.is_object() && person.size() == 3 && has("name", [](const Json& v) { return v.is_string(); }) &&
         has("age", [](const Json& v) { return v.is_number_integer() && v >= 0 && v <= 150; }) &&
         has("likes", [](const Json& v) {
           return v.is_array() && !v.empty() && v.size() <= 2 && std::all_of(v.begin(), v.end(), [](const Json& one) {
                    return one == "tea" || one == "coffee" || one == "water";
                  });
         });
}

/// The finding for an answer that ended before its reasoning did; nullopt: there is an answer to judge.
std::optional<CheckFinding> unfinished(const Parts& parts) {
  if (parts.reason != FinishReason::length || parts.reasoning.empty() || !parts.answer.empty() || parts.calls > 0) {
    return std::nullopt;
  }
  return CheckFinding::skipped(fmt::format("the model was still reasoning after {} tokens", kHeldReasoningTokens));
}

/// The finding for a tokenizer whose vocabulary does not support grammars; nullopt: it does.
std::optional<CheckFinding> ungrammatical(const TextSubject& subject) {
  try {
    subject.model.grammars();
    return std::nullopt;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::unsupported) throw;
    return CheckFinding::skipped(error.what());
  }
}

/// A red circle in the middle of a white square.
Image drawn_circle() {
  constexpr int kSide = 256, kRadius = 80;
  Image image{kSide, kSide, std::vector<uint8_t>(static_cast<size_t>(kSide) * kSide * 3, 255)};
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const int dx = 2 * x - kSide + 1, dy = 2 * y - kSide + 1;  // doubled, so that the centre is between pixels
      if (dx * dx + dy * dy > 4 * kRadius * kRadius) continue;
      uint8_t* pixel = &image.rgb[static_cast<size_t>(y * kSide + x) * 3];
      pixel[0] = 220, pixel[1] = 20, pixel[2] = 20;
    }
  }
  return image;
}

bool holds_word(std::string text, std::string_view word) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text.find(word) != std::string::npos;
}
}  // namespace

CheckFinding check_json_schema(const TextSubject& subject) {
  if (const auto reason = ungrammatical(subject)) return *reason;
  const Parts parts = held_answer(subject, subject.chat("Invent a person. Answer with JSON."),
                                  {AnswerGrammar::Kind::json_schema, kSchema}, {}, "schema");
  if (const auto reason = unfinished(parts)) return *reason;
  const auto person = parsed(parts.answer);
  if (!person) return CheckFinding::failed(fmt::format("the answer is not JSON: {}", excerpt(parts.answer)));
  if (!is_person(*person))
    return CheckFinding::failed(fmt::format("the answer breaks its schema: {}", excerpt(parts.answer)));
  return CheckFinding::passed(excerpt(parts.answer));
}

CheckFinding check_plain_json(const TextSubject& subject) {
  const Parts parts =
      held_answer(subject, subject.chat("Answer with this JSON object and nothing else: {\"colour\": \"red\"}"), {}, {},
                  "plain JSON");
  if (const auto reason = unfinished(parts)) return *reason;
  const size_t begin = parts.answer.find('{'), end = parts.answer.rfind('}');
  const bool there = begin != std::string::npos && end != std::string::npos && end > begin;
  const auto object = there ? parsed(parts.answer.substr(begin, end - begin + 1)) : std::nullopt;
  if (object && object->is_object() && object->contains("colour")) return CheckFinding::passed();
  return wrong_answer(fmt::format("asked for a JSON object, it answers {}", excerpt(parts.answer)), subject.excuse(),
                      subject.options);
}

CheckFinding check_tool_calls(const TextSubject& subject) {
  if (subject.model.tool_support() == ToolSupport::none) return CheckFinding::skipped("the model has no chat template");
  if (const auto reason = ungrammatical(subject)) return *reason;
  ToolOptions tools;
  tools.tools = {{{"type", "function"},
                  {"function",
                   {{"name", "get_weather"},
                    {"description", "The weather in a city"},
                    {"parameters",
                     {{"type", "object"},
                      {"properties", {{"city", {{"type", "string"}, {"maxLength", 24}}}}},
                      {"required", {"city"}},
                      {"additionalProperties", false}}}}}}};
  tools.choice = ToolOptions::Choice::required;
  tools.parallel = false;
  Json messages = {{{"role", "user"}, {"content", "What is the weather in Paris?"}}};
  RenderOptions render;
  render.tools = tools.tools;
  if (subject.model.tool_support() == ToolSupport::generic) subject.model.write_generic_tools(messages, render);
  const Parts parts = held_answer(subject, subject.chat(messages, render), {}, tools, "tools");
  if (const auto reason = unfinished(parts)) return *reason;
  if (parts.calls != 1 || parts.tool != "get_weather") {
    return CheckFinding::failed(fmt::format("there is no call of get_weather: {}", excerpt(parts.answer)));
  }
  const auto arguments = parsed(parts.arguments);
  if (!arguments || !arguments->is_object() || !arguments->contains("city") || !(*arguments)["city"].is_string()) {
    return CheckFinding::failed(fmt::format("the arguments break their schema: {}", excerpt(parts.arguments)));
  }
  const std::string how = subject.model.tool_support() == ToolSupport::native ? "" : " (generic form)";
  return CheckFinding::passed(fmt::format("get_weather({}){}", excerpt((*arguments)["city"].get<std::string>()), how));
}

CheckFinding check_vision(const TextSubject& subject) {
  const ImageProcessor* processor = subject.model.image_processor();
  if (!processor) return CheckFinding::skipped("the model accepts no images");
  PromptImages images{*processor, {processor->process(drawn_circle())}};
  const auto ask = [&](const char* question) {
    const Json messages = {
        {{"role", "user"}, {"content", {{{"type", "image"}}, {{"type", "text"}, {"text", question}}}}}};
    const PreparedChat chat = prepare_chat(messages, subject.model.chat_template(), {}, *subject.model.tokenizer(),
                                           Tokenizer::kNoLimit, &images);
    return held_answer(subject, chat, {}, {}, "vision");
  };
  const Parts colour = ask("What color is the circle?");
  if (const auto reason = unfinished(colour)) return *reason;
  if (holds_word(colour.answer, "red")) return CheckFinding::passed(excerpt(colour.answer));
  return wrong_answer(fmt::format("about a red circle it says {}", excerpt(colour.answer)), subject.excuse(),
                      subject.options);
}

}  // namespace mlxk

#include "selftest/text_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "base/error.h"
#include "selftest/run_checks.h"
#include "serving/generate.h"
#include "tokenizer/chat_template.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
constexpr uint64_t kSmallTextModel = 500'000'000;  // bytes; the answers of smaller models are a matter of luck
constexpr double kRandomShare = 0.9;               // of the log-probability of a token chosen at random
constexpr const char* kEnglish =
    " The old man walked slowly down to the river, as he did every morning, and looked at the water for a long time.";
// Text whose characters and tokens end at different bytes.
constexpr const char* kManyScripts =
    "Zażółć gęślą jaźń – naïve 日本語のテキスト 👩‍🚀🚀 Привет, мир! \t{\"a\": "
    "[1]}\n";

/// Control tokens of many chat formats, whichever this model uses.
constexpr const char* kControlTexts[] = {"<|im_start|>",    "<|im_end|>",          "<|endoftext|>", "<|eot_id|>",
                                         "<end_of_turn>",   "<start_of_turn>",     "</s>",          "[INST]",
                                         "[/INST]",         "<|start_header_id|>", "<|assistant|>", "<|user|>",
                                         "<|end_of_text|>", "<|eom_id|>",          "<|channel|>"};

/// A form of conversation that clients send.
struct MessageShape {
  const char* name;
  Json messages;
  Json tools = nullptr;
};

Json message(const char* role, Json content) { return {{"role", role}, {"content", std::move(content)}}; }

std::vector<MessageShape> message_shapes() {
  const Json user = message("user", "Hello <there> & \"you\""), answer = message("assistant", "Hi.");
  const Json tools = {{{"type", "function"},
                       {"function",
                        {{"name", "get_time"},
                         {"description", "The time in a city"},
                         {"parameters", {{"type", "object"}, {"properties", {{"city", {{"type", "string"}}}}}}}}}}};
  const Json call = {{"role", "assistant"},
                     {"content", ""},
                     {"tool_calls",
                      {{{"id", "call00001"},
                        {"type", "function"},
                        {"function", {{"name", "get_time"}, {"arguments", {{"city", "Rome"}}}}}}}}};
  const Json result = {{"role", "tool"}, {"name", "get_time"}, {"tool_call_id", "call00001"}, {"content", "12:00"}};
  return {{"system", Json::array({message("system", "Be brief."), user})},
          {"several turns", Json::array({user, answer, message("user", "And then?")})},
          {"parts", Json::array({message("user", {{{"type", "text"}, {"text", "Hello"}}})})},
          {"an empty message", Json::array({message("user", "")})},
          {"an empty answer", Json::array({user, message("assistant", ""), user})},
          {"other scripts", Json::array({message("user", kManyScripts)})},
          {"tools", Json::array({user}), tools},
          {"a tool's result", Json::array({user, call, result}), tools},
          {"two users", Json::array({user, user})}};
}

int64_t count_ids(const std::vector<int32_t>& ids, const std::vector<int32_t>& of) {
  return std::count_if(ids.begin(), ids.end(),
                       [&](int32_t id) { return std::find(of.begin(), of.end(), id) != of.end(); });
}

/// The mean log-probability of an English sentence's tokens.
double english_logprob(const TextSubject& subject) {
  GenerateRequest request = subject.request(subject.model.tokenizer()->encode(kEnglish, true), 1, "english");
  request.prompt_logprobs = true;
  const TokenRun run = subject.run_one(std::move(request));
  double sum = 0;
  for (const TokenEvent& token : run.prompt) sum += token.logprob;
  return run.prompt.empty() ? 0 : sum / static_cast<double>(run.prompt.size());
}
}  // namespace

bool TextSubject::exact() const { return worker.device().name == "cpu"; }

PreparedChat TextSubject::chat(const Json& messages, const RenderOptions& render) const {
  return prepare_chat(messages, model.chat_template(), render, *model.tokenizer());
}

PreparedChat TextSubject::chat(const std::string& text) const { return chat(Json::array({message("user", text)}), {}); }

GenerateRequest TextSubject::request(std::vector<int32_t> prompt, int64_t max_tokens, const std::string& scope) const {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.eos_token_ids = model.tokenizer()->eos_token_ids();
  request.top_logprobs = 0;
  request.cache_scope = "selftest " + scope;
  return request;
}

std::vector<int32_t> TextSubject::filler(size_t count) const {
  const std::vector<int32_t> sentence = model.tokenizer()->encode(kEnglish, false);
  if (sentence.empty()) throw Error(ErrorKind::bad_model, "the tokenizer gives no tokens for an English sentence");
  std::vector<int32_t> ids = model.tokenizer()->encode("", true);  // the beginning-of-text token, if any
  while (ids.size() < count) ids.insert(ids.end(), sentence.begin(), sentence.end());
  ids.resize(count);
  return ids;
}

std::vector<TokenRun> TextSubject::run(std::vector<GenerateRequest> requests) const {
  return run_tokens(worker, model.handle(), std::move(requests), options.stop_wanted);
}

TokenRun TextSubject::run_one(GenerateRequest request) const { return std::move(run({std::move(request)}).front()); }

std::string TextSubject::excuse() const {
  if (!model.chat_template()) return "a base model";
  const auto& facts = model.handle()->facts();
  if (facts.weight_bytes < kSmallTextModel) return fmt::format("a model of {} MB", facts.weight_bytes / 1'000'000);
  const double chance = -std::log(static_cast<double>(std::max<int64_t>(facts.vocab_size, 2)));
  return english_logprob(*this) < kRandomShare * chance ? "random weights" : "";
}

std::string leaked_token(std::string_view text, const Tokenizer& tokenizer) {
  std::vector<std::string> controls(std::begin(kControlTexts), std::end(kControlTexts));
  controls.push_back(tokenizer.eos_token());
  for (const int32_t id : tokenizer.eos_token_ids()) controls.push_back(tokenizer.id_to_token(id).value_or(""));
  for (const std::string& control : controls) {
    if (control.size() > 2 && text.find(control) != std::string_view::npos) return control;
  }
  return {};
}

CheckFinding same_text(const std::vector<std::string>& pieces, const std::string& whole) {
  std::string joined;
  for (const std::string& piece : pieces) {
    size_t where = 0;
    if (!is_clean_text(piece, where) && piece.find('\0') == std::string::npos) {
      return CheckFinding::failed(fmt::format("the piece after {} bytes splits a character", joined.size()));
    }
    joined += piece;
  }
  if (joined == whole) return CheckFinding::passed(counted(whole.size(), "byte"));
  const size_t at = static_cast<size_t>(
      std::mismatch(joined.begin(), joined.begin() + static_cast<std::ptrdiff_t>(std::min(joined.size(), whole.size())),
                    whole.begin())
          .first -
      joined.begin());
  return CheckFinding::failed(
      fmt::format("the streamed text differs from the whole one at byte {} of {}", at, whole.size()));
}

CheckFinding check_template(const TextSubject& subject) {
  const ChatTemplate* chat_template = subject.model.chat_template();
  if (!chat_template) return CheckFinding::skipped("the model has no chat template");
  const PreparedChat plain = subject.chat("Hello");
  if (plain.prompt.text.find("Hello") == std::string::npos) {
    return CheckFinding::failed("the prompt does not show its message");
  }
  // Text written by a user must not end a turn.
  const auto& ends = subject.model.tokenizer()->eos_token_ids();
  const PreparedChat forged = subject.chat("Hello" + subject.model.tokenizer()->eos_token());
  if (count_ids(forged.prompt.ids, ends) != count_ids(plain.prompt.ids, ends)) {
    return CheckFinding::failed(
        fmt::format("{} in a user's text becomes an end token", subject.model.tokenizer()->eos_token()));
  }
  const auto shapes = message_shapes();
  std::vector<std::string> refused;
  for (const MessageShape& shape : shapes) {
    RenderOptions render;
    render.tools = shape.tools;
    try {
      if (subject.chat(shape.messages, render).prompt.ids.empty()) {
        return CheckFinding::failed(fmt::format("the prompt of {} is empty", shape.name));
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid) throw;
      refused.emplace_back(shape.name);  // a template may accept fewer shapes if it refuses the others
    }
  }
  std::string found = fmt::format("{} of {} shapes", shapes.size() + 1 - refused.size(), shapes.size() + 1);
  if (!refused.empty()) found += fmt::format("; it refuses {}", fmt::join(refused, ", "));
  return CheckFinding::passed(found);
}

CheckFinding check_stop_tokens(const TextSubject& subject) {
  if (subject.model.tokenizer()->eos_token_ids().empty()) {
    return CheckFinding::failed("no end token is known: answers end only at their maximum length");
  }
  int ended = 0;
  static constexpr const char* kQuestions[] = {"Say hello.", "What is two and two?", "Name a colour."};
  for (const char* question : kQuestions) {
    const PreparedChat chat = subject.chat(question);
    std::string shown;
    const GeneratedAnswer answer = generate(
        subject.worker, subject.model.handle(), subject.request(chat.prompt.ids, 2 * subject.answer_tokens(), "stops"),
        Completion(subject.model.tokenizer(), chat.stops, chat.reasoning),
        [&](const std::vector<Part>& parts) {
          for (const Part& part : parts) shown += part.text;
        },
        subject.options.stop_wanted);
    if (const std::string leaked = leaked_token(shown, *subject.model.tokenizer()); !leaked.empty()) {
      return CheckFinding::failed(fmt::format("the answer to \"{}\" shows {}", question, leaked));
    }
    ended += answer.reason == FinishReason::stop ? 1 : 0;
  }
  return CheckFinding::passed(fmt::format("{} of {} answers ended by themselves", ended, std::size(kQuestions)));
}

CheckFinding check_streaming(const TextSubject& subject) {
  const Tokenizer& tokenizer = *subject.model.tokenizer();
  std::vector<int32_t> ids = tokenizer.encode(kManyScripts, false);
  const TokenRun run = subject.run_one(
      subject.request(subject.chat("Write a line with an emoji.").prompt.ids, subject.answer_tokens(), "stream"));
  for (const TokenEvent& token : run.tokens) ids.push_back(token.token);
  StreamDecoder decoder(subject.model.tokenizer(), true);
  std::vector<std::string> pieces;
  for (const int32_t id : ids) pieces.push_back(decoder.push(id));
  pieces.push_back(decoder.finish());
  return same_text(pieces, tokenizer.decode(ids, true));
}

CheckFinding check_reasoning(const TextSubject& subject) {
  const PreparedChat chat = subject.chat("What is two and two?");
  const ReasoningFormat& format = chat.reasoning;
  if (format.kind == ReasoningFormat::Kind::none) return CheckFinding::skipped("the model has no reasoning format");
  if (format.kind == ReasoningFormat::Kind::tags) {
    // A possible output of the model.
    const std::string text = (format.prompt_opens ? "" : format.open) + "\nIt is easy.\n" + format.close +
                             format.answer_open + "\n\nFour." + format.answer_close;
    Completion completion(subject.model.tokenizer(), chat.stops, format);
    std::string reasoning, answer;
    const auto take = [&](const std::vector<Part>& parts) {
      for (const Part& part : parts) (part.kind == Part::Kind::reasoning ? reasoning : answer) += part.text;
    };
    for (const int32_t id : subject.model.tokenizer()->encode(text, false)) take(completion.push(id));
    take(completion.finish());
    if (reasoning.find("easy") == std::string::npos || answer.find("Four") == std::string::npos ||
        answer.find("easy") != std::string::npos) {
      return CheckFinding::failed(
          fmt::format("for {} the reasoning is \"{}\" and the answer \"{}\"", Json(text).dump(), reasoning, answer));
    }
  }
  const GeneratedAnswer answer = generate(
      subject.worker, subject.model.handle(),
      subject.request(chat.prompt.ids, 4 * subject.answer_tokens(), "reasoning"),
      Completion(subject.model.tokenizer(), chat.stops, format), [](const std::vector<Part>&) {},
      subject.options.stop_wanted);
  for (const std::string& marker : format.markers()) {
    if (answer.answer.find(marker) != std::string::npos || answer.reasoning.find(marker) != std::string::npos) {
      return CheckFinding::failed(fmt::format("the answer shows {}", marker));
    }
  }
  return CheckFinding::passed(fmt::format("{} of reasoning, {} of answer", counted(answer.reasoning.size(), "byte"),
                                          counted(answer.answer.size(), "byte")));
}

CheckFinding check_speed(const TextSubject& subject) {
  GenerateRequest request = subject.request(subject.filler(64), 2 * subject.answer_tokens(), "speed");
  request.eos_token_ids.clear();
  request.top_logprobs = -1;
  const TokenRun run = subject.run_one(std::move(request));
  const auto& timings = run.done.timings;
  const auto tokens = static_cast<int64_t>(run.tokens.size());
  if (tokens < 2 || timings.decode_s <= 0) return CheckFinding::failed("there was nothing to measure");
  subject.figures = {.tokens_per_s = static_cast<double>(tokens - 1) / timings.decode_s,
                     .first_token_s = timings.first_token_s,
                     .prompt_tokens = run.done.usage.prompt_tokens,
                     .completion_tokens = tokens};
  return CheckFinding::passed(fmt::format("{:.1f} tokens/s", subject.figures.tokens_per_s));
}

void check_text_model(const TextSubject& subject, SelftestResult& result) {
  const auto check = [&](const char* name, CheckFinding (*judge)(const TextSubject&)) {
    return Check{name, [&subject, judge] { return judge(subject); }};
  };
  run_checks(
      {check("template", check_template), check("stop tokens", check_stop_tokens), check("streaming", check_streaming),
       check("batch", check_batch), check("prefix cache", check_prefix_cache), check("cut prompts", check_cut_prompts),
       check("JSON schema", check_json_schema), check("JSON unasked", check_plain_json),
       check("tool calls", check_tool_calls), check("reasoning", check_reasoning),
       check("long context", check_long_context), check("vision", check_vision), check("speed", check_speed)},
      subject.options, result);
}

}  // namespace mlxk

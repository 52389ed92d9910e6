#include "bench/serve_prompts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/file.h"
#include "base/line_reader.h"
#include "json/member.h"

namespace mlxk {

namespace {

// Lognormal fits to the ShareGPT prompts and answers that vLLM's benchmark uses: median in tokens, and sigma.
constexpr double kPromptMedian = 90, kPromptSigma = 1.2, kAnswerMedian = 130, kAnswerSigma = 1;
constexpr double kShortest = 4, kLongest = 1024;
constexpr int64_t kMaxTokens = 1 << 20;
constexpr uint64_t kMaxListBytes = uint64_t{4} << 30;

constexpr std::string_view kWords[] = {
    "the",   "river",  "carries", "small", "boats", "past",   "gardens", "where", "children", "watch", "birds",
    "build", "nests",  "in",      "old",   "trees", "while",  "farmers", "talk",  "about",    "rain",  "and",
    "bread", "or",     "price",   "of",    "wool",  "from",   "towns",   "over",  "northern", "hills", "every",
    "year",  "people", "walk",    "along", "roads", "before", "winter",  "comes", "with",     "snow",  "wind"};

/// A standard normal value, by the Box-Muller transform.
double normal(std::mt19937_64& random) {
  const double radius = std::sqrt(-2 * std::log(1 - uniform(random)));
  return radius * std::cos(2 * std::numbers::pi * uniform(random));
}

int64_t lognormal(std::mt19937_64& random, double median, double sigma) {
  return std::llround(std::clamp(median * std::exp(sigma * normal(random)), kShortest, kLongest));
}

std::string words(std::mt19937_64& random, int64_t count) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) text += ' ';
    text += kWords[random() % std::size(kWords)];
  }
  return text;
}

int64_t read_length(std::string_view text) {
  int64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc{} && end == text.data() + text.size() ? length : 0;
}

LoadPrompt prompt_of(const Json& object, const std::string& place) {
  LoadPrompt prompt;
  const Json& messages = value_at(object, "messages");
  prompt.text = string_at(object, "prompt");
  if (messages.is_array() && !messages.empty()) {
    prompt.messages = messages;
    for (const Json& message : messages) prompt.text = string_at(message, "content");
  } else if (prompt.text.empty()) {
    throw Error(ErrorKind::invalid, fmt::format("{}: needs \"prompt\" or \"messages\"", place));
  }
  const Json& most = value_at(object, "max_tokens");
  if (most.is_null()) return prompt;
  if (!most.is_number_integer() || most.get<int64_t>() < 1 || most.get<int64_t>() > kMaxTokens) {
    throw Error(ErrorKind::invalid,
                fmt::format("{}: max_tokens must be a number from 1 to {}, got {}", place, kMaxTokens, most.dump()));
  }
  prompt.max_tokens = most.get<int64_t>();
  return prompt;
}

/// The first question of a conversation; max_tokens is estimated from the words of its answer. nullopt: no question or
/// no answer.
std::optional<LoadPrompt> sharegpt_prompt(const Json& entry) {
  const Json& turns = value_at(entry, "conversations");
  if (!turns.is_array() || turns.size() < 2) return std::nullopt;
  LoadPrompt prompt;
  prompt.text = string_at(turns[0], "value");
  const std::string answer = string_at(turns[1], "value");
  if (prompt.text.empty() || answer.empty()) return std::nullopt;
  const auto gaps = std::count_if(answer.begin(), answer.end(), [](char c) { return c == ' ' || c == '\n'; });
  prompt.max_tokens =
      std::clamp<int64_t>((gaps + 1) * 4 / 3, static_cast<int64_t>(kShortest), static_cast<int64_t>(kLongest));
  return prompt;
}

std::vector<LoadPrompt> sharegpt_prompts(const std::string& path) {
  const Json list = parse_json(read_file(path, kMaxListBytes), path);
  std::vector<LoadPrompt> prompts;
  for (const Json& entry : list) {
    if (auto prompt = sharegpt_prompt(entry)) prompts.push_back(std::move(*prompt));
  }
  if (prompts.empty()) {
    throw Error(ErrorKind::invalid,
                fmt::format("{}: no entry has \"conversations\" with a question and an answer", path));
  }
  return prompts;
}

}  // namespace

double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

LoadLengths read_lengths(const std::string& text) {
  if (text == "sharegpt") return {};
  const size_t colon = text.find(':');
  if (colon != std::string::npos) {
    const LoadLengths lengths{false, read_length(std::string_view(text).substr(0, colon)),
                              read_length(std::string_view(text).substr(colon + 1))};
    const auto fits = [](int64_t length) { return length >= 1 && length <= kMaxTokens; };
    if (fits(lengths.prompt) && fits(lengths.answer)) return lengths;
  }
  throw Error(
      ErrorKind::usage,
      fmt::format("argument --lengths: must be sharegpt or PROMPT:ANSWER in tokens, such as 512:128, got '{}'", text));
}

std::vector<LoadPrompt> make_prompts(size_t count, const LoadLengths& lengths, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<LoadPrompt> prompts(count);
  for (size_t i = 0; i < count; ++i) {
    const int64_t length = lengths.sharegpt ? lognormal(random, kPromptMedian, kPromptSigma) : lengths.prompt;
    prompts[i].text = words(random, length);
    prompts[i].max_tokens = lengths.sharegpt ? lognormal(random, kAnswerMedian, kAnswerSigma) : lengths.answer;
  }
  return prompts;
}

std::vector<LoadPrompt> read_prompts(const std::string& path) {
  LineReader lines(path);
  std::vector<LoadPrompt> prompts;
  while (lines.next()) {
    const std::string& line = lines.text();
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos) continue;
    if (prompts.empty() && line[first] == '[') return sharegpt_prompts(path);
    const std::string place = fmt::format("{}:{}", path, lines.number());
    if (lines.is_too_long()) throw Error(ErrorKind::invalid, fmt::format("{}: the line is too long", place));
    if (line[first] == '{') {
      prompts.push_back(prompt_of(parse_json(line, place), place));
    } else {
      prompts.push_back({.text = line});
    }
  }
  if (prompts.empty()) throw Error(ErrorKind::invalid, fmt::format("{}: the file has no prompts", path));
  return prompts;
}

}  // namespace mlxk

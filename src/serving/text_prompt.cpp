#include "serving/text_prompt.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace mlxk {

namespace {

// Words of Cohere, Jina, Voyage, NVIDIA and nomic for the same two things.
constexpr std::array kQueries = {"query", "search_query", "retrieval.query"};
constexpr std::array kDocuments = {"document", "passage", "search_document", "retrieval.passage"};

template <class Words>
bool is_one_of(const std::string& word, const Words& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

const NamedPrompt& named(const EmbeddingConfig& config, const std::string& name, const char* what) {
  if (const NamedPrompt* prompt = config.find_prompt(name)) return *prompt;
  std::vector<std::string_view> known;
  for (const NamedPrompt& prompt : config.prompts) known.push_back(prompt.name);
  const std::string list = known.empty() ? "it has none" : fmt::format("it has {}", fmt::join(known, ", "));
  throw Error(ErrorKind::invalid, fmt::format("{} '{}': the model has no such prompt; {}", what, name, list));
}

}  // namespace

NamedPrompt choose_prompt(const EmbeddingConfig& config, const PromptChoice& choice) {
  if (!choice.name.empty()) return named(config, choice.name, "prompt name");
  if (choice.instruction) {
    if (config.instruction.empty()) return {"", *choice.instruction};
    std::string text = config.instruction;
    return {"query", text.replace(text.find("{}"), 2, *choice.instruction)};
  }
  if (choice.input_type.empty()) {
    return config.default_prompt.empty() ? NamedPrompt{} : named(config, config.default_prompt, "prompt");
  }
  const bool query = is_one_of(choice.input_type, kQueries), document = is_one_of(choice.input_type, kDocuments);
  if (!query && !document) return named(config, choice.input_type, "input type");
  const NamedPrompt* prompt = config.find_prompt(query ? "query" : "document");
  return prompt ? *prompt : NamedPrompt{};
}

}  // namespace mlxk

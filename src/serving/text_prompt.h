#pragma once

#include <optional>
#include <string>

#include "probe/embedding_config.h"

namespace mlxk {

/// The hints of a request about its texts, which select the prompt that the model was trained with.
struct PromptChoice {
  std::string name;                        // of a prompt; empty: none is named
  std::string input_type;                  // query, document, …; empty: not said
  std::optional<std::string> instruction;  // the task of queries, in words
};

/// The prompt before each text: the one that is named, the instruction's, the input type's, else the model's default;
/// its text may be empty. Throws invalid for a name or type that the model has no prompt for, if it has prompts; a
/// model without prompts needs none for queries and documents.
NamedPrompt choose_prompt(const EmbeddingConfig& config, const PromptChoice& choice);

}  // namespace mlxk

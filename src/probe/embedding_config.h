#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json/json.h"
#include "probe/embedding_pipeline.h"

namespace mlxk {

/// A text put in front of others, by its name: query, document, a task.
struct NamedPrompt {
  std::string name, text;
};

/// How late interaction (ColBERT) treats queries and documents.
struct LateInteraction {
  int64_t query_tokens = 0, document_tokens = 0;  // the most per text, special tokens included; 0: the model's limit
  int64_t expansion = 0;                          // queries are padded with mask tokens to this length; 0: no padding
  bool attends_to_expansion = false;              // other tokens see the padding
  std::vector<std::string> skipped;               // tokens of documents that get no vector
};

/// The settings of a sentence-transformers folder beside its transformer. If files are missing, the family's defaults.
struct EmbeddingConfig {
  EmbeddingPipeline pipeline;
  std::vector<NamedPrompt> prompts;
  std::string default_prompt;       // the name of the one that every text gets; empty: none
  std::string instruction;          // "Instruct: {}\nQuery:" if a query may have its own task; empty: it may not
  std::string similarity;           // cosine, dot, euclidean or manhattan
  int64_t max_tokens = 0;           // of a text, special tokens included; 0: unknown
  bool lower_case = false;          // texts are put into lower case first
  bool is_matryoshka = false;       // trained so that the first numbers of a vector are a vector
  std::vector<int64_t> dimensions;  // those that it was trained for; empty: any
  std::optional<LateInteraction> late_interaction;

  const NamedPrompt* find_prompt(std::string_view name) const;
};

/// Whether models of that type generate text, so that as embedders they take the last token.
bool is_decoder_type(std::string_view model_type);

/// Reads modules.json, 1_Pooling/config.json, sentence_bert_config.json, config_sentence_transformers.json and the
/// relevant keys of config.json in `folder`. Throws bad_model naming file and key, unsupported for a module that is not
/// built in.
EmbeddingConfig read_embedding_config(const std::filesystem::path& folder);

/// The folders that modules.json in `folder` names besides the transformer's. Throws bad_model.
std::vector<std::string> module_folders(const std::filesystem::path& folder);

/// The properties of a classifier apart from its scores.
struct ClassifierConfig {
  enum class Activation { identity, sigmoid, softmax } activation = Activation::softmax;
  std::vector<std::string> labels;  // as many as there are scores
};

/// By config.json: id2label, problem_type, and the activation of sentence-transformers' cross-encoders. Throws
/// bad_model.
ClassifierConfig read_classifier_config(const Json& config);

/// How many labels config.json's classifier has: id2label, else num_labels, else 2.
int64_t count_labels(const Json& config);

}  // namespace mlxk

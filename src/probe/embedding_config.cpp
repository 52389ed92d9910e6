// Reads the folder of a sentence-transformers model: modules.json and the files that it names (sentence-transformers 5:
// SentenceTransformer._load_sbert_model, models/Pooling.py, models/Dense.py).
#include "probe/embedding_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "json/member.h"
#include "probe/built_in.h"
#include "probe/config_reader.h"
#include "probe/strict_sax.h"

namespace mlxk {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxModules = 64, kMaxPrompts = 1024;
constexpr size_t kMaxPromptBytes = 64 << 10;
constexpr int64_t kMaxLabels = 100'000;
constexpr int64_t kQueryTokens = 32;  // ColBERT's
constexpr std::array kSimilarities = {"cosine", "dot", "euclidean", "manhattan"};

/// The order in which several are concatenated, the older key of each, and the newer word.
struct PoolingName {
  Pooling pooling;
  const char *flag, *word;
};
constexpr PoolingName kPoolings[] = {
    {Pooling::cls, "pooling_mode_cls_token", "cls"},
    {Pooling::max, "pooling_mode_max_tokens", "max"},
    {Pooling::mean, "pooling_mode_mean_tokens", "mean"},
    {Pooling::mean_sqrt_len_tokens, "pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
    {Pooling::weightedmean, "pooling_mode_weightedmean_tokens", "weightedmean"},
    {Pooling::lasttoken, "pooling_mode_lasttoken", "lasttoken"},
};

/// The prompts that a family's models expect if their files name none.
struct FamilyPrompts {
  std::string_view part_of_name;
  const char *query, *document;
};
constexpr const char* kSearchQuery = "Represent this sentence for searching relevant passages: ";
constexpr FamilyPrompts kFamilies[] = {
    {"multilingual-e5-large-instruct", "", ""},
    {"e5-", "query: ", "passage: "},
    {"bge-m3", "", ""},
    {"bge-small-en", kSearchQuery, ""},
    {"bge-base-en", kSearchQuery, ""},
    {"bge-large-en", kSearchQuery, ""},
    {"mxbai-embed", kSearchQuery, ""},
    {"nomic-embed", "search_query: ", "search_document: "},
    {"arctic-embed", kSearchQuery, ""},
    {"embeddinggemma", "task: search result | query: ", "title: none | text: "},
};

// Trained for shorter vectors, though their files do not say so.
constexpr std::array kMatryoshka = {"qwen3-embedding",       "embeddinggemma",       "nomic-embed-text-v1.5",
                                    "nomic-embed-text-v2",   "mxbai-embed-large",    "jina-embeddings-v3",
                                    "arctic-embed-m-v1.5",   "arctic-embed-m-v2",    "arctic-embed-l-v2",
                                    "modernbert-embed-base", "gte-multilingual-base"};

constexpr const char* kRetrieval = "Given a web search query, retrieve relevant passages that answer the query";
constexpr const char* kInstruction = "Instruct: {}\nQuery:";

std::string last_component(const std::string& type) { return type.substr(type.rfind('.') + 1); }

/// One of the folder's files, or null if it is absent; throws bad_model if it is broken.
Json read_optional(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) ? read_json(path) : Json(nullptr);
}

[[noreturn]] void fail(const fs::path& path, const std::string& message, ErrorKind kind = ErrorKind::bad_model) {
  throw Error(kind, fmt::format("{}: {}", path.string(), message));
}

std::vector<Pooling> read_pooling(const Json& config, const fs::path& path) {
  std::vector<Pooling> found;
  const Json& mode = value_at(config, "pooling_mode");
  if (mode.is_null()) {
    for (const PoolingName& one : kPoolings) {
      const Json& flag = value_at(config, one.flag);
      if (flag.is_boolean() && flag.get<bool>()) found.push_back(one.pooling);
    }
  } else {
    const Json words = mode.is_array() ? mode : Json::array({mode});
    for (const Json& word : words) {
      const auto known =
          std::find_if(std::begin(kPoolings), std::end(kPoolings), [&](const auto& one) { return word == one.word; });
      if (known == std::end(kPoolings) || words.size() > std::size(kPoolings)) {
        fail(path,
             fmt::format("pooling_mode {} is not known", word.dump(-1, ' ', true, Json::error_handler_t::replace)));
      }
      found.push_back(known->pooling);
    }
    std::sort(found.begin(), found.end());
  }
  if (found.empty()) fail(path, "no pooling mode is set");
  return found;
}

DenseModule read_dense(const Json& config, const fs::path& path, const std::string& folder) {
  if (value_at(config, "use_residual") == true) fail(path, "use_residual is not built in", ErrorKind::unsupported);
  std::string activation = last_component(string_at(config, "activation_function"));
  return {folder, activation.empty() ? "Tanh" : activation};
}

SpladePooling read_splade(const Json& config, const fs::path& path) {
  const std::string strategy = string_at(config, "pooling_strategy"),
                    function = string_at(config, "activation_function");
  if (strategy != "max" && strategy != "sum") {
    fail(path, fmt::format("pooling_strategy must be max or sum, got {}", shown(strategy)));
  }
  if (function != "relu" && function != "log1p_relu") {
    fail(path, fmt::format("activation_function must be relu or log1p_relu, got {}", shown(function)));
  }
  return {strategy == "sum", function == "log1p_relu"};
}

std::vector<std::string> read_words(const Json& list) {
  std::vector<std::string> words;
  if (!list.is_array() || list.size() > kMaxPrompts) return words;
  for (const Json& one : list) {
    if (one.is_string()) words.push_back(one.get<std::string>());
  }
  return words;
}

/// Folders of modules must be inside the model's.
std::string checked_folder(const std::string& folder, const fs::path& modules) {
  const fs::path path = fs::path(folder).lexically_normal();
  const bool outside = path.is_absolute() || (!path.empty() && *path.begin() == "..");
  if (outside) fail(modules, fmt::format("path {} leads out of the model's folder", shown(folder)));
  return folder;
}

/// modules.json, a list; null if it is absent.
Json read_module_list(const fs::path& path) {
  Json modules = read_optional(path);
  if (!modules.is_null() && (!modules.is_array() || modules.empty() || modules.size() > kMaxModules)) {
    fail(path, fmt::format("must be a list of 1 to {} modules", kMaxModules));
  }
  return modules;
}

void read_modules(const fs::path& root, EmbeddingConfig& config) {
  const fs::path path = root / "modules.json";
  const Json modules = read_module_list(path);
  if (modules.is_null()) return;
  EmbeddingPipeline& pipeline = config.pipeline;
  pipeline = {};
  const auto pooled = [&] { return !pipeline.poolings.empty() || pipeline.splade.has_value(); };
  for (size_t i = 0; i < modules.size(); ++i) {
    const std::string type = last_component(string_at(modules[i], "type"));
    const std::string folder = checked_folder(string_at(modules[i], "path"), path);
    const fs::path own = root / folder / "config.json";
    if ((type == "Transformer" || type == "MLMTransformer") && i == 0) {
      if (!folder.empty()) fail(path, fmt::format("the transformer is in {}", shown(folder)), ErrorKind::unsupported);
    } else if (type == "Pooling" && i == 1) {
      const Json pooling = read_optional(own);
      pipeline.poolings = read_pooling(pooling, own);
      const Json& prompt = value_at(pooling, "include_prompt");
      if (prompt.is_boolean()) pipeline.include_prompt = prompt.get<bool>();
    } else if (type == "SpladePooling" && i == 1) {
      pipeline.splade = read_splade(read_optional(own), own);
    } else if (type == "MultiVectorMask" && i > 0 && !pooled()) {
      pipeline.token_vectors = true;
      config.late_interaction.emplace().skipped = read_words(value_at(read_optional(own), "skiplist_words"));
    } else if (type == "Dense" && i > 0 && !pipeline.splade && !pipeline.normalize) {
      pipeline.token_vectors = !pooled();
      pipeline.dense.push_back(read_dense(read_optional(own), own, folder));
    } else if (type == "Normalize" && i > 1) {
      pipeline.normalize = true;
    } else if (type != "Dropout") {
      fail(path, fmt::format("module {} at position {} is not built in", shown(type), i), ErrorKind::unsupported);
    }
  }
  if (!pooled() && !pipeline.token_vectors) {
    fail(path, "there is neither a pooling nor a matrix for token vectors", ErrorKind::unsupported);
  }
}

void add_prompt(EmbeddingConfig& config, const std::string& name, const std::string& text) {
  if (!config.find_prompt(name)) config.prompts.push_back({name, text});
}

int64_t count_at(const Json& json, const char* key) {
  const Json& value = value_at(json, key);
  return value.is_number_integer() && value > 0 && value < std::numeric_limits<int32_t>::max() ? value.get<int64_t>()
                                                                                               : 0;
}

/// Python's string.punctuation.
std::vector<std::string> punctuation() {
  std::vector<std::string> all;
  for (const char c : std::string_view("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")) all.emplace_back(1, c);
  return all;
}

/// Puts the prefix before the prompt of the same name.
void add_prefix(EmbeddingConfig& config, const char* name, const std::string& prefix) {
  if (prefix.empty()) return;
  const auto found =
      std::find_if(config.prompts.begin(), config.prompts.end(), [&](const auto& one) { return one.name == name; });
  if (found == config.prompts.end()) {
    config.prompts.push_back({name, prefix});
  } else if (!found->text.starts_with(prefix)) {
    found->text = prefix + found->text;
  }
}

/// `own`: sentence_bert_config.json, with sentence-transformers' keys; `file`: config_sentence_transformers.json, with
/// PyLate's.
void read_late_interaction(const Json& file, const Json& own, EmbeddingConfig& config) {
  const bool masked = config.late_interaction.has_value();
  LateInteraction late = config.late_interaction.value_or(LateInteraction());
  const auto length = [&](const char* key, int64_t& to) {
    if (const int64_t said = std::max(count_at(own, key), count_at(file, key)); said > 0) to = said;
  };
  length("query_length", late.query_tokens);
  length("document_length", late.document_tokens);
  const Json& expansion = value_at(value_at(own, "query_expansion").is_null() ? file : own, "query_expansion");
  const Json& expands = value_at(file, "do_query_expansion");
  if (expansion.is_object()) {
    late.expansion = count_at(expansion, "length");
    late.attends_to_expansion = value_at(expansion, "attend") == true;
  } else if (expands == true || (expands.is_null() && file.contains("query_prefix"))) {
    late.expansion = late.query_tokens > 0 ? late.query_tokens : kQueryTokens;
    late.attends_to_expansion = value_at(file, "attend_to_expansion_tokens") == true;
  }
  const Json& skipped = value_at(file, "skiplist_words");
  if (skipped.is_array()) {
    late.skipped = read_words(skipped);
  } else if (!masked && string_at(file, "model_type") == "ColBERT") {
    late.skipped = punctuation();
  }
  config.late_interaction = std::move(late);
  add_prefix(config, "query", string_at(file, "query_prefix"));
  add_prefix(config, "document", string_at(file, "document_prefix"));
  if (config.find_prompt("document")) config.default_prompt = "document";
}

/// Checkpoints of ColBERT's own code (https://github.com/stanford-futuredata/ColBERT): the matrix is one of the
/// weights, the settings are in artifact.metadata.
void read_colbert(const fs::path& root, EmbeddingConfig& config) {
  const Json file = read_optional(root / "artifact.metadata");
  config.pipeline = {.token_vectors = true};
  LateInteraction& late = config.late_interaction.emplace();
  late.document_tokens = count_at(file, "doc_maxlen");
  const int64_t query_tokens = count_at(file, "query_maxlen");
  late.expansion = query_tokens > 0 ? query_tokens : kQueryTokens;
  late.attends_to_expansion = value_at(file, "attend_to_mask_tokens") == true;
  if (value_at(file, "mask_punctuation") != false) late.skipped = punctuation();
  const std::string query = string_at(file, "query_token_id"), document = string_at(file, "doc_token_id");
  add_prompt(config, "query", query.empty() ? "[unused0]" : query);
  add_prompt(config, "document", document.empty() ? "[unused1]" : document);
  config.default_prompt = "document";
}

void read_prompts(const fs::path& root, EmbeddingConfig& config) {
  const fs::path path = root / "config_sentence_transformers.json";
  const Json file = read_optional(path);
  const Json& prompts = value_at(file, "prompts");
  if (prompts.is_object()) {
    if (prompts.size() > kMaxPrompts) fail(path, fmt::format("prompts: more than {}", kMaxPrompts));
    for (const auto& [name, text] : prompts.items()) {
      if (!text.is_string()) continue;  // null: none
      if (text.get_ref<const std::string&>().size() > kMaxPromptBytes) {
        fail(path, fmt::format("prompts.{} is longer than {} bytes", name, kMaxPromptBytes));
      }
      add_prompt(config, name, text.get<std::string>());
    }
  }
  if (config.pipeline.token_vectors) {
    read_late_interaction(file, read_optional(root / "sentence_bert_config.json"), config);
  }
  if (const std::string name = string_at(file, "default_prompt_name"); !name.empty()) config.default_prompt = name;
  if (!config.default_prompt.empty() && !config.find_prompt(config.default_prompt)) {
    fail(path, fmt::format("default_prompt_name {} is not one of the prompts", shown(config.default_prompt)));
  }
  config.similarity = string_at(file, "similarity_fn_name");
  const bool known = std::find(kSimilarities.begin(), kSimilarities.end(), config.similarity) != kSimilarities.end();
  if (!known) config.similarity = "cosine";
  const Json& cut = value_at(file, "truncate_dim");
  if (cut.is_number_integer() && cut > 0) config.is_matryoshka = true;
}

/// sentence-transformers calls the prompts by these names, in this order of preference.
const NamedPrompt* find_first(const EmbeddingConfig& config, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const NamedPrompt* prompt = config.find_prompt(name)) return prompt;
  }
  return nullptr;
}

/// Prompts that the family has and the files lack; those that they have, also by the names query and document.
void complete_prompts(EmbeddingConfig& config, const std::string& name, bool is_decoder) {
  if (const auto* query =
          find_first(config, {"query", "search_query", "Retrieval-query", "retrieval.query", "s2p_query"}))
    add_prompt(config, "query", query->text);
  if (const auto* document = find_first(
          config, {"document", "passage", "search_document", "Retrieval-document", "retrieval.passage", "corpus"}))
    add_prompt(config, "document", document->text);
  if (!config.find_prompt("query") && !config.find_prompt("document")) {
    const auto family = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                     [&](const auto& one) { return contains(name, one.part_of_name); });
    if (family != std::end(kFamilies) && (*family->query || *family->document)) {
      add_prompt(config, "query", family->query);
      add_prompt(config, "document", family->document);
    }
  }
  const NamedPrompt* query = config.find_prompt("query");
  if (query && query->text.starts_with("Instruct: ") && contains(query->text, "\n")) {
    config.instruction = "Instruct: {}" + query->text.substr(query->text.rfind('\n'));
  } else if (is_decoder && !query) {
    config.instruction = kInstruction;
    add_prompt(config, "query", fmt::format("Instruct: {}\nQuery:", kRetrieval));
  }
}

/// The longest text by the number of positions; roberta and similar models count from the padding's id.
int64_t position_count(const Json& config) {
  constexpr std::array kFromPadding = {"roberta", "xlm_roberta", "xlm_roberta_xl", "camembert", "mpnet"};
  const Json& positions = value_at(config, "max_position_embeddings");
  if (!positions.is_number_integer() || positions <= 0) return 0;
  const std::string type = string_at(config, "model_type");
  const auto shifted = [&](const char* one) { return same_type(one, type); };
  const Json& pad = value_at(config, "pad_token_id");
  const int64_t shift = std::any_of(kFromPadding.begin(), kFromPadding.end(), shifted)
                            ? (pad.is_number_integer() ? pad.get<int64_t>() : 1) + 1
                            : 0;
  return std::max<int64_t>(positions.get<int64_t>() - shift, 0);
}

int64_t read_max_tokens(const fs::path& root, const Json& config, const Json& sentence) {
  int64_t most = position_count(config);
  const auto lower = [&](const Json& value) {
    if (!value.is_number_integer() || value <= 0) return false;
    const auto length = value.get<int64_t>();
    if (length < std::numeric_limits<int32_t>::max() && (most == 0 || length < most)) most = length;
    return true;
  };
  if (lower(value_at(sentence, "max_seq_length"))) return most;
  std::error_code error;
  const fs::path path = root / "tokenizer_config.json";
  if (fs::is_regular_file(path, error)) lower(value_at(read_json(path), "model_max_length"));
  return most;
}

void read_dimensions(const fs::path& root, const Json& json, const std::string& name, EmbeddingConfig& config) {
  const Json& list = value_at(json, "matryoshka_dimensions");
  if (list.is_array() && list.size() <= kMaxModules) {
    for (const Json& one : list) {
      if (one.is_number_integer() && one > 0) config.dimensions.push_back(one.get<int64_t>());
    }
  }
  const Json& said = value_at(json, "is_matryoshka");
  const bool by_name =
      std::any_of(kMatryoshka.begin(), kMatryoshka.end(), [&](const char* one) { return contains(name, one); });
  if (!config.dimensions.empty() || (said.is_boolean() && said.get<bool>()) || by_name) config.is_matryoshka = true;
  if (config.is_matryoshka) return;
  // The text that sentence-transformers writes into the card of a model trained this way.
  constexpr uint64_t kMaxCard = 1 << 20;
  std::error_code error;
  const fs::path card = root / "README.md";
  if (!fs::is_regular_file(card, error) || fs::file_size(card, error) > kMaxCard) return;
  const std::string text = read_file(card);
  config.is_matryoshka = contains(text.substr(0, 8 << 10), "loss:MatryoshkaLoss");
}

bool has_architecture(const Json& config, const char* name) {
  const Json& list = value_at(config, "architectures");
  return list.is_array() && std::find(list.begin(), list.end(), name) != list.end();
}

/// The model's name in lower case: the folder's, or for a cached model the one in models--org--name/snapshots/REVISION.
std::string model_name(const fs::path& folder) {
  const fs::path plain = folder.lexically_normal();
  const std::string repository = plain.parent_path().parent_path().filename().string();
  return lower_case(repository.starts_with("models--") ? repository : plain.filename().string());
}

}  // namespace

bool is_decoder_type(std::string_view model_type) { return built_in().has(ModelKind::text, model_type); }

const NamedPrompt* EmbeddingConfig::find_prompt(std::string_view name) const {
  const auto found = std::find_if(prompts.begin(), prompts.end(), [&](const auto& one) { return one.name == name; });
  return found == prompts.end() ? nullptr : &*found;
}

EmbeddingConfig read_embedding_config(const fs::path& folder) {
  const std::string name = model_name(folder);
  const Json json = read_json(folder / "config.json");
  const bool is_decoder = is_decoder_type(string_at(json, "model_type"));
  EmbeddingConfig config;
  config.pipeline.poolings = {is_decoder ? Pooling::lasttoken : Pooling::mean};
  config.pipeline.normalize = true;
  const bool by_cls = contains(name, "bge-") || contains(name, "mxbai") || contains(name, "arctic-embed");
  if (!is_decoder && by_cls) config.pipeline.poolings = {Pooling::cls};
  if (has_architecture(json, "HF_ColBERT")) read_colbert(folder, config);
  read_modules(folder, config);
  read_prompts(folder, config);
  complete_prompts(config, name, is_decoder);
  const Json sentence = read_optional(folder / "sentence_bert_config.json");
  const Json& lower = value_at(sentence, "do_lower_case");
  config.lower_case = lower.is_boolean() && lower.get<bool>();
  config.max_tokens = read_max_tokens(folder, json, sentence);
  read_dimensions(folder, json, name, config);
  return config;
}

std::vector<std::string> module_folders(const fs::path& folder) {
  const fs::path path = folder / "modules.json";
  std::vector<std::string> folders;
  for (const Json& module : read_module_list(path)) {
    const std::string own = checked_folder(string_at(module, "path"), path);
    if (!own.empty()) folders.push_back(own);
  }
  return folders;
}

int64_t count_labels(const Json& config) {
  const Json& names = value_at(config, "id2label");
  if (names.is_object() && !names.empty()) return static_cast<int64_t>(names.size());
  const Json& number = value_at(config, "num_labels");
  if (number.is_number_integer() && number > 0 && number < kMaxLabels) return number.get<int64_t>();
  return 2;
}

ClassifierConfig read_classifier_config(const Json& config) {
  using Activation = ClassifierConfig::Activation;
  ClassifierConfig result;
  const int64_t count = count_labels(config);
  result.labels.resize(static_cast<size_t>(count));
  const Json& names = value_at(config, "id2label");
  if (names.is_object()) {
    for (const auto& [key, label] : names.items()) {
      size_t number = result.labels.size();
      std::from_chars(key.data(), key.data() + key.size(), number);
      if (number < result.labels.size() && label.is_string()) result.labels[number] = label.get<std::string>();
    }
  }
  for (size_t i = 0; i < result.labels.size(); ++i) {
    if (result.labels[i].empty()) result.labels[i] = fmt::format("LABEL_{}", i);
  }
  result.activation = count == 1 || value_at(config, "problem_type") == "multi_label_classification"
                          ? Activation::sigmoid
                          : Activation::softmax;
  std::string named = string_at(value_at(config, "sentence_transformers"), "activation_fn");
  if (named.empty()) named = string_at(config, "sbert_ce_default_activation_function");
  if (named.empty()) return result;
  const std::string function = last_component(named);
  if (function == "Identity") {
    result.activation = Activation::identity;
  } else if (function == "Sigmoid") {
    result.activation = Activation::sigmoid;
  } else {
    throw Error(ErrorKind::unsupported, fmt::format("config.json: the activation {} is not built in", shown(named)));
  }
  return result;
}

}  // namespace mlxk

#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk::testing {

namespace tiny {
/// A byte in GPT-2's alphabet.
inline std::string letter(int byte) {
  int code = byte;
  const auto printable = [](int b) { return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; };
  if (!printable(byte)) {
    code = 0x100;
    for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

inline constexpr const char* kSpecial[] = {"<|im_start|>", "<|im_end|>",  "<think>",
                                           "</think>",     "<tool_call>", "</tool_call>"};

/// A template with tools.
inline constexpr const char* kTemplate =
    "{%- if tools %}<|im_start|>system\nTools: {% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "Answer with <tool_call>\n{\"name\": …, \"arguments\": …}\n</tool_call><|im_end|>\n{% endif %}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n"
    "{%- if message.content is string %}{{ message.content }}{% else %}{% for part in message.content or [] %}"
    "{{ part.text }}{% endfor %}{% endif %}"
    "{%- for tool_call in message.tool_calls or [] %}{% set tool_call = tool_call.function %}<tool_call>\n"
    "{\"name\": \"{{ tool_call.name }}\", \"arguments\": {{ tool_call.arguments | tojson }}}\n</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A template without tools.
inline constexpr const char* kPlainTemplate =
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// One token for each byte, id = byte (so that characters arrive in pieces), a few words, the special tokens.
inline Json tokenizer_json() {
  Json vocabulary = Json::object(), merges = Json::array(), added = Json::array();
  for (int byte = 0; byte < 256; ++byte) vocabulary[letter(byte)] = byte;
  int next = 256;
  const std::string space = letter(' ');
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{
           {"t", "h"}, {"th", "e"}, {space, "the"}, {"e", "r"}, {space, "a"}, {"i", "n"}, {"a", "n"}}) {
    vocabulary[left + right] = next++;
    merges.push_back(Json::array({left, right}));
  }
  for (const char* token : kSpecial) {
    added.push_back({{"id", next++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"vocab", vocabulary},
            {"merges", merges}}}};
}
}  // namespace tiny

/// Writes a chat model that Probe finds healthy and that no engine but a fake one can run: reasoning in <think>, tool
/// calls in <tool_call>, every text in bytes, a context of `context` tokens, its chat template (null: none).
inline void write_tiny_model(const std::filesystem::path& folder, int64_t context = 4096,
                             const char* chat_template = tiny::kTemplate) {
  namespace fs = std::filesystem;
  fs::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
  };
  write("config.json", dump_json({{"model_type", "llama"},
                                  {"architectures", {"LlamaForCausalLM"}},
                                  {"hidden_size", 64},
                                  {"num_hidden_layers", 1},
                                  {"num_attention_heads", 1},
                                  {"intermediate_size", 64},
                                  {"rms_norm_eps", 1e-5},
                                  {"vocab_size", 269},
                                  {"max_position_embeddings", context}}));
  write("tokenizer.json", dump_json(tiny::tokenizer_json()));
  write("tokenizer_config.json", dump_json({{"tokenizer_class", "PreTrainedTokenizerFast"},
                                            {"eos_token", "<|im_end|>"},
                                            {"chat_template", chat_template ? Json(chat_template) : Json()}}));
  write("README.md", "---\nlibrary_name: mlx\ntags:\n- mlx\n---\n");
  std::string header = R"({"model.norm.weight":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}})";
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  write("model.safetensors", file + header + std::string(64, '\0'));
}

/// Writes a sentence-transformers model (mean, normalised; prompts for queries and documents; at most 32 tokens) that
/// Probe finds healthy and that no engine but a fake one can run: every text in bytes between two special tokens. With
/// `labels` it is a classifier, or with one a reranker.
inline void write_tiny_embedder(const std::filesystem::path& folder, const std::vector<std::string>& labels = {}) {
  write_tiny_model(folder, 32, nullptr);
  const auto write = [&](const std::filesystem::path& name, const Json& content) {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary) << dump_json(content);
  };
  Json config = {{"model_type", "bert"},   {"architectures", {"BertModel"}}, {"hidden_size", 64},
                 {"num_hidden_layers", 1}, {"num_attention_heads", 1},       {"intermediate_size", 64},
                 {"vocab_size", 269},      {"max_position_embeddings", 32}};
  if (!labels.empty()) {
    config["architectures"] = {"BertForSequenceClassification"};
    for (size_t i = 0; i < labels.size(); ++i) config["id2label"][std::to_string(i)] = labels[i];
  }
  write("config.json", config);
  Json tokenizer = tiny::tokenizer_json();
  const auto special = [](const char* token) { return Json{{"SpecialToken", {{"id", token}, {"type_id", 0}}}}; };
  const auto text = [](const char* name, int type) { return Json{{"Sequence", {{"id", name}, {"type_id", type}}}}; };
  const Json begin = special("<|im_start|>"), end = special("<|im_end|>");
  tokenizer["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", Json::array({begin, text("A", 0), end})},
      {"pair", Json::array({begin, text("A", 0), end, text("B", 1), end})},
      {"special_tokens",
       {{"<|im_start|>", {{"id", "<|im_start|>"}, {"ids", {263}}, {"tokens", {"<|im_start|>"}}}},
        {"<|im_end|>", {{"id", "<|im_end|>"}, {"ids", {264}}, {"tokens", {"<|im_end|>"}}}}}}};
  write("tokenizer.json", tokenizer);
  if (!labels.empty()) return;
  const auto module = [](int number, const char* path, const char* type) {
    return Json{{"idx", number},
                {"name", std::to_string(number)},
                {"path", path},
                {"type", std::string("sentence_transformers.models.") + type}};
  };
  write("modules.json", Json::array({module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling"),
                                     module(2, "2_Normalize", "Normalize")}));
  write("1_Pooling/config.json", {{"word_embedding_dimension", 4}, {"pooling_mode_mean_tokens", true}});
  write("config_sentence_transformers.json",
        {{"prompts", {{"query", "q: "}, {"document", ""}, {"topics", "t: "}}}, {"default_prompt_name", nullptr}});
}

/// Writes a Whisper that Probe finds healthy and that no engine but a fake one can run; its vocabulary is openai's.
inline void write_tiny_whisper(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  fs::create_directories(folder);
  std::ofstream(folder / "config.json") << R"({"model_type":"whisper","n_mels":80,"n_vocab":51865})";
  const std::string header = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  std::ofstream file(folder / "model.safetensors", std::ios::binary);
  for (int i = 0; i < 8; ++i) file.put(static_cast<char>(header.size() >> (8 * i) & 0xFF));
  file << header << std::string(4, '\0');
}

}  // namespace mlxk::testing

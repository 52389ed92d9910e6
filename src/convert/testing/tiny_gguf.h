#pragma once

#include <string>
#include <vector>

#include "gguf/testing/gguf_builder.h"

namespace mlxk::testing {

/// Float32 values that differ from each other, as bytes.
inline std::string float_bytes(uint64_t count, float start = 0) {
  std::string bytes;
  for (uint64_t i = 0; i < count; ++i) bytes += GgufBuilder::bytes(start + 0.25F * static_cast<float>(i % 1024));
  return bytes;
}

/// A one-layer model: hidden 64, inter 96, two heads of 32, one of keys and values, eight tokens.
struct TinyGguf {
  std::string architecture = "llama";
  std::vector<std::string> tokens = {"<s>", "</s>", "a", "b", "ab", "abc", "c", "d"};
  std::vector<std::string> merges = {"a b", "ab c"};
  std::string tokenizer = "gpt2", pre = "gpt-2";
  std::string left_out;  // a tensor that is not written
  GgmlType q_type = GgmlType::f32;
  std::string q_data = float_bytes(64 * 64);

  GgufBuilder builder() const {
    GgufBuilder file;
    const auto key = [&](const char* name) { return architecture + "." + name; };
    file.text("general.architecture", architecture);
    file.u32(key("block_count"), 1).u32(key("context_length"), 128).u32(key("embedding_length"), 64);
    file.u32(key("feed_forward_length"), 96).u32(key("attention.head_count"), 2).u32(key("attention.head_count_kv"), 1);
    file.f32(key("attention.layer_norm_rms_epsilon"), 1e-5F).f32(key("rope.freq_base"), 10000.0F);
    file.u32(key("attention.key_length"), 32).u32(key("attention.value_length"), 32);
    if (architecture == "gemma3") file.u32(key("attention.sliding_window"), 16);
    file.text("tokenizer.ggml.model", tokenizer).text("tokenizer.ggml.pre", pre).texts("tokenizer.ggml.tokens", tokens);
    std::vector<int32_t> kinds(tokens.size(), 1);
    kinds[0] = kinds[1] = 3;
    file.numbers("tokenizer.ggml.token_type", GgufKind::i32, kinds);
    if (tokenizer == "gpt2") file.texts("tokenizer.ggml.merges", merges);
    if (tokenizer == "llama") {
      std::vector<float> scores;
      for (size_t i = 0; i < tokens.size(); ++i) scores.push_back(-static_cast<float>(i));
      file.numbers("tokenizer.ggml.scores", GgufKind::f32, scores);
    }
    file.u32("tokenizer.ggml.bos_token_id", 0).u32("tokenizer.ggml.eos_token_id", 1);
    file.text("tokenizer.chat_template", "{{ messages[0].content }}");
    const auto tensor = [&](const std::string& name, std::vector<uint64_t> shape) {
      uint64_t count = 1;
      for (const auto size : shape) count *= size;
      if (name != left_out) file.tensor(name, shape, GgmlType::f32, float_bytes(count));
    };
    tensor("token_embd.weight", {8, 64});
    tensor("output_norm.weight", {64});
    if (left_out != "blk.0.attn_q.weight") file.tensor("blk.0.attn_q.weight", {64, 64}, q_type, q_data);
    tensor("blk.0.attn_k.weight", {32, 64});
    tensor("blk.0.attn_v.weight", {32, 64});
    tensor("blk.0.attn_output.weight", {64, 64});
    tensor("blk.0.ffn_gate.weight", {96, 64});
    tensor("blk.0.ffn_up.weight", {96, 64});
    tensor("blk.0.ffn_down.weight", {64, 96});
    tensor("blk.0.attn_norm.weight", {64});
    tensor("blk.0.ffn_norm.weight", {64});
    if (architecture == "qwen3" || architecture == "gemma3") {
      tensor("blk.0.attn_q_norm.weight", {32});
      tensor("blk.0.attn_k_norm.weight", {32});
    }
    if (architecture == "gemma3") {
      tensor("blk.0.post_attention_norm.weight", {64});
      tensor("blk.0.post_ffw_norm.weight", {64});
    }
    if (architecture == "qwen2") {
      tensor("blk.0.attn_q.bias", {64});
      tensor("blk.0.attn_k.bias", {32});
      tensor("blk.0.attn_v.bias", {32});
    }
    return file;
  }
};

}  // namespace mlxk::testing

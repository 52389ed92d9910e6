#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/embedding/encoder_block.h"

namespace mlxk {

/// Low-rank changes of a matrix, one for each task (jina-embeddings-v3): x · (W + scaling · B A)ᵀ.
struct TaskAdapter {
  std::vector<Linear> down, up;  // of each task
  float scaling = 1;

  /// What a text's task adds to the product with x [tokens, in] → [tokens, out]; nullopt where no text has one.
  std::optional<mx::array> operator()(const mx::array& x, const PackedTexts& texts) const;
};

/// A matrix and its adapter.
struct AdaptedLinear {
  Linear linear;
  TaskAdapter adapter;

  mx::array operator()(const mx::array& x, const PackedTexts& texts) const;
};

/// The adapters that a checkpoint has.
struct TaskAdapters {
  std::vector<std::string> tasks;  // lora_adaptations; empty: there are none
  int rank = 0;
  float scaling = 1;  // lora_alpha / rank

  /// Reads lora_adaptations, lora_rank and lora_alpha and splits the tensors lora_A and lora_B by task; throws
  /// bad_model naming the key. Without tensors there are no tasks.
  static TaskAdapters read(const Config& config, Weights& weights);

  AdaptedLinear linear(const WeightPath& path, int in, int out) const;
  /// What is added to the embeddings of ids and token types; null without tasks.
  std::function<mx::array(const mx::array& x, const EncoderInputs& inputs)> of_embeddings(const WeightPath& embeddings,
                                                                                          int vocab_size,
                                                                                          int type_vocab_size,
                                                                                          int hidden_size) const;
};

/// A layer of XLM-RoBERTa with rotary positions whose matrices all have adapters.
std::unique_ptr<EncoderLayer> make_adapted_layer(const EncoderConfig& c, const TaskAdapters& adapters,
                                                 const WeightPath& path, const Rotation& rotation);

}  // namespace mlxk

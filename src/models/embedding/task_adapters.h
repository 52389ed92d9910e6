#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/embedding/encoder_block.h"

namespace mlxk {

/// Low-rank updates of a matrix, one for each task (jina-embeddings-v3): x · (W + scaling · B A)ᵀ.
struct TaskAdapter {
  std::vector<Linear> down, up;  // one per task
  float scaling = 1;

  /// The update of a text's task, added to the product with x [tokens, in] → [tokens, out]; nullopt if no text has a
  /// task.
  std::optional<mx::array> operator()(const mx::array& x, const PackedTexts& texts) const;
};

/// A matrix and its adapter.
struct AdaptedLinear {
  Linear linear;
  TaskAdapter adapter;

  mx::array operator()(const mx::array& x, const PackedTexts& texts) const;
};

/// The adapters of a checkpoint.
struct TaskAdapters {
  std::vector<std::string> tasks;  // lora_adaptations; empty: none
  int rank = 0;
  float scaling = 1;  // lora_alpha / rank

  /// Reads lora_adaptations, lora_rank and lora_alpha and splits the tensors lora_A and lora_B by task; throws
  /// bad_model naming the key. Without such tensors there are no tasks.
  static TaskAdapters read(const Config& config, Weights& weights);

  AdaptedLinear linear(const WeightPath& path, int in, int out) const;
  /// The update of the embeddings of ids and token types; null without tasks.
  std::function<mx::array(const mx::array& x, const EncoderInputs& inputs)> of_embeddings(const WeightPath& embeddings,
                                                                                          int vocab_size,
                                                                                          int type_vocab_size,
                                                                                          int hidden_size) const;
};

/// A layer of XLM-RoBERTa with rotary positions whose matrices all have adapters.
std::unique_ptr<EncoderLayer> make_adapted_layer(const EncoderConfig& c, const TaskAdapters& adapters,
                                                 const WeightPath& path, const Rotation& rotation);

}  // namespace mlxk

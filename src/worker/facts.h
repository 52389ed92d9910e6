#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "worker/embedding.h"

namespace mlxk {

/// The sizes of a speech model that its callers need.
struct SpeechFacts {
  int mels = 0;             // features of a frame; 1: raw samples
  int frames = 0;           // of a window, 100 per second; 0: as many as there are
  int audio_positions = 0;  // of a window, in its attention scores
  int text_positions = 0;   // prompt and answer; 0: it decodes frame by frame
};

struct DeviceFacts {
  std::string name;  // "cpu", "metal", "cuda"
  std::string mlx_version;
  std::string kernels;   // the CPU kernels' instruction set; empty on a GPU
  std::string gpu = {};  // the GPU's name; empty on the CPU
  uint64_t gpu_memory_bytes = 0;
};

struct ModelFacts {
  std::string model_type;
  int64_t vocab_size = 0;      // rows of the embedding: ids at or past it are refused
  int64_t context_length = 0;  // 0: unknown
  uint64_t weight_bytes = 0;
  std::optional<SpeechFacts> speech;        // of a speech model
  std::optional<EmbeddingFacts> embedding;  // of an embedding model
  // Up to this many tokens of text a step can compute several positions and forget them again (drafts); 0: never.
  int64_t speculative_tokens = std::numeric_limits<int64_t>::max();
  uint64_t draft_weight_bytes = 0;  // of the draft model, not part of weight_bytes; 0: no draft model
};

/// The sizes and hits of a model's caches, for metrics.
struct CacheFacts {
  uint64_t kv_bytes = 0;  // of running requests
  uint64_t prefix_bytes = 0, prefix_disk_bytes = 0;
  uint64_t prefix_entries = 0;
  uint64_t hit_tokens = 0, lookup_tokens = 0;  // since the load
  uint64_t drafted_tokens = 0, accepted_tokens = 0;
};

}  // namespace mlxk

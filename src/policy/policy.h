#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "probe/built_in.h"
#include "probe/model_info.h"

namespace mlxk {

/// The memory that a model must fit into.
struct Machine {
  uint64_t memory_bytes = 0;  // of the device; 0: unknown, the limits do not apply
  uint64_t free_bytes = 0;    // now; 0: unknown
  std::string device;         // "system" (RAM), "GPU"
};

enum class Context { cli, server };
struct RequestFacts {
  Context context = Context::cli;
  bool has_images = false;
  bool has_audio = false;
  EncoderTask encodes = EncoderTask::none;  // the embedding task, instead of text
};

enum class Route { text, vision, speech, embedding, none };  // vision: with all encoders, also the audio encoder

/// The outcome of Policy: a value, never an exception.
struct Decision {
  enum class Kind { allow, warn, block } kind = Kind::allow;
  Route route = Route::none;
  int http_status = 200;
  std::string error_type;  // capability_mismatch, missing_dependency, …
  std::string message;     // for warn and block
};

/// Pure: the table of docs/architecture.md, first match wins.
Decision decide(const ModelInfo& model, const Machine& machine, const RequestFacts& request,
                const BuiltIn& built = built_in());

/// Whether weights of `bytes` leave 30 % of the machine's memory to everything else; true if that is unknown.
bool fits_memory(uint64_t bytes, const Machine& machine);

/// RAM within the cgroup's limit, VRAM on CUDA, unified memory on macOS; MLXK_MEMORY_LIMIT=BYTES overrides (throws
/// usage if it is not a number). Starts no device.
Machine this_machine();

}  // namespace mlxk

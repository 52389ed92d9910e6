#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "commands/command.h"
#include "serving/embedder.h"

namespace mlxk {

/// The rows that `embed` and `rerank` share: --truncate, --batch-size, --cpu, --threads, --verbose, --json.
std::vector<Option> encoder_options();
Truncate read_truncate(const Args& args);
/// Throws unsupported for --cpu if this build computes on a GPU.
void check_cpu(const Args& args);

/// Runs the command `work`; its failures get the JSON types of MLX Knife's embed: ModelNotFound, …, and `mismatch` for
/// a model of another kind.
int with_encoder_errors(const char* mismatch, const std::function<int()>& work);

/// --verbose: prints the times in seconds, the counts and the speed on stderr.
void print_speed(double load_s, int64_t texts, int64_t tokens, double compute_s);

/// "gpu" or "cpu".
std::string device_word(Embedder& embedder);
/// "org/name", or a folder's name.
std::string shown_name(const ModelInfo& info);

/// Adds the text's name to an error: "text 3: has 300 tokens; …". Throws invalid for texts that `encode` refuses.
template <class Encode>
auto encode_as(const std::string& place, Encode encode) {
  try {
    return encode();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) throw;
    throw Error(error.kind(), place + " " + error.what(), error.hint());
  }
}

}  // namespace mlxk

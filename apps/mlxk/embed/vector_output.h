#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"
#include "worker/embedding.h"

namespace mlxk {

/// The output for one text.
struct TextVectors {
  std::optional<std::vector<float>> vector = {};               // "embedding"
  std::optional<TokenWeights> sparse = {};                     // "sparse_embedding": {"indices", "values"}
  std::optional<std::vector<std::vector<float>>> tokens = {};  // "embeddings", one per token
  Json predictions = {};                                       // for a mask token; null: not requested
};

/// Receives vectors one after the other.
class VectorOutput {
 public:
  virtual ~VectorOutput() = default;
  /// `fields`: the text's fields.
  virtual void add(const Json& fields, const TextVectors& vectors) = 0;
  /// Called after the last vector.
  virtual void finish() = 0;
};

/// JSON Lines on stdout: `fields` with the output and "metadata".
std::unique_ptr<VectorOutput> json_lines_output(Json metadata);
/// One document on stdout, the envelope of --json, with the same content as "records".
std::unique_ptr<VectorOutput> envelope_output(Json metadata);
/// NumPy's file `path`, float32 [texts, dimensions], of text vectors alone; it appears once it is complete. Throws io.
std::unique_ptr<VectorOutput> npy_output(const std::string& path);

}  // namespace mlxk

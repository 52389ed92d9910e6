#pragma once

#include <memory>
#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// Receives vectors one after the other.
class VectorOutput {
 public:
  virtual ~VectorOutput() = default;
  /// `fields`: the text's fields.
  virtual void add(const Json& fields, const std::vector<float>& vector) = 0;
  /// Called after the last vector.
  virtual void finish() = 0;
};

/// JSON Lines on stdout: `fields` with "embedding" and "metadata".
std::unique_ptr<VectorOutput> json_lines_output(Json metadata);
/// One document on stdout, the envelope of --json, with the same content as "records".
std::unique_ptr<VectorOutput> envelope_output(Json metadata);
/// NumPy's file `path`, float32 [texts, dimensions]; it appears once it is complete. Throws io.
std::unique_ptr<VectorOutput> npy_output(const std::string& path);

}  // namespace mlxk

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "models/model.h"
#include "worker/request.h"

namespace mlxk {

/// The most bytes that are allocated at once while the stages of `media` and then its features are evaluated in order,
/// as MediaPrompt does: found by walking the graph, of which nothing is evaluated.
uint64_t evaluation_peak(const EncodedMedia& media);

/// The memory that the images and recordings of requests need. Worker thread.
class MediaMemory {
 public:
  explicit MediaMemory(Model& model) : model_(model) {}
  /// The most bytes for those of `request`, which was checked: their data, the encoder's arrays, the features, and the
  /// keys and values of layers that attend to them. Throws invalid if the encoder does not accept one.
  uint64_t bytes(const GenerateRequest& request);

 private:
  struct Size {
    uint64_t peak = 0;  // while it is encoded
    uint64_t kept = 0;  // until the request ends
  };
  const Size& size_of(const MediaItem& item);
  const Size& size_of_prompt(int tokens);
  uint64_t cross_bytes(const mx::array& features);

  Model& model_;
  std::map<std::string, Size> sizes_;  // by what they depend on: the kind, shape and grid of the data
};

}  // namespace mlxk

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "models/model.h"
#include "worker/request.h"

namespace mlxk {

/// The peak number of bytes allocated while the stages of `media`, then its features, are evaluated in order, as
/// MediaPrompt does. Walks the graph without evaluating it.
uint64_t evaluation_peak(const EncodedMedia& media);

/// What libmlx's products and convolutions may take beside their arrays: on CUDA, cuBLASLt's workspace.
uint64_t media_workspace_bytes();

/// Computes how much memory the images and recordings of a request need. Worker thread.
class MediaMemory {
 public:
  explicit MediaMemory(Model& model) : model_(model) {}
  /// The peak number of bytes for the media of `request`, which must be validated: their data, the encoder's arrays,
  /// the features, and the keys and values of layers that attend to them. Throws invalid if the encoder rejects one.
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
  std::map<std::string, Size> sizes_;  // keyed by the kind, shape and grid of the data
};

}  // namespace mlxk

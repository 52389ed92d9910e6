#pragma once

#include <filesystem>
#include <memory>

#include "models/embedding/encoder.h"
#include "worker/backend.h"

namespace mlxk {

/// An embedding model that answers with `encoder` and what the files in `dir` put behind it: a pooling, or the weights'
/// own classifier. In each step texts of all requests are computed, packed without padding. Throws what
/// read_embedding_config throws, and bad_model for weights of modules. Worker thread.
std::unique_ptr<EmbeddingModel> make_embedding_model(std::unique_ptr<Encoder> encoder,
                                                     const std::filesystem::path& dir);

}  // namespace mlxk

#pragma once

#include <filesystem>
#include <memory>

#include "models/embedding/encoder.h"
#include "worker/backend.h"

namespace mlxk {

/// An embedding model that runs `encoder` and then the pooling that the files in `dir` describe, or the weights' own
/// classifier. Each step computes texts of all requests, packed without padding. Throws like read_embedding_config, and
/// bad_model for the weights of modules. Worker thread.
std::unique_ptr<EmbeddingModel> make_embedding_model(std::unique_ptr<Encoder> encoder,
                                                     const std::filesystem::path& dir);

}  // namespace mlxk

#pragma once

#include <vector>

#include "selftest/selftest.h"

namespace mlxk {

/// All checks of an embedding model, a reranker or a classifier, in their order.
void check_embedding_model(Worker& worker, const ServedEmbedding& model, const SelftestOptions& options,
                           SelftestResult& result);

}  // namespace mlxk

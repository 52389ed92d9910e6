#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/request.h"

namespace mlxk {

/// The key of a prompt in the prefix cache.
struct PrefixKey {
  std::string scope;            // GenerateRequest::cache_scope
  std::vector<int32_t> tokens;  // the prompt, the placeholders of media replaced by words of their digests
  bool shareable = true;        // false: no other prompt can share a part of it
};

/// Two prompts with different images never have equal keys: a negative number, which no token id is, stands for each
/// placeholder.
PrefixKey prefix_key(const GenerateRequest& request);

}  // namespace mlxk

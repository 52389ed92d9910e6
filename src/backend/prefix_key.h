#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/request.h"

namespace mlxk {

/// The key of a prompt in the prefix cache.
struct PrefixKey {
  std::string scope;            // GenerateRequest::cache_scope
  std::vector<int32_t> tokens;  // the prompt, with words of the digests in place of media placeholders
  bool shareable = true;        // false: no other prompt can share a part of it
};

/// Returns the key of a prompt. Prompts with different images never have equal keys: each placeholder is replaced by a
/// negative number, which no token id is.
PrefixKey prefix_key(const GenerateRequest& request);

}  // namespace mlxk

#pragma once

#include <vector>

#include "models/text/decoder.h"

namespace mlxk {

/// Which layers of a decoder read the keys and values of an earlier one: the last `num_kv_shared_layers` do, each those
/// of the last earlier layer of its type.
struct SharedKv {
  /// Throws bad_model if there is no such layer.
  static SharedKv read(const Config& config, const DecoderConfig& c);

  std::vector<int> source;    // per layer: the one that it reads; -1: it has its own
  std::vector<bool> is_read;  // per layer: others read it

  /// The caches of a layer. A cache that others read keeps all tokens: a ring would have overwritten some.
  std::vector<std::unique_ptr<Cache>> make_caches(int layer, int rows, int window) const;
  /// The window of a layer's mask, 0 if its cache is a ring of that size already.
  int mask_window(int layer, int window) const;
};

}  // namespace mlxk

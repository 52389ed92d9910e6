#pragma once

#include <vector>

#include "models/text/decoder.h"

namespace mlxk {

/// Which layers of a decoder read the keys and values of an earlier one: the last `num_kv_shared_layers` do, each those
/// of the last layer before them that has its type.
struct SharedKv {
  /// Throws bad_model where there is no such layer.
  static SharedKv read(const Config& config, const DecoderConfig& c);

  std::vector<int> source;    // of each layer: the one that it reads; -1: it has its own
  std::vector<bool> is_read;  // of each layer: others read it

  /// The caches of a layer. One that others read keeps all tokens: a ring would have overwritten some.
  std::vector<std::unique_ptr<Cache>> make_caches(int layer, int rows, int window) const;
  /// The window of a layer's mask, 0 where its cache is a ring of that size already.
  int mask_window(int layer, int window) const;
};

}  // namespace mlxk

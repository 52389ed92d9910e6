#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mlx/array.h"
#include "nn/positions.h"

namespace mlxk {

/// Which tokens the queries of a layer see, by position.
struct MaskRequest {
  struct Range {
    int row, begin, end;
    bool operator==(const Range&) const = default;
  };

  bool causal = true;         // no later ones
  int window = 0;             // the newest `window` tokens, including the query's own; 0: all
  int chunk = 0;              // those in the query's own chunk of `chunk` positions; 0: all
  std::vector<Range> ranges;  // tokens of one range also see each other, regardless of the other fields (images)

  bool operator==(const MaskRequest&) const = default;
  /// Whether it is causal with at most a window, which kernels compute themselves.
  bool is_plain() const { return causal && chunk == 0 && ranges.empty(); }
};

/// Which keys each query sees, in the form that scaled_dot_product_attention takes.
struct AttentionMask {
  std::string mode;                // "": all, "causal", "array"
  std::optional<mx::array> array;  // additive or bool (true: seen), [B or 1, 1, L, T]
  bool given = false;              // the array is the mask, T by position; else causality and windows describe it fully
  MaskRequest request = {};        // the request that this mask answers
};

/// The request for row `row` of a batch, as its only row.
MaskRequest request_of_row(MaskRequest request, int row);

/// The array for `request`, [B or 1, 1, L, T] bool: queries are at positions.order(), keys at `keys` [B or 1, 1, 1, T]
/// int32, where -1 is no token.
mx::array mask_array(const MaskRequest& request, const Positions& positions, const mx::array& keys);

}  // namespace mlxk

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mlx/array.h"
#include "nn/positions.h"

namespace mlxk {

/// Which tokens the queries of a layer are to see, by their positions.
struct MaskRequest {
  struct Range {
    int row, begin, end;
    bool operator==(const Range&) const = default;
  };

  bool causal = true;         // no later ones
  int window = 0;             // the newest so many, the query's own among them; 0: all
  int chunk = 0;              // those in the query's own stretch of so many positions; 0: all
  std::vector<Range> ranges;  // tokens of one range also see each other, whatever the rest says (images)

  bool operator==(const MaskRequest&) const = default;
  /// Whether it is causal with a window at most, which kernels compute by themselves.
  bool is_plain() const { return causal && chunk == 0 && ranges.empty(); }
};

/// Which keys each query sees, in the form that scaled_dot_product_attention takes.
struct AttentionMask {
  std::string mode;                // "": all, "causal", "array"
  std::optional<mx::array> array;  // additive or bool (true: seen), [B or 1, 1, L, T]
  bool given = false;              // the array counts, T by position; else causality and windows say it all
  MaskRequest request = {};        // which this is the answer to
};

/// The request for row `row` of a batch, as its only row.
MaskRequest request_of_row(MaskRequest request, int row);

/// The array of `request`, [B or 1, 1, L, T] bool: queries stand at positions.order(), keys at `keys` [B or 1, 1, 1, T]
/// int32, where -1 is no token.
mx::array mask_array(const MaskRequest& request, const Positions& positions, const mx::array& keys);

}  // namespace mlxk

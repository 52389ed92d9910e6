#include "models/text/clipped_attention.h"

#include "mlx/ops.h"

namespace mlxk {
namespace {

class ClippedAttention : public DecoderLayer {
 public:
  ClippedAttention(SelfAttention block, int window, float limit)
      : block_(std::move(block)), window_(window), limit_(limit) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    Qkv qkv = block_.qkv(x);
    for (mx::array* part : {&qkv.q, &qkv.k, &qkv.v}) {
      *part = mx::clip(*part, mx::array(-limit_, part->dtype()), mx::array(limit_, part->dtype()));
    }
    return block_.out(block_.attention(qkv, caches.attention(), in), x);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows, window_); }

 private:
  SelfAttention block_;
  int window_;
  float limit_;
};

}  // namespace

std::unique_ptr<Model> make_clipped_decoder(const BlockConfig& c, const WeightPath& root, float limit) {
  if (limit == 0) return make_block_decoder(c, root);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    auto attention = std::make_unique<ClippedAttention>(make_block_attention(c, layer, path),
                                                        c.windows[static_cast<size_t>(layer)], limit);
    parts.layers.push_back(make_block(c, layer, path, std::move(attention)));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), root.weights().activation_type());
}

}  // namespace mlxk

#include "models/vision/vit.h"

#include <algorithm>
#include <cmath>

#include "mlx/ops.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

mx::array joined(const std::vector<mx::array>& parts) {
  return parts.size() == 1 ? parts.front() : mx::concatenate(parts, 1);
}

/// The size of the pieces if `count` items are split into pieces of at most `most`, about equally.
int even_piece(int count, double most) {
  const int pieces = static_cast<int>(std::ceil(count / std::max(1.0, most)));
  return (count + pieces - 1) / pieces;
}

/// The path of a matrix below `path`.
WeightPath matrix_at(const VitOptions& o, const WeightPath& path, const char* name) {
  return o.linear ? path / name / o.linear : path / name;
}

NormQkv make_projection(const VisionConfig& c, const VitOptions& o, const WeightPath& path) {
  const VitNames& n = o.names;
  const WeightPath attention = *n.attention ? path / n.attention : path;
  const int hidden = c.hidden_size, width = c.num_attention_heads * c.head_dim;
  const auto head_norm = [&](const char* name) -> std::optional<HeadNorm> {
    if (!name) return std::nullopt;
    return HeadNorm(make_norm(o.qk_norm, attention / name, o.qk_norm_whole ? width : c.head_dim, c.eps),
                    o.qk_norm_whole);
  };
  std::vector<Linear> qkv;
  if (n.qkv) {
    qkv = Linear(matrix_at(o, attention, n.qkv), hidden, 3 * width, o.qkv_bias).split({width, width, width});
  } else {
    for (const char* name : {n.q, n.k, n.v}) {
      const bool bias = o.qkv_bias && (name != n.k || o.k_bias);
      qkv.emplace_back(matrix_at(o, attention, name), hidden, width, bias);
    }
  }
  NormQkv made{make_norm(o.norm, path / n.norm1, hidden, c.eps),
               qkv[0],
               qkv[1],
               qkv[2],
               head_norm(n.q_norm),
               head_norm(n.k_norm),
               c.head_dim};
  if (o.v_norm) made.v_norm = HeadNorm(RmsNorm(c.head_dim, c.eps));
  return made;
}

std::optional<Norm> norm_at(const VisionConfig& c, const VitOptions& o, const WeightPath& path, const char* name) {
  return name ? std::optional(make_norm(o.norm, path / name, c.hidden_size, c.eps)) : std::nullopt;
}

OutResidual make_output(const VisionConfig& c, const VitOptions& o, const WeightPath& path) {
  const WeightPath attention = *o.names.attention ? path / o.names.attention : path;
  return {Linear(matrix_at(o, attention, o.names.out), c.num_attention_heads * c.head_dim, c.hidden_size, o.out_bias),
          norm_at(c, o, path, o.names.post_norm1)};
}

std::optional<mx::array> scale_at(const VisionConfig& c, const VitOptions& o, const WeightPath& path,
                                  const char* name) {
  if (!name) return std::nullopt;
  return o.gates ? mx::tanh(path.take(name, {1})) : path.take(name, {c.hidden_size});
}

}  // namespace

VitBlock::VitBlock(const VisionConfig& c, const VitOptions& o, const WeightPath& path)
    : heads_(c.num_attention_heads),
      scale_(o.attention_scale > 0 ? o.attention_scale : 1 / std::sqrt(static_cast<float>(c.head_dim))),
      project_(make_projection(c, o, path)),
      out_(make_output(c, o, path)),
      scale1_(scale_at(c, o, path, o.names.scale1)),
      scale2_(scale_at(c, o, path, o.names.scale2)) {
  const VitNames& n = o.names;
  const WeightPath mlp = *n.mlp ? path / n.mlp : path;
  const int hidden = c.hidden_size, wide = c.intermediate_size;
  const Norm norm = make_norm(o.norm, path / n.norm2, hidden, c.eps);
  const auto post_norm = norm_at(c, o, path, n.post_norm2);
  if (n.gate) {
    gated_ = GatedMlpResidual{norm,
                              Linear(matrix_at(o, mlp, n.gate), hidden, wide, o.mlp_bias),
                              Linear(matrix_at(o, mlp, n.up), hidden, wide, o.mlp_bias),
                              Linear(matrix_at(o, mlp, n.down), wide, hidden, o.mlp_bias),
                              post_norm,
                              c.activation};
  } else {
    mlp_ = MlpResidual{norm, Linear(matrix_at(o, mlp, n.fc1), hidden, wide, o.mlp_bias),
                       Linear(matrix_at(o, mlp, n.fc2), wide, hidden, o.mlp_bias), c.activation, post_norm};
  }
  if (o.clamps) {
    const WeightPath attention = *n.attention ? path / n.attention : path;
    const auto clamp = [&](const WeightPath& at, const Linear& linear) {
      const auto limit = [&](const char* name) -> std::optional<mx::array> {
        return at.has(name) ? std::optional(at.take(name, {})) : std::nullopt;
      };
      clamped_.push_back({linear, limit("input_min"), limit("input_max"), limit("output_min"), limit("output_max")});
    };
    clamp(attention / n.q, project_.q);
    clamp(attention / n.k, *project_.k);
    clamp(attention / n.v, *project_.v);
    clamp(attention / n.out, out_.out);
    clamp(mlp / n.gate, gated_->gate);
    clamp(mlp / n.up, gated_->up);
    clamp(mlp / n.down, gated_->down);
  }
  flops_ = 2.0 * hidden * (4.0 * heads_ * c.head_dim + (n.gate ? 3.0 : 2.0) * wide);
}

mx::array ClampedLinear::operator()(const mx::array& x) const {
  const auto within = [](mx::array y, const std::optional<mx::array>& low, const std::optional<mx::array>& high) {
    if (low) y = mx::maximum(y, mx::astype(*low, y.dtype()));
    return high ? mx::minimum(y, mx::astype(*high, y.dtype())) : y;
  };
  return within(linear(within(x, input_min, input_max)), output_min, output_max);
}

Qkv VitBlock::project(const mx::array& x) const {
  if (clamped_.empty()) return project_(x);
  const mx::array h = (*project_.norm)(x);
  mx::array v = clamped_[2](h);
  if (project_.v_norm) v = (*project_.v_norm)(v, project_.head_dim);
  return {clamped_[0](h), clamped_[1](h), v, project_.head_dim, project_.q_norm, project_.k_norm};
}

mx::array VitBlock::feed_forward(const mx::array& x) const {
  if (!clamped_.empty()) {
    const mx::array h = (*gated_->norm)(x);
    const mx::array y = clamped_[6](activate_gated(gated_->activation, clamped_[4](h), clamped_[5](h)));
    return mx::add(x, gated_->post_norm ? (*gated_->post_norm)(y) : y);
  }
  if (!scale2_) return gated_ ? (*gated_)(x) : (*mlp_)(x);
  const mx::array none = mx::zeros({1}, x.dtype());
  const mx::array y = gated_ ? (*gated_)(x, none) : (*mlp_)(x, none);
  return mx::add(x, mx::multiply(y, mx::astype(*scale2_, x.dtype())));
}

mx::array VitBlock::finish(const mx::array& attended, const mx::array& x) const {
  if (!clamped_.empty()) {
    const mx::array y = clamped_[3](attended);
    return feed_forward(mx::add(x, out_.norm ? (*out_.norm)(y) : y));
  }
  if (!scale1_) return feed_forward(out_(attended, x));
  const mx::array y = out_.out(attended);
  return feed_forward(mx::add(x, mx::multiply(y, mx::astype(*scale1_, x.dtype()))));
}

mx::array VitBlock::operator()(const mx::array& x, const PatchOrder& order, std::vector<mx::array>& stages) const {
  const int count = x.shape(1), width = project_.q.out();
  const auto piece_of = [&](double flops) { return even_piece(count, rows_of_a_piece(flops)); };
  std::vector<mx::array> qs, ks, vs;
  const int projected = piece_of(flops_);
  for (int begin = 0; begin < count; begin += projected) {
    const Qkv one = project(row_range(x, begin, std::min(count, begin + projected)));
    qs.push_back(one.q_norm ? (*one.q_norm)(one.q, one.head_dim) : one.q);
    ks.push_back(one.k_norm ? (*one.k_norm)(one.k, one.head_dim) : one.k);
    vs.push_back(one.v);
    if (projected < count) stages.push_back(vs.back());
  }
  mx::array q = joined(qs), k = joined(ks);
  const mx::array v = joined(vs);
  if (order.rotation) {
    q = (*order.rotation)(q, project_.head_dim);
    k = (*order.rotation)(k, project_.head_dim);
  }

  std::vector<mx::array> done;
  const auto add = [&](const mx::array& attended, int begin, int end) {
    done.push_back(finish(attended, row_range(x, begin, end)));
    stages.push_back(done.back());
  };
  if (order.segments.empty()) {
    const int piece = piece_of(flops_ + 4.0 * count * width), real = count - order.padding;
    for (int begin = 0; begin < count;) {
      const bool pads = begin >= real;
      const int end = std::min(pads ? count : real, begin + piece), seen = pads ? real : count;
      add(attend_to_all(row_range(q, begin, end), row_range(k, 0, seen), row_range(v, 0, seen), heads_, scale_), begin,
          end);
      begin = end;
    }
  }
  int begin = 0;
  for (const Segments& all : order.segments) {
    const int together = even_piece(all.count, rows_of_a_piece(flops_ + 4.0 * all.length * width) / all.length);
    for (int first = 0; first < all.count; first += together) {
      const int segments = std::min(together, all.count - first), end = begin + segments * all.length;
      const auto own = [&](const mx::array& y) {
        return mx::reshape(row_range(y, begin, end), {segments, all.length, -1});
      };
      const mx::array attended = attend_to_all(own(q), own(k), own(v), heads_, scale_);
      add(mx::reshape(attended, {1, end - begin, width}), begin, end);
      begin = end;
    }
  }
  return joined(done);
}

Vit::Vit(const VisionConfig& c, const VitOptions& options, const WeightPath& path, int layers) {
  for (int i = 0; i < layers; ++i) blocks_.emplace_back(c, options, path / i);
}

mx::array Vit::operator()(mx::array x, const PatchOrder& order, std::vector<mx::array>& stages) const {
  for (const VitBlock& block : blocks_) x = block(x, order, stages);
  return x;
}

std::vector<mx::array> Vit::states(mx::array x, const PatchOrder& order, std::vector<mx::array>& stages) const {
  std::vector<mx::array> all{x};
  for (const VitBlock& block : blocks_) all.push_back(block(all.back(), order, stages));
  return all;
}

}  // namespace mlxk

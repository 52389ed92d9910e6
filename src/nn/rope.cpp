// Rotary embeddings (https://arxiv.org/abs/2104.09864) and their extensions to longer contexts: dynamic NTK, YaRN
// (https://arxiv.org/abs/2309.00071), LongRoPE (https://arxiv.org/abs/2402.13753), Llama 3.1's and M-RoPE.
#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mlx/fast.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

constexpr double kTau = 6.283185307179586;

mx::array to_array(const std::vector<float>& values) {
  return mx::array(values.begin(), {static_cast<int>(values.size())}, mx::float32);
}

std::vector<float> powers(double theta, int dims) {
  std::vector<float> periods;
  for (int i = 0; i < dims; i += 2) periods.push_back(static_cast<float>(std::pow(theta, double(i) / dims)));
  return periods;
}

std::vector<float> llama3_periods(const RopeSettings& s) {
  std::vector<float> periods = powers(s.theta, s.dims);
  double low = s.original_positions / s.low_freq_factor, high = s.original_positions / s.high_freq_factor;
  for (float& period : periods) {
    double wave = kTau * period;
    if (wave > low) {
      period = static_cast<float>(period * s.factor);
    } else if (wave > high) {
      double smooth = (s.original_positions / wave - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
      period = static_cast<float>(period / ((1 - smooth) / s.factor + smooth));
    }
  }
  return periods;
}

double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1; }

std::vector<float> yarn_periods(const RopeSettings& s) {
  auto correction = [&](double rotations) {
    return s.dims * std::log(s.original_positions / (rotations * kTau)) / (2 * std::log(s.theta));
  };
  double low = std::max(std::floor(correction(s.beta_fast)), 0.0);
  double high = std::min(std::ceil(correction(s.beta_slow)), double(s.dims - 1));
  if (low == high) high += 0.001;
  std::vector<float> periods = powers(s.theta, s.dims);
  for (size_t i = 0; i < periods.size(); ++i) {
    double kept = 1 - std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    double extended = s.factor * periods[i];
    periods[i] = static_cast<float>(extended * periods[i] / (extended * kept + periods[i] * (1 - kept)));
  }
  return periods;
}

std::vector<float> times(std::vector<float> periods, const std::vector<float>& factors) {
  for (size_t i = 0; i < periods.size(); ++i) periods[i] *= factors[i];
  return periods;
}

double longrope_scale(const RopeSettings& s) {
  if (s.attention_factor > 0) return s.attention_factor;
  double factor = s.factor > 0 ? s.factor : double(s.max_positions) / double(s.original_positions);
  return factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(double(s.original_positions)));
}

std::vector<float> proportional_periods(const RopeSettings& s) {
  std::vector<float> periods = powers(s.theta, s.dims);
  for (size_t i = 0; i < periods.size(); ++i) {
    bool turns = 2 * static_cast<int>(i) < s.rotated;
    periods[i] = turns ? static_cast<float>(periods[i] * s.factor) : std::numeric_limits<float>::infinity();
  }
  return periods;
}

// Which of the three position axes rotates each pair of dimensions.
std::vector<int> mrope_axes(const RopeSettings& s) {
  std::vector<int> axes;
  if (!s.mrope_interleaved) {
    for (int axis = 0; axis < 3; ++axis) axes.insert(axes.end(), s.mrope_section[axis], axis);
    return axes;
  }
  for (int pair = 0; pair < s.dims / 2; ++pair) {
    int axis = pair % 3;
    axes.push_back(axis != 0 && pair < 3 * s.mrope_section[axis] ? axis : 0);
  }
  return axes;
}

}  // namespace

Rope::Rope(const RopeSettings& settings) : settings_(settings) {
  const RopeSettings& s = settings_;
  std::vector<float> periods = powers(s.theta, s.dims), short_periods;
  bool plain = false;
  if (s.type == "llama3") {
    periods = llama3_periods(s);
  } else if (s.type == "proportional") {
    periods = proportional_periods(s);
  } else if (s.type == "yarn") {
    periods = yarn_periods(s);
    double ratio = yarn_mscale(s.factor, s.mscale) / yarn_mscale(s.factor, s.mscale_all_dim);
    input_scale_ = static_cast<float>(s.attention_factor > 0 ? s.attention_factor : ratio);
  } else if (s.type == "longrope") {
    short_periods = times(periods, s.short_factor);
    periods = times(periods, s.long_factor);
    input_scale_ = static_cast<float>(longrope_scale(s));
  } else {
    plain = true;
  }
  if (s.type == "linear") scale_ = static_cast<float>(1 / s.factor);
  if (!plain) freqs_ = to_array(periods);
  if (!short_periods.empty()) short_freqs_ = to_array(short_periods);
  for (float period : periods) inv_freq_.push_back(scale_ / period);
  for (float period : short_periods) short_inv_freq_.push_back(scale_ / period);
}

Rotation Rope::rotation(const Positions& positions) const {
  Rotation own{inv_freq_, input_scale_, settings_.traditional};
  if (positions.given && positions.given->ndim() == 3) own.axes = checked_axes();
  if (settings_.type != "dynamic" && settings_.type != "longrope") return own;
  own.steps.clear();  // these depend on the row's length
  own.rows = positions.uniform ? 1 : positions.rows();
  for (int row = 0; row < own.rows; ++row) {
    const int end = positions.end(row);
    if (settings_.type == "longrope") {
      const auto& steps = is_long(end) ? inv_freq_ : short_inv_freq_;
      own.steps.insert(own.steps.end(), steps.begin(), steps.end());
    } else {
      for (float period : powers(dynamic_base(end), settings_.dims)) own.steps.push_back(1 / period);
    }
  }
  return own;
}

std::vector<int> Rope::checked_axes() const {
  if (settings_.mrope_section.empty()) {
    throw Error(ErrorKind::invalid, "[rope] this model takes positions [B, L], got [3, B, L]");
  }
  return mrope_axes(settings_);
}

bool Rope::is_long(int end) const { return end > settings_.original_positions; }

double Rope::dynamic_base(int end) const {
  const RopeSettings& s = settings_;
  double stretch = s.factor * std::max<double>(end, s.max_positions) / s.max_positions - (s.factor - 1);
  return s.theta * std::pow(stretch, double(s.dims) / (s.dims - 2));
}

mx::array Rope::frequencies(const Positions& positions) const {
  const RopeSettings& s = settings_;
  auto inverse = [](const mx::array& periods) { return mx::reciprocal(periods); };
  if (s.type != "dynamic" && s.type != "longrope") {
    return inverse(freqs_ ? *freqs_ : to_array(powers(s.theta, s.dims)));
  }
  std::vector<mx::array> rows;  // these depend on the row's length
  for (int row = 0; row < positions.rows(); ++row) {
    int end = positions.end(row);
    if (s.type == "dynamic") {
      rows.push_back(inverse(to_array(powers(dynamic_base(end), s.dims))));
    } else {
      rows.push_back(inverse(is_long(end) ? *freqs_ : *short_freqs_));
    }
  }
  return mx::reshape(mx::stack(rows), {positions.rows(), 1, 1, s.dims / 2});
}

mx::array Rope::angles(const Positions& positions) const {
  const RopeSettings& s = settings_;
  mx::array steps = frequencies(positions);
  if (positions.given && positions.given->ndim() == 3) {
    std::vector<int> axes = checked_axes();
    mx::array axis_of_pair(axes.begin(), {s.dims / 2}, mx::int32);
    mx::array table = mx::transpose(mx::take(*positions.given, axis_of_pair, 0), {1, 2, 0});  // [B, L, dims / 2]
    return mx::multiply(mx::expand_dims(mx::astype(table, mx::float32), 1), steps);
  }
  mx::array table = mx::astype(positions.given ? *positions.given : positions.order(), mx::float32);
  table = mx::reshape(table, {positions.rows(), 1, positions.length, 1});
  return mx::multiply(mx::multiply(table, mx::array(scale_)), steps);
}

mx::array Rope::rotate(const mx::array& x, const mx::array& angles) const {
  int dims = settings_.dims, half = dims / 2, head_dim = x.shape(3);
  mx::Shape low{0, 0, 0, 0}, high = x.shape();
  auto part = [&](int begin, int end, int step) {
    low[3] = begin;
    high[3] = end;
    return mx::slice(x, low, high, {1, 1, 1, step});
  };
  bool pairs = settings_.traditional;
  mx::array a = pairs ? part(0, dims, 2) : part(0, half, 1);
  mx::array b = pairs ? part(1, dims, 2) : part(half, dims, 1);
  mx::array cos = mx::cos(angles), sin = mx::sin(angles);
  mx::array first = mx::astype(mx::subtract(mx::multiply(a, cos), mx::multiply(b, sin)), x.dtype());
  mx::array second = mx::astype(mx::add(mx::multiply(a, sin), mx::multiply(b, cos)), x.dtype());
  mx::array turned = first;
  if (pairs) {
    turned = mx::flatten(mx::stack({first, second}, 4), 3, 4);
  } else {
    turned = mx::concatenate({first, second}, 3);
  }
  return head_dim == dims ? turned : mx::concatenate({turned, part(dims, head_dim, 1)}, 3);
}

mx::array Rope::operator()(const mx::array& x, const Positions& positions) const {
  const RopeSettings& s = settings_;
  mx::array in = x;
  if (input_scale_ != 1) {
    std::vector<float> factors(x.shape(3), 1);
    std::fill_n(factors.begin(), s.dims, input_scale_);
    in = mx::multiply(x, mx::astype(to_array(factors), x.dtype()));
  }
  bool varies = s.type == "dynamic" || s.type == "longrope";
  if (positions.given || (varies && !positions.uniform)) return rotate(in, angles(positions));

  std::optional<float> base;
  std::optional<mx::array> periods = freqs_;
  if (s.type == "longrope" && !is_long(positions.end(0))) periods = short_freqs_;
  if (!periods) base = static_cast<float>(s.type == "dynamic" ? dynamic_base(positions.end(0)) : s.theta);
  if (positions.uniform) {
    return mx::fast::rope(in, s.dims, s.traditional, base, scale_, positions.offsets.front(), periods);
  }
  return mx::fast::rope(in, s.dims, s.traditional, base, scale_, *positions.offset_array, periods);
}

}  // namespace mlxk

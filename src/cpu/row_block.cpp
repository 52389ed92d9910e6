#include "cpu/row_block.h"

#include <algorithm>

#include "cpu/features.h"

namespace mlxk {

bool RowBlock::takes(const MatrixView& m, Phase phase) {
  if (!m.kept || phase != m.kept_for) return false;
  if (m.bits == 0) return true;
  QuantizedRows rows{};
  cpu_kernels().row_layout(m.columns, m.group, takes_bytes(m, phase) ? kBytes : 0, &rows);
  return m.biases && m.group <= kColumns && rows.units > 0;
}

void RowBlock::begin(const MatrixView& m, Phase phase, int64_t n) {
  const auto& kernels = cpu_kernels();
  n_ = n;
  group_ = m.bits == 0 ? 0 : m.group;
  bits_ = takes_bytes(m, phase) ? kBytes : 0;
  if (group_ == 0) {
    kernels.i16_layout(m.columns, &shorts_);
    shorts_.q = static_cast<int16_t*>(values_.bytes(static_cast<size_t>(n * shorts_.stride) * sizeof(int16_t)));
    shorts_.scales = factors_.floats(n * shorts_.units);
  } else {
    kernels.row_layout(m.columns, group_, bits_, &packed_);
    packed_.q = static_cast<int16_t*>(values_.bytes(static_cast<size_t>(n * packed_.stride) * sizeof(int16_t)));
    packed_.scales = factors_.floats(n * (packed_.units + packed_.groups));
    packed_.sums = packed_.scales + n * packed_.units;
  }
}

void RowBlock::set(int64_t row, const float* x, int64_t at, int64_t columns) {
  const auto& kernels = cpu_kernels();
  if (group_ == 0) {
    I16Rows part = shorts_;
    part.q += row * shorts_.stride + at;
    part.scales += row * shorts_.units + at / kColumns;
    part.units = (columns + kColumns - 1) / kColumns;
    kernels.i16_row(x, columns, &part, 0);
  } else {
    QuantizedRows part = packed_;
    part.q += row * packed_.stride + (bits_ == kBytes ? at / 2 : at);
    part.scales += row * packed_.units + at / std::min<int64_t>(group_, 32);
    part.sums += row * packed_.groups + at / group_;
    kernels.quantize_row(x, columns, group_, bits_, &part, 0);
  }
}

void RowBlock::multiply(const MatrixView& m, int64_t first, int64_t end, float* y, int64_t y_stride) const {
  const auto& kernels = cpu_kernels();
  const int64_t begin_panel = first / kernels.lanes, end_panel = (end + kernels.lanes - 1) / kernels.lanes;
  float* from_row_0 = y - first;
  if (group_ == 0) {
    const FloatWeight w{m.data, m.rows, m.columns, m.columns, m.type};
    kernels.i16_panels(&w, m.bias, &shorts_, n_, begin_panel, end_panel, from_row_0, y_stride, nullptr, m.kept);
    return;
  }
  const AffineWeight w{
      static_cast<const uint8_t*>(m.data), m.scales, m.biases, m.rows, m.columns, m.bits, m.group, m.type};
  const auto panels = bits_ == kBytes ? kernels.byte_panels : kernels.affine_panels;
  panels(&w, &packed_, n_, begin_panel, end_panel, from_row_0, y_stride, nullptr, m.kept);
  if (!m.bias) return;
  for (int64_t r = 0; r < n_; ++r) kernels.add(m.bias + first, 1.0F, end - first, y + r * y_stride);
}

}  // namespace mlxk

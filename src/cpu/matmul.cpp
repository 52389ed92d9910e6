#include "cpu/matmul.h"

#include <algorithm>
#include <vector>

#include "cpu/features.h"
#include "cpu/threads.h"

namespace mlxk {

namespace {

constexpr int64_t kPrefillPanels = 2;

}  // namespace

bool takes_bytes(const MatrixView& m, Phase phase) {
  const bool affine = m.bits == 8 && m.group >= 32 && m.biases;
  return phase == Phase::embed && affine && cpu_kernels().byte_panels;
}

namespace {

bool is_fp(const MatrixView& m) { return m.type == kScaleE8M0 || m.type == kScaleE4M3; }

/// Whether the kernels read the activations as floats, not as integers.
bool takes_floats(const MatrixView& m, Phase phase) {
  return m.bits == 0 || (is_fp(m) && (m.bits == 8 || phase != Phase::decode));
}

/// Whether they read them as 16-bit integers instead.
bool takes_shorts(const MatrixView& m, Phase phase) { return m.bits == 0 && encodes(phase); }

/// The bits that row_layout and quantize_row need for a matrix.
int form_bits(const MatrixView& m, Phase phase) {
  if (takes_bytes(m, phase)) return kBytes;
  if (phase != Phase::decode) return 0;
  return is_fp(m) ? kFp4 : m.bits;
}

/// Whether both need the activations in the same form.
bool shares_form(const MatrixView& a, const MatrixView& b, Phase phase) {
  if (takes_shorts(a, phase) != takes_shorts(b, phase)) return false;
  if (takes_floats(a, phase) || takes_floats(b, phase)) return takes_floats(a, phase) && takes_floats(b, phase);
  return form_bits(a, phase) == form_bits(b, phase) && a.group == b.group;
}

/// Weight rows that a thread processes at a time; in decode about as many bytes, whole cache lines of results. With
/// many activation rows, where arithmetic limits the speed instead of memory, half of that: it stays in the first-level
/// cache and is shared out evenly.
int64_t rows_a_piece(const Product& product, Phase phase) {
  constexpr int64_t kManyRows = 8, kLineResults = 16, kManyPieces = 16;
  const MatrixView& m = product.matrix;
  if (phase != Phase::decode) {
    int64_t piece = kPrefillPanels * cpu_kernels().lanes;
    while (m.bits > 0 && 2 * piece <= cpu_kernels().affine_piece && m.rows >= kManyPieces * 2 * piece) piece *= 2;
    return piece;
  }
  const int64_t bytes = product.n >= kManyRows ? 16384 : 32768;
  const int64_t row_bytes = m.columns * (m.bits == 0 ? (m.type == kFloat32 ? 32 : 16) : m.bits) / 8;
  return std::clamp<int64_t>(bytes / std::max<int64_t>(row_bytes, 1) / kLineResults, 1, 64) * kLineResults;
}

/// The activations in the form that the packed matrices need; converted again only if the next matrix needs another
/// form.
class Activations {
 public:
  Activations(const float* x, int64_t n, int64_t columns) : x_(x), n_(n), columns_(columns) {}

  const QuantizedRows& quantized(int group, int bits) {
    if (group == group_ && bits == bits_) return rows_;
    group_ = group;
    bits_ = bits;
    shorts_ = {};
    const auto& kernels = cpu_kernels();
    kernels.row_layout(columns_, group, bits, &rows_);
    rows_.q = static_cast<int16_t*>(values().bytes(static_cast<size_t>(n_ * rows_.stride) * sizeof(int16_t)));
    rows_.scales = factors().floats(n_ * (rows_.units + rows_.groups));
    rows_.sums = rows_.scales + n_ * rows_.units;
    parallel_for(n_, 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) kernels.quantize_row(x_ + r * columns_, columns_, group, bits, &rows_, r);
    });
    return rows_;
  }

  const I16Rows& shorts() {
    if (shorts_.q) return shorts_;
    const auto& kernels = cpu_kernels();
    kernels.i16_layout(columns_, &shorts_);
    shorts_.q = static_cast<int16_t*>(values().bytes(static_cast<size_t>(n_ * shorts_.stride) * sizeof(int16_t)));
    shorts_.scales = factors().floats(n_ * shorts_.units);
    parallel_for(n_, 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) kernels.i16_row(x_ + r * columns_, columns_, &shorts_, r);
    });
    group_ = 0;
    bits_ = -1;
    return shorts_;
  }

 private:
  // multiply() runs on one thread at a time: its buffers are kept between calls.
  static Scratch& values() {
    static Scratch scratch;
    return scratch;
  }
  static Scratch& factors() {
    static Scratch scratch;
    return scratch;
  }

  const float* x_;
  int64_t n_, columns_;
  int group_ = 0, bits_ = -1;
  QuantizedRows rows_{};
  I16Rows shorts_{};
};

Scratch& panel_scratch(int thread) {
  static std::vector<Scratch> scratch(static_cast<size_t>(kernel_threads()));
  return scratch[static_cast<size_t>(thread)];
}

/// All rows of the activations, in the form that the products need.
struct Forms {
  const float* x;
  const QuantizedRows* quantized = nullptr;
  const I16Rows* shorts = nullptr;
};

AffineWeight affine_of(const MatrixView& m) {
  return {static_cast<const uint8_t*>(m.data), m.scales, m.biases, m.rows, m.columns, m.bits, m.group, m.type};
}

/// Weight rows [begin, end) of one product.
void multiply_rows(const Product& product, const Forms& forms, int64_t begin, int64_t end, Phase phase, int thread) {
  const auto& kernels = cpu_kernels();
  const MatrixView& m = product.matrix;
  const int64_t n = product.n;
  float* y = product.y;
  const float* x = forms.x;
  if (forms.shorts) {
    const FloatWeight w{m.data, m.rows, m.columns, m.columns, m.type};
    I16Rows from = *forms.shorts;
    from.q += product.first * from.stride;
    from.scales += product.first * from.units;
    void* scratch = panel_scratch(thread).bytes(static_cast<size_t>(kernels.i16_scratch(m.columns)));
    kernels.i16_panels(&w, m.bias, &from, n, begin / kernels.lanes, (end + kernels.lanes - 1) / kernels.lanes, y,
                       m.rows, scratch, m.kept);
    return;
  }
  if (m.bits == 0) {
    const FloatWeight w{m.data, m.rows, m.columns, m.columns, m.type};
    const float* from = x + product.first * m.columns;
    if (phase == Phase::decode) {
      kernels.float_rows(&w, from, n, begin, end, y, m.rows);
    } else {
      void* scratch = panel_scratch(thread).bytes(static_cast<size_t>(kernels.float_scratch(m.columns)));
      kernels.float_panels(&w, from, n, begin / kernels.lanes, (end + kernels.lanes - 1) / kernels.lanes, y, m.rows,
                           scratch);
    }
  } else if (takes_floats(m, phase)) {
    const AffineWeight w{
        static_cast<const uint8_t*>(m.data), m.scales, nullptr, m.rows, m.columns, m.bits, m.group, m.type};
    const float* from = x + product.first * m.columns;
    if (phase == Phase::decode) {
      kernels.fp8_rows(&w, from, n, begin, end, y, m.rows);
    } else {
      void* scratch = panel_scratch(thread).bytes(static_cast<size_t>(kernels.fp_scratch(m.columns)));
      kernels.fp_panels(&w, from, n, begin / kernels.lanes, (end + kernels.lanes - 1) / kernels.lanes, y, m.rows,
                        scratch);
    }
  } else {
    const AffineWeight w = affine_of(m);
    QuantizedRows from = *forms.quantized;
    from.q += product.first * from.stride;
    from.scales += product.first * from.units;
    from.sums += product.first * from.groups;
    if (phase == Phase::decode) {
      kernels.affine_rows(&w, &from, n, begin, end, y, m.rows);
    } else {
      void* scratch = panel_scratch(thread).bytes(static_cast<size_t>(kernels.affine_scratch(m.columns, m.group)));
      const auto panels = takes_bytes(m, phase) ? kernels.byte_panels : kernels.affine_panels;
      panels(&w, &from, n, begin / kernels.lanes, (end + kernels.lanes - 1) / kernels.lanes, y, m.rows, scratch,
             phase == m.kept_for ? m.kept : nullptr);
    }
  }
  if (m.bias) {
    for (int64_t r = 0; r < n; ++r) kernels.add(m.bias + begin, 1.0F, end - begin, y + r * m.rows + begin);
  }
}

}  // namespace

int64_t kept_panel_bytes(const MatrixView& m, Phase phase) {
  const auto& kernels = cpu_kernels();
  if (takes_shorts(m, phase)) return kernels.i16_kept_bytes(m.rows, m.columns);
  if (takes_floats(m, phase)) return 0;
  return (takes_bytes(m, phase) ? kernels.byte_kept_bytes : kernels.affine_kept_bytes)(m.rows, m.columns, m.group);
}

void keep_panels(const MatrixView& m, Phase phase, void* panels) {
  const auto& kernels = cpu_kernels();
  const int64_t step = 64 / kernels.lanes, count = (m.rows + kernels.lanes - 1) / kernels.lanes;
  parallel_for((count + step - 1) / step, 1, [&](int64_t begin, int64_t end, int thread) {
    const int64_t first = begin * step, last = std::min(end * step, count);
    if (m.bits == 0) {
      const FloatWeight w{m.data, m.rows, m.columns, m.columns, m.type};
      kernels.i16_keep(&w, first, last, panels);
    } else {
      const AffineWeight w = affine_of(m);
      const auto keep = takes_bytes(m, phase) ? kernels.byte_keep : kernels.affine_keep;
      keep(&w, first, last, panels,
           panel_scratch(thread).bytes(static_cast<size_t>(kernels.affine_scratch(m.columns, m.group))));
    }
  });
}

void multiply(std::span<const Product> products, const float* x, int64_t n, Phase phase) {
  if (n == 0 || products.empty()) return;
  Activations activations(x, n, products.front().matrix.columns);
  // Adjacent products that need the activations in the same form share one round of the threads.
  size_t first = 0;
  while (first < products.size()) {
    const auto& lead = products[first].matrix;
    size_t last = first + 1;
    while (last < products.size() && shares_form(products[last].matrix, lead, phase)) ++last;
    Forms forms{x};
    if (takes_shorts(lead, phase)) {
      forms.shorts = &activations.shorts();
    } else if (!takes_floats(lead, phase)) {
      forms.quantized = &activations.quantized(lead.group, form_bits(lead, phase));
    }
    std::vector<int64_t> ends;  // of each product, in pieces
    int64_t pieces = 0;
    for (size_t m = first; m < last; ++m) {
      const int64_t piece = rows_a_piece(products[m], phase);
      ends.push_back(pieces += (products[m].matrix.rows + piece - 1) / piece);
    }
    parallel_for(pieces, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t p = begin; p < end; ++p) {
        const size_t m = static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), p) - ends.begin());
        const auto& product = products[first + m];
        const int64_t rows = product.matrix.rows, piece = rows_a_piece(product, phase);
        const int64_t row = (p - (m == 0 ? 0 : ends[m - 1])) * piece;
        multiply_rows(product, forms, row, std::min(row + piece, rows), phase, thread);
      }
    });
    first = last;
  }
}

void multiply(std::span<const MatrixView> matrices, const float* x, int64_t n, std::span<float* const> ys,
              Phase phase) {
  std::vector<Product> products;
  for (size_t m = 0; m < matrices.size(); ++m) products.push_back({matrices[m], 0, n, ys[m]});
  multiply(products, x, n, phase);
}

}  // namespace mlxk

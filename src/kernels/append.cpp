#include "kernels/append.h"

#include <cstring>
#include <stdexcept>

#include "mlx/backend/cpu/encoder.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"

namespace mlxk {

namespace mx = mlx::core;

namespace {

// Copies `part`, whatever its strides, to a row-contiguous place whose rows, heads and tokens lie `to` bytes apart.
struct Copy {
  const char* from;
  char* into;
  int rows, heads, length, width;
  int64_t from_row, from_head, from_token, from_item;  // bytes
  int64_t to_row, to_head, to_token;
  size_t item;

  void operator()() const {
    for (int row = 0; row < rows; ++row) {
      for (int head = 0; head < heads; ++head) {
        for (int token = 0; token < length; ++token) {
          const char* source = from + row * from_row + head * from_head + token * from_token;
          char* target = into + row * to_row + head * to_head + token * to_token;
          if (from_item == static_cast<int64_t>(item)) {
            std::memcpy(target, source, item * width);
            continue;
          }
          for (int i = 0; i < width; ++i) std::memcpy(target + i * item, source + i * from_item, item);
        }
      }
    }
  }
};

class Append : public mx::Primitive {
 public:
  Append(mx::Stream stream, int row, int slot) : Primitive(stream), row_(row), slot_(slot) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const mx::array& buffer = inputs[0];
    const mx::array& part = inputs[1];
    if (!buffer.flags().row_contiguous) throw std::runtime_error("[append] the buffer must be row-contiguous");
    mx::array& out = outputs[0];
    out.copy_shared_buffer(buffer);
    int64_t item = buffer.itemsize();
    int64_t token = buffer.shape(3) * item, head = buffer.shape(2) * token, row = buffer.shape(1) * head;
    Copy copy{part.data<char>(),
              out.data<char>() + (row_ < 0 ? 0 : row_ * row) + slot_ * token,
              part.shape(0),
              part.shape(1),
              part.shape(2),
              part.shape(3),
              part.strides(0) * item,
              part.strides(1) * item,
              part.strides(2) * item,
              part.strides(3) * item,
              row,
              head,
              token,
              static_cast<size_t>(item)};
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.set_input_array(part);
    encoder.set_output_array(out);
    encoder.dispatch(copy);
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("[append] is for the CPU");
  }

  const char* name() const override { return "MlxkAppend"; }

 private:
  int row_, slot_;
};

mx::array append_by_update(const mx::array& buffer, const mx::array& part, int row, int slot) {
  mx::Shape begin{row < 0 ? 0 : row, 0, slot, 0};
  mx::Shape end{row < 0 ? buffer.shape(0) : row + 1, buffer.shape(1), slot + part.shape(2), buffer.shape(3)};
  return mx::slice_update(buffer, part, begin, end);
}

}  // namespace

mx::array append_in_place(const mx::array& buffer, const mx::array& part, int row, int slot) {
  bool fits = buffer.ndim() == 4 && part.ndim() == 4 && part.shape(1) == buffer.shape(1) &&
              part.shape(3) == buffer.shape(3) && part.dtype() == buffer.dtype() && slot >= 0 &&
              slot + part.shape(2) <= buffer.shape(2) &&
              (row < 0 ? part.shape(0) == buffer.shape(0) : row < buffer.shape(0) && part.shape(0) == 1);
  if (!fits) throw std::invalid_argument("[append] the part does not fit the buffer");
  if (mx::default_device() != mx::Device::cpu) return append_by_update(buffer, part, row, slot);
  auto primitive = std::make_shared<Append>(mx::default_stream(mx::Device::cpu), row, slot);
  return mx::array(buffer.shape(), buffer.dtype(), std::move(primitive), {buffer, part});
}

}  // namespace mlxk

#include "kernels/cpu_op.h"

#include <fmt/format.h>

#include <stdexcept>

#include "kernels/allocate.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/device.h"

namespace mlxk {

namespace {

class CpuOp : public mx::Primitive {
 public:
  CpuOp(const char* name, Compute compute, Aliases aliases)
      : Primitive(mx::default_stream(mx::Device::cpu)),
        name_(name),
        compute_(std::move(compute)),
        aliases_(std::move(aliases)) {}

  const char* name() const override { return name_; }
  void eval_gpu(const Arrays&, Arrays&) override {
    throw std::runtime_error(fmt::format("[{}] runs on the CPU", name_));
  }
  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    Arrays in, out;
    for (const auto& a : inputs) in.push_back(mx::array::unsafe_weak_copy(a));
    for (size_t i = 0; i < outputs.size(); ++i) {
      const mx::array* source = aliased_input(aliases_, i, inputs);
      if (source) {
        if (!source->flags().row_contiguous)
          throw std::runtime_error(fmt::format("[{}] buffers must be contiguous", name_));
        outputs[i].copy_shared_buffer(*source);
      } else {
        outputs[i].set_data(allocate(outputs[i].nbytes()));
      }
      out.push_back(mx::array::unsafe_weak_copy(outputs[i]));
    }
    // The primitive may be gone when the task runs: the task copies the data it needs.
    mx::cpu::get_command_encoder(stream()).dispatch(
        [compute = compute_, in = std::move(in), out = std::move(out)]() mutable { compute(in, out); });
  }

 private:
  const char* name_;
  Compute compute_;
  Aliases aliases_;
};

template <class T>
const T* in_order(const mx::array& a, Scratch& storage) {
  if (a.flags().row_contiguous) return a.data<T>();
  T* out = static_cast<T*>(storage.bytes(a.size() * sizeof(T)));
  const auto& shape = a.shape();
  std::vector<int> index(shape.size(), 0);
  const T* from = a.data<T>();
  for (size_t i = 0; i < a.size(); ++i) {
    int64_t at = 0;
    for (size_t d = 0; d < shape.size(); ++d) at += index[d] * a.strides()[d];
    out[i] = from[at];
    for (size_t d = shape.size(); d-- > 0 && ++index[d] == shape[d];) index[d] = 0;
  }
  return out;
}

}  // namespace

bool cpu_is_default() { return mx::default_device() == mx::Device::cpu; }

std::shared_ptr<mx::Primitive> cpu_op(const char* name, Compute compute, Aliases aliases) {
  return std::make_shared<CpuOp>(name, std::move(compute), std::move(aliases));
}

const float* row_major(const mx::array& a, Scratch& storage) { return in_order<float>(a, storage); }
const int32_t* row_major_int(const mx::array& a, Scratch& storage) { return in_order<int32_t>(a, storage); }

}  // namespace mlxk

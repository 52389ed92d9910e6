#include "kernels/cuda/cuda_op.h"

#include <fmt/format.h>

#include <stdexcept>

#include "kernels/cuda/driver.h"
#include "kernels/cuda/memory.h"
#include "mlx/device.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

constexpr size_t kMaxOverlappedRows = 2;

size_t rows_of(const mx::array& a) {
  return a.ndim() < 2 || a.size() == 0 ? a.size() : a.size() / static_cast<size_t>(a.shape(-1));
}

class CudaOp : public mx::Primitive {
 public:
  CudaOp(const char* name, CudaCompute compute, bool on_host, CudaOverlap overlap, Aliases aliases)
      : Primitive(mx::default_stream(mx::Device::gpu)),
        name_(name),
        compute_(std::move(compute)),
        on_host_(on_host),
        overlap_(overlap),
        aliases_(std::move(aliases)) {}

  const char* name() const override { return name_; }
  void eval_cpu(const Arrays&, Arrays&) override {
    throw std::runtime_error(fmt::format("[{}] runs on a CUDA device", name_));
  }
  void eval_gpu(const Arrays& inputs, Arrays& outputs) override {
    for (const auto& input : inputs) {
      if (!input.flags().row_contiguous) throw std::runtime_error(fmt::format("[{}] inputs must be contiguous", name_));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const mx::array* source = aliased_input(aliases_, i, inputs);
      if (source) {
        outputs[i].copy_shared_buffer(*source);
      } else {
        outputs[i].set_data(cuda_memory(outputs[i].nbytes(), on_host_));
      }
    }
    CudaLaunches launches(stream(), rows_of(outputs[0]) <= kMaxOverlappedRows ? overlap_ : CudaOverlap::no);
    compute_(launches, inputs, outputs);
  }

 private:
  const char* name_;
  CudaCompute compute_;
  bool on_host_;
  CudaOverlap overlap_;
  Aliases aliases_;
};

}  // namespace

void* cuda_data(const mx::array& a) {
  const auto* buffer = static_cast<const mx::cu::CudaBuffer*>(a.buffer().ptr());
  return static_cast<char*>(buffer->data) + a.offset();
}

int cuda_type(mx::Dtype type) {
  if (type == mx::float32) return 0;
  if (type == mx::float16) return 1;
  return type == mx::bfloat16 ? 2 : -1;
}

CudaLaunches::CudaLaunches(mx::Stream stream, CudaOverlap overlap)
    : encoder_(cuda_encoder().of(stream)),
      overlapped_(overlap == CudaOverlap::no ? nullptr : cuda_stream(encoder_, overlap == CudaOverlap::yes)) {}

void CudaLaunches::add(CUfunc_st* function, dim3 grid, unsigned threads, int shared_bytes, void** params,
                       const ArrayRefs& reads, const ArrayRefs& writes) {
  if (overlapped_) {
    const CudaLaunch launch{function, {grid.x, grid.y, grid.z}, threads, static_cast<unsigned>(shared_bytes)};
    cuda_launch(launch, overlapped_, params);
    return;
  }
  for (const mx::array& a : reads) cuda_encoder().set_input(encoder_, a);
  for (const mx::array& a : writes) cuda_encoder().set_output(encoder_, a);
  cuda_encoder().add_kernel(encoder_, function, grid, {threads, 1, 1}, {}, static_cast<uint32_t>(shared_bytes), params);
}

mx::array CudaLaunches::scratch(size_t bytes) { return scratch({static_cast<int>(bytes)}, mx::uint8); }

mx::array CudaLaunches::scratch(mx::Shape shape, mx::Dtype type) {
  mx::array a(std::move(shape), type, nullptr, {});
  a.set_data(cuda_memory(a.nbytes()));
  cuda_encoder().when_completed(encoder_, [data = a.data_shared_ptr()] {});
  return a;
}

std::shared_ptr<mx::Primitive> cuda_op(const char* name, CudaCompute compute, bool on_host) {
  return std::make_shared<CudaOp>(name, std::move(compute), on_host, CudaOverlap::follow, Aliases{});
}

std::shared_ptr<mx::Primitive> cuda_op(const char* name, CudaCompute compute, CudaOverlap overlap) {
  return std::make_shared<CudaOp>(name, std::move(compute), false, overlap, Aliases{});
}

std::shared_ptr<mx::Primitive> cuda_op(const char* name, CudaCompute compute, Aliases aliases) {
  return std::make_shared<CudaOp>(name, std::move(compute), false, CudaOverlap::follow, std::move(aliases));
}

mx::array row_contiguous(const mx::array& a) {
  if (a.has_primitive() ? dynamic_cast<CudaOp*>(&a.primitive()) != nullptr : a.flags().row_contiguous) return a;
  return mx::contiguous(a);
}

}  // namespace mlxk

// A zip archive of PyTorch's or NumPy's in memory: every tensor of an accepted one is read to its end.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "tensor_archive/npz_file.h"
#include "tensor_archive/pickle.h"
#include "tensor_archive/torch_file.h"

namespace {
volatile unsigned sink = 0;

template <class Call>
void ask(const Call& call) {
  try {
    call();
  } catch (const mlxk::Error&) {
  }
}

void touch(const std::vector<mlxk::ArchiveTensor>& tensors) {
  unsigned sum = 0;
  for (const auto& tensor : tensors) {
    for (const auto byte : tensor.data) sum += static_cast<unsigned>(byte);
  }
  sink = sink + sum;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  constexpr const char* kAllowed[] = {"torch._utils._rebuild_tensor_v2", "collections.OrderedDict",
                                      "torch.FloatStorage"};
  mlxk::TensorBuffers buffers;
  ask([&] { mlxk::read_pickle(bytes, kAllowed, "fuzz"); });
  ask([&] { touch(mlxk::read_torch(mlxk::ZipFile(bytes, "fuzz"), buffers)); });
  ask([&] { touch(mlxk::read_npz(mlxk::ZipFile(bytes, "fuzz"), buffers)); });
  return 0;
}

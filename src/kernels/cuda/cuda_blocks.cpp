#include "kernels/cuda/cuda_blocks.h"

#include <algorithm>

#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/functions.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

// As in blocks.cu.
constexpr size_t kParts = 48, kBlocks = 192;

struct Part {
  void* at;
  int64_t before;
  int heads, slots, run;
};

struct BlocksParams {
  Part parts[kParts];
  void* blocks[kBlocks];
  int first, tokens, last, count, saves;
};

/// Launches for all `buffers`, a few at a time; `p` has everything but the parts, `chunks` is the number of ranges of
/// slots.
void launch(CudaLaunches& launches, BlocksParams p, int chunks, const Arrays& buffers, const ArrayRefs& reads,
            const ArrayRefs& writes) {
  auto* function = cuda_function({cuda_source::common, cuda_source::blocks}, "copy_blocks", {});
  int64_t before = 0;
  for (size_t begin = 0; begin < buffers.size(); begin += kParts) {
    const size_t end = std::min(begin + kParts, buffers.size());
    int heads = 1;
    for (size_t i = begin; i < end; ++i) {
      const mx::array& x = buffers[i];
      const int run = x.shape(3) * static_cast<int>(x.itemsize());
      p.parts[i - begin] = {cuda_data(x), before, x.shape(1), x.shape(2), run};
      before += int64_t{x.shape(1)} * run;
      heads = std::max(heads, x.shape(1));
    }
    const dim3 grid{static_cast<unsigned>(chunks), static_cast<unsigned>(end - begin), static_cast<unsigned>(heads)};
    launches.launch(function, grid, 256, 0, p, reads, writes);
  }
}

}  // namespace

mx::array cuda_save_block(const std::vector<mx::array>& buffers, int from, int to) {
  int bytes = 0;
  for (const mx::array& x : buffers) bytes += x.shape(1) * x.shape(3) * static_cast<int>(x.itemsize()) * (to - from);
  auto compute = [from, tokens = to - from](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    BlocksParams p{};
    p.blocks[0] = cuda_data(out[0]);
    p.first = from;
    p.tokens = p.last = tokens;
    p.count = p.saves = 1;
    launch(launches, p, 1, in, {in.begin(), in.end()}, {out[0]});
  };
  return mx::array({bytes}, mx::uint8, cuda_op("CudaSaveBlock", std::move(compute)), buffers);
}

std::vector<mx::array> cuda_restore_blocks(const std::vector<mx::array>& blocks, int last_tokens, int tokens,
                                           const std::vector<mx::Shape>& shapes, const std::vector<mx::Dtype>& types) {
  auto compute = [last_tokens, tokens](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    int slots = 0;
    for (const mx::array& x : out) slots = std::max(slots, x.shape(2));
    const int chunks = (slots + kCudaBlockTokens - 1) / kCudaBlockTokens;
    for (int first = 0; first < chunks; first += static_cast<int>(kBlocks)) {
      BlocksParams p{};
      p.first = first * kCudaBlockTokens;
      p.tokens = tokens - p.first;
      const int left = static_cast<int>(in.size()) - first;
      p.count = std::clamp(left, 0, static_cast<int>(kBlocks));
      p.last = left <= static_cast<int>(kBlocks) ? last_tokens : kCudaBlockTokens;
      for (int i = 0; i < p.count; ++i) p.blocks[i] = cuda_data(in[static_cast<size_t>(first + i)]);
      launch(launches, p, std::min(chunks - first, static_cast<int>(kBlocks)), out, {in.begin(), in.end()},
             {out.begin(), out.end()});
    }
  };
  return mx::array::make_arrays(shapes, types, cuda_op("CudaRestoreBlocks", std::move(compute)), blocks);
}

void cuda_read(mx::array a, void* to) {
  mx::eval(a);
  cuda_copy_to_host(to, cuda_data(a), a.nbytes());
}

}  // namespace mlxk

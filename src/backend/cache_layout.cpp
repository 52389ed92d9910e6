#include "backend/cache_layout.h"

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "kernels/allocate.h"
#include "kernels/cuda/cuda_blocks.h"
#include "kernels/cuda/table.h"
#include "kernels/device.h"

namespace mlxk {

namespace {

/// The elements of an evaluated array in row-major order.
mx::array in_order(const mx::array& x) {
  if (x.flags().row_contiguous) return x;
  mx::array copy = mx::contiguous(x);
  copy.eval();
  return copy;
}

mx::array empty_array(const mx::Shape& shape, mx::Dtype type) {
  size_t bytes = mx::size_of(type);
  for (const auto length : shape) bytes *= static_cast<size_t>(length);
  return mx::array(allocate(bytes), shape, type);
}

}  // namespace

CacheLayout::CacheLayout(Model& model) : sample_(model.make_cache(1)) {
  const int32_t token = 0;
  model.forward({.ids = mx::array(&token, {1, 1}, mx::int32), .last_only = true}, sample_);
  for (size_t i = 0; i < sample_.size(); ++i) {
    const Cache& cache = sample_[i];
    Layer layer{cache.addressable_tokens(), {}};
    for (const mx::array& array : cache.arrays()) {
      Part part{array.shape(), array.dtype(), 1, array.nbytes()};
      if (layer.addressable > 0) {
        part.heads = static_cast<size_t>(array.shape(1));
        part.run = array.nbytes() / part.heads / static_cast<size_t>(array.shape(2));
      }
      layer.parts.push_back(std::move(part));
    }
    layers_.push_back(std::move(layer));
  }
  on_device_ = &layer_ops() == &cuda_layer_ops() && stateless_tokens() == std::numeric_limits<int>::max();
  for (const Layer& layer : layers_) {
    for (const Part& part : layer.parts) on_device_ = on_device_ && part.shape.size() == 4 && part.run % 16 == 0;
  }
}

int CacheLayout::stateless_tokens() const {
  int least = std::numeric_limits<int>::max();
  for (const Layer& layer : layers_) least = std::min(least, layer.addressable);
  return least;
}

int CacheLayout::next_change(int from) const {
  int next = std::numeric_limits<int>::max();
  for (const Layer& layer : layers_) {
    if (layer.addressable > from) next = std::min(next, layer.addressable);
  }
  return next;
}

std::vector<int> CacheLayout::changes() const {
  std::vector<int> all;
  for (int at = next_change(0); at < std::numeric_limits<int>::max(); at = next_change(at)) all.push_back(at);
  return all;
}

int CacheLayout::first_saveable(int tokens) const {
  int first = 0;
  for (const Layer& layer : layers_) {
    if (layer.addressable < tokens) first = std::max(first, layer.addressable);
  }
  return first;
}

int CacheLayout::within(const Layer& layer, int from, int to) {
  return std::max(0, std::min(to, layer.addressable) - from);
}

size_t CacheLayout::token_bytes(int from, int to) const {
  size_t bytes = 0;
  for (const Layer& layer : layers_) {
    for (const Part& part : layer.parts) {
      if (layer.addressable > 0) bytes += part.bytes(within(layer, from, to));
    }
  }
  return bytes;
}

size_t CacheLayout::state_bytes(int tokens) const {
  size_t bytes = 0;
  for (const Layer& layer : layers_) {
    if (tokens <= layer.addressable) continue;
    for (const Part& part : layer.parts) bytes += part.bytes(std::max(1, layer.addressable));
  }
  return bytes;
}

void CacheLayout::save_tokens(const ModelCache& cache, PrefixBytes& bytes, bool also_on_host) const {
  const int from = bytes.from, to = bytes.from + bytes.tokens;
  if (on_device_) {
    std::vector<mx::array> all;
    for (size_t i = 0; i < layers_.size(); ++i) {
      for (const mx::array& array : cache[i].arrays()) all.push_back(in_order(array));
    }
    bytes.on_device = cuda_save_block(all, from, to);
    mx::async_eval({*bytes.on_device});
    if (also_on_host) cuda_read(*bytes.on_device, bytes.allocate());
    return;
  }
  std::byte* out = bytes.allocate();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const int tokens = within(layers_[i], from, to);
    if (tokens == 0) continue;
    const auto arrays = cache[i].arrays();
    for (size_t p = 0; p < arrays.size(); ++p) {
      const Part& part = layers_[i].parts[p];
      const mx::array array = in_order(arrays[p]);
      const size_t slots = static_cast<size_t>(array.shape(2)), length = part.bytes(tokens) / part.heads;
      for (size_t head = 0; head < part.heads; ++head, out += length) {
        std::memcpy(out, array.data<std::byte>() + (head * slots + static_cast<size_t>(from)) * part.run, length);
      }
    }
  }
}

void CacheLayout::save_state(const ModelCache& cache, PrefixBytes& bytes) const {
  std::byte* out = bytes.allocate();
  const int tokens = cache.positions().front();
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (tokens <= layers_[i].addressable) continue;
    const auto arrays = cache[i].arrays();
    for (size_t p = 0; p < arrays.size(); ++p) {
      const mx::array array = in_order(arrays[p]);
      if (p >= layers_[i].parts.size() ||
          array.nbytes() != layers_[i].parts[p].bytes(std::max(1, layers_[i].addressable))) {
        throw Error(ErrorKind::internal, "[cache] a state has changed its shape");
      }
      std::memcpy(out, array.data<std::byte>(), array.nbytes());
      out += array.nbytes();
    }
  }
}

void CacheLayout::restore_on_device(const PrefixMatch& match, ModelCache& cache) const {
  std::vector<mx::array> blocks;
  for (const auto& block : match.blocks) {  // data read from a file is on the host
    blocks.push_back(block->on_device ? *block->on_device
                                      : mx::array(reinterpret_cast<const uint8_t*>(block->data.get()),
                                                  {static_cast<int>(block->size)}, mx::uint8));
  }
  std::vector<mx::Shape> shapes;
  std::vector<mx::Dtype> types;
  for (size_t i = 0; i < layers_.size(); ++i) {
    for (const Part& part : layers_[i].parts) {
      shapes.push_back(part.shape);
      shapes.back()[2] = cache[i].slots_for(match.usable);
      types.push_back(part.type);
    }
  }
  const auto all = cuda_restore_blocks(blocks, match.blocks.back()->tokens, match.usable, shapes, types);
  mx::async_eval({all.front()});  // one operation
  auto next = all.begin();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto end = next + static_cast<std::ptrdiff_t>(layers_[i].parts.size());
    cache[i].restore({next, end}, match.usable);
    next = end;
  }
}

void CacheLayout::restore(const PrefixMatch& match, ModelCache& cache) const {
  if (on_device_) return restore_on_device(match, cache);
  const std::byte* state = match.state ? match.state->data.get() : nullptr;
  std::vector<const std::byte*> blocks;  // where the next part begins in each
  for (const auto& block : match.blocks) blocks.push_back(block->data.get());
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    std::vector<mx::array> arrays;
    for (const Part& part : layer.parts) {
      mx::Shape shape = part.shape;
      if (layer.addressable > 0) shape[2] = cache[i].slots_for(match.usable);
      mx::array array = empty_array(shape, part.type);
      auto* to = array.data<std::byte>();
      if (match.usable > layer.addressable) {
        std::memcpy(to, state, array.nbytes());
        state += array.nbytes();
      }
      const size_t slots = layer.addressable > 0 ? static_cast<size_t>(shape[2]) : 0;
      for (size_t b = 0; b < blocks.size() && layer.addressable > 0; ++b) {
        const int begin = match.blocks[b]->from, tokens = match.blocks[b]->tokens;
        const size_t kept = static_cast<size_t>(within(layer, begin, begin + tokens)) * part.run;
        if (match.usable <= layer.addressable) {
          const size_t used = static_cast<size_t>(std::min(tokens, match.usable - begin)) * part.run;
          for (size_t head = 0; head < part.heads; ++head) {
            std::memcpy(to + (head * slots + static_cast<size_t>(begin)) * part.run, blocks[b] + head * kept, used);
          }
        }
        blocks[b] += kept * part.heads;
      }
      if (match.usable <= layer.addressable) {
        // Nobody reads the other slots, but a NaN there would spread where it is multiplied by zero.
        const size_t used = static_cast<size_t>(match.usable) * part.run;
        for (size_t head = 0; head < part.heads; ++head) {
          std::memset(to + head * slots * part.run + used, 0, slots * part.run - used);
        }
      }
      arrays.push_back(std::move(array));
    }
    cache[i].restore(std::move(arrays), match.usable);
  }
}

uint64_t CacheLayout::row_bytes(int64_t tokens) const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const int64_t most = std::numeric_limits<int>::max() - 1024;
    const int slots = layer.addressable > 0 ? sample_[i].slots_for(static_cast<int>(std::min(tokens, most))) : 1;
    for (const Part& part : layer.parts)
      bytes += static_cast<uint64_t>(part.heads) * part.run * static_cast<uint64_t>(slots);
  }
  return bytes;
}

}  // namespace mlxk

#include "nn/cache/cache.h"

#include <fmt/format.h>

#include "base/error.h"
#include "nn/cache/attention_cache.h"

namespace mlxk {

size_t Cache::nbytes() const {
  size_t bytes = 0;
  for (const auto& array : arrays()) bytes += array.nbytes();
  return bytes;
}

bool ModelCache::can_trim(int n) const {
  for (const auto& layer : layers_) {
    if (!layer->can_trim(n)) return false;
  }
  return true;
}

void ModelCache::trim(int n) {
  if (!can_trim(n)) throw Error(ErrorKind::internal, fmt::format("[cache] cannot drop {} tokens", n));
  for (auto& layer : layers_) layer->trim(n);
}

ModelCache ModelCache::snapshot() const {
  ModelCache copy;
  for (const auto& layer : layers_) copy.layers_.push_back(layer->snapshot());
  return copy;
}

ModelCache ModelCache::batch(std::span<ModelCache* const> parts) {
  ModelCache batched;
  for (size_t i = 0; i < parts.front()->size(); ++i) {
    std::vector<Cache*> layer;
    for (ModelCache* part : parts) layer.push_back(&(*part)[i]);
    batched.layers_.push_back(layer.front()->batch(layer));
  }
  return batched;
}

void ModelCache::unbatch() {
  for (auto& layer : layers_) layer->unbatch();
}

std::vector<mx::array> ModelCache::arrays() const {
  std::vector<mx::array> all;
  for (const auto& layer : layers_) {
    auto arrays = layer->arrays();
    all.insert(all.end(), arrays.begin(), arrays.end());
  }
  return all;
}

size_t ModelCache::nbytes() const {
  size_t bytes = 0;
  for (const auto& layer : layers_) bytes += layer->nbytes();
  return bytes;
}

}  // namespace mlxk

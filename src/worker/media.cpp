#include "worker/media.h"

#include <string_view>
#include <utility>

#include "base/digest.h"

namespace mlxk {

namespace {

template <class T>
std::string_view bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

std::shared_ptr<const MediaData> with_digest(MediaData data) {
  const std::vector<uint64_t> lengths{static_cast<uint64_t>(data.kind), data.shape.size(), data.grid.size()};
  Digest digest(Digest::Kind::sha256);
  digest.add(bytes_of(lengths)).add(bytes_of(data.shape)).add(bytes_of(data.grid)).add(bytes_of(data.values));
  data.digest = digest.hex();
  return std::make_shared<const MediaData>(std::move(data));
}

}  // namespace mlxk

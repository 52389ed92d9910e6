#include "nn/cache/packed_cache.h"

#include "base/error.h"

namespace mlxk {
namespace {

Error keeps_nothing() { return Error(ErrorKind::internal, "[cache] packed texts are not kept"); }

}  // namespace

void PackedCache::trim(int) { throw keeps_nothing(); }

void PackedCache::restore(std::vector<mx::array>, int) { throw keeps_nothing(); }

KvView PackedCache::append(const mx::array&, const mx::array&, const Positions&) { throw keeps_nothing(); }

}  // namespace mlxk

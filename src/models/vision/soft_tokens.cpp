#include "models/vision/soft_tokens.h"

#include "models/vision/parts.h"

namespace mlxk {
namespace {

float eps_of(const Config& own) { return static_cast<float>(own.number_or("rms_norm_eps", 1e-6, 0, 1)); }

}  // namespace

SoftTokens::SoftTokens(const Config& own, const WeightPath& path, int width, int hidden, int first)
    : soft_norm_(path / "soft_embedding_norm", width, eps_of(own)),
      projection_(path / "embedding_projection", width, hidden),
      last_norm_(hidden, eps_of(own)),
      tokens_{static_cast<int>(own.integer_or("vocab_offset", first, 0, 1 << 30)), mx::array(0)} {
  const int count = static_cast<int>(own.integer_or("vocab_size", 128, 1, 1 << 20));
  const RmsNorm hard_norm(path / "hard_embedding_norm", width, eps_of(own));
  const mx::array table = take_table(path / "embedding", count, width);
  tokens_.vectors = path.weights().keep(last_norm_(projection_(hard_norm(table))));
}

mx::array SoftTokens::operator()(const mx::array& features) const {
  return last_norm_(projection_(soft_norm_(features)));
}

}  // namespace mlxk

#include "backend/prompt_scores.h"

#include <algorithm>
#include <cmath>

#include "mlx/ops.h"
#include "sample/selection.h"

namespace mlxk {

bool score_tokens(const mlx::core::array& logits, std::span<const int32_t> tokens, int top,
                  std::vector<TokenEvent>& scores) {
  mlx::core::array rows = mlx::core::contiguous(logits);
  rows.eval();
  const auto vocab = static_cast<size_t>(logits.shape(-1));
  const float* all = rows.data<float>();
  Selection selection;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::span<const float> row(all + i * vocab, vocab);
    selection.read(row);
    const float total = selection.total();
    if (!std::isfinite(total)) return false;
    const auto logprob = [&](int32_t id) { return row[static_cast<size_t>(id)] - total; };
    TokenEvent& score = scores.emplace_back(TokenEvent{tokens[i], logprob(tokens[i]), {}});
    if (top <= 0) continue;
    for (const int32_t id : selection.likeliest(top)) score.top.push_back({id, logprob(id)});
    std::stable_sort(score.top.begin(), score.top.end(),
                     [](const TokenLogprob& a, const TokenLogprob& b) { return a.logprob > b.logprob; });
  }
  return true;
}

}  // namespace mlxk

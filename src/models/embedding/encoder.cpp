#include "models/embedding/encoder.h"

#include <fmt/format.h>

#include "base/error.h"
#include "cpu/phase.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

Error invalid(const std::string& what) { return Error(ErrorKind::invalid, "[encoder] " + what); }

}  // namespace

void Encoder::check(const EncoderInputs& inputs) const {
  int64_t total = 0;
  for (size_t i = 0; i < inputs.lengths.size(); ++i) {
    const int length = inputs.lengths[i];
    if (length < 1 || (shape_.context_length > 0 && length > shape_.context_length)) {
      throw invalid(fmt::format("a text must have 1 to {} tokens, text {} has {}", shape_.context_length, i, length));
    }
    total += length;
  }
  const auto count = [&](const char* name, const std::vector<int>& values, int64_t wanted) {
    if (static_cast<int64_t>(values.size()) == wanted) return;
    throw invalid(fmt::format("{} must have {} entries, got {}", name, wanted, values.size()));
  };
  if (total == 0) throw invalid("need at least one text");
  count("ids", inputs.ids, total);
  if (!inputs.token_types.empty()) count("token_types", inputs.token_types, total);
  if (!inputs.tasks.empty()) count("tasks", inputs.tasks, static_cast<int64_t>(inputs.lengths.size()));
  if (!inputs.attended.empty()) count("attended", inputs.attended, static_cast<int64_t>(inputs.lengths.size()));
  for (size_t i = 0; i < inputs.attended.size(); ++i) {
    if (inputs.attended[i] >= 1 && inputs.attended[i] <= inputs.lengths[i]) continue;
    throw invalid(fmt::format("attended must be in [1, {}], got {} at {}", inputs.lengths[i], inputs.attended[i], i));
  }
  for (size_t i = 0; i < inputs.ids.size(); ++i) {
    if (inputs.ids[i] >= 0 && inputs.ids[i] < shape_.vocab_size) continue;
    throw invalid(fmt::format("ids must be in [0, {}), got {} at {}", shape_.vocab_size, inputs.ids[i], i));
  }
  const int tasks = static_cast<int>(shape_.tasks.size());
  for (const int task : inputs.tasks) {
    if (task < -1 || task >= tasks) throw invalid(fmt::format("tasks must be in [-1, {}), got {}", tasks, task));
  }
}

void Encoder::require(bool has, const char* head) const {
  if (!has)
    throw Error(ErrorKind::unsupported, fmt::format("[{}] the weights have no {} head", shape_.model_type, head));
}

mx::array Encoder::hidden(const EncoderInputs& inputs) const {
  check(inputs);
  const PhaseScope scope(Phase::embed);
  return encode(inputs);
}

mx::array Encoder::class_logits(const mx::array& hidden, const std::vector<int>& lengths) const {
  require(shape_.num_labels > 0, "classification");
  const PhaseScope scope(Phase::embed);
  return mx::astype(classify(hidden, lengths), mx::float32);
}

mx::array Encoder::token_logits(const mx::array& hidden, const std::vector<int>& rows) const {
  require(shape_.predicts_tokens, "token");
  const PhaseScope scope(Phase::embed);
  return mx::astype(predict_tokens(take_rows(hidden, rows)), mx::float32);
}

mx::array Encoder::sparse_weights(const mx::array& hidden) const {
  require(shape_.sparse, "sparse");
  const PhaseScope scope(Phase::embed);
  return mx::maximum(mx::astype(mx::flatten(weigh_tokens(hidden)), mx::float32), mx::array(0.0F));
}

mx::array Encoder::colbert_vectors(const mx::array& hidden) const {
  require(shape_.colbert_size > 0, "colbert");
  const PhaseScope scope(Phase::embed);
  const mx::array x = mx::astype(project_tokens(hidden), mx::float32);
  const mx::array norm = mx::sqrt(mx::sum(mx::square(x), -1, true));
  return mx::divide(x, mx::maximum(norm, mx::array(1e-12F)));
}

std::vector<int> first_rows(const std::vector<int>& lengths) {
  std::vector<int> rows;
  int at = 0;
  for (const int length : lengths) {
    rows.push_back(at);
    at += length;
  }
  return rows;
}

std::vector<int> last_rows(const std::vector<int>& lengths) {
  std::vector<int> rows;
  int at = 0;
  for (const int length : lengths) rows.push_back((at += length) - 1);
  return rows;
}

mx::array take_rows(const mx::array& x, const std::vector<int>& rows) {
  return mx::take(x, mx::array(rows.data(), {static_cast<int>(rows.size())}, mx::int32), 0);
}

}  // namespace mlxk

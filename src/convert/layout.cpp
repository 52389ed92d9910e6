#include "convert/layout.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"
#include "kernels/cpu_op.h"
#include "mlx/ops.h"
#include "models/checkpoint_tensors.h"

namespace mlxk {
namespace {

/// Bytes for 8-bit floats; booleans, which no layer reads, for types that weights do not have.
mx::Dtype lazy_dtype(const TensorEntry& entry) {
  switch (entry.dtype) {
    case TensorDtype::f8_e4m3: return mx::uint8;
    case TensorDtype::u8:
    case TensorDtype::u32:
    case TensorDtype::f16:
    case TensorDtype::bf16:
    case TensorDtype::f32:
    case TensorDtype::f64: return mlx_dtype(entry);
    default: return mx::bool_;
  }
}

/// The tensor, read when it is evaluated.
mx::array lazy_array(const SourceTensor& tensor) {
  const mx::Shape shape(tensor.entry.shape.begin(), tensor.entry.shape.end());
  const auto read = [data = tensor.data](const Arrays&, Arrays& out) {
    std::memcpy(out[0].data<std::byte>(), data.data(), std::min(data.size(), out[0].nbytes()));
  };
  return mx::array(shape, lazy_dtype(tensor.entry), cpu_op("SourceTensor", read), {});
}

TensorDtype dtype_of(const mx::array& array) {
  switch (array.dtype().val()) {
    case mx::Dtype::Val::float16: return TensorDtype::f16;
    case mx::Dtype::Val::bfloat16: return TensorDtype::bf16;
    case mx::Dtype::Val::float32: return TensorDtype::f32;
    case mx::Dtype::Val::float64: return TensorDtype::f64;
    case mx::Dtype::Val::uint32: return TensorDtype::u32;
    case mx::Dtype::Val::uint8: return TensorDtype::u8;
    default: throw Error(ErrorKind::internal, "[convert] a computed tensor is of a type that weights do not have");
  }
}

using Sources = std::unordered_map<uintptr_t, const SourceTensor*>;

/// The source tensors that `array` stacks along a new first axis; empty if it is something else.
std::vector<const SourceTensor*> stacked_parts(const mx::array& array, const Sources& sources) {
  const auto is = [](const mx::array& x, std::string_view name) {
    return x.has_primitive() && x.primitive().name() == name;
  };
  if (!is(array, "Concatenate")) return {};
  std::vector<const SourceTensor*> parts;
  for (const mx::array& input : array.inputs()) {
    const auto found = is(input, "ExpandDims") ? sources.find(input.inputs()[0].id()) : sources.end();
    const bool whole = found != sources.end() && input.shape(0) == 1 &&
                       input.ndim() == static_cast<size_t>(found->second->entry.shape.size()) + 1 &&
                       array.ndim() == input.ndim() && array.shape(0) == static_cast<int>(array.inputs().size());
    if (!whole) return {};
    parts.push_back(found->second);
  }
  return parts;
}

/// A tensor of a layout that is computed from the sources.
std::shared_ptr<const SourceTensor> computed(const Weights::Taken& taken) {
  SourceTensor tensor;
  tensor.entry.name = taken.name;
  tensor.entry.dtype = dtype_of(taken.tensor);
  tensor.entry.shape.assign(taken.tensor.shape().begin(), taken.tensor.shape().end());
  tensor.array = std::make_shared<std::optional<mx::array>>(mx::contiguous(taken.tensor));
  return std::make_shared<const SourceTensor>(std::move(tensor));
}

/// Parts of names, in the order of mlx-lm's modules, by which it splits files.
constexpr std::array<std::string_view, 32> kWords = {"language_model",
                                                     "model",
                                                     "embed_tokens",
                                                     "layers",
                                                     "norm",
                                                     "lm_head",
                                                     "self_attn",
                                                     "block_sparse_moe",
                                                     "mlp",
                                                     "input_layernorm",
                                                     "post_attention_layernorm",
                                                     "pre_feedforward_layernorm",
                                                     "post_feedforward_layernorm",
                                                     "q_proj",
                                                     "k_proj",
                                                     "v_proj",
                                                     "o_proj",
                                                     "q_norm",
                                                     "k_norm",
                                                     "query_layernorm",
                                                     "key_layernorm",
                                                     "gate",
                                                     "switch_mlp",
                                                     "gate_proj",
                                                     "down_proj",
                                                     "up_proj",
                                                     "shared_expert",
                                                     "shared_expert_gate",
                                                     "weight",
                                                     "scales",
                                                     "biases",
                                                     "bias"};

std::vector<std::string_view> split(std::string_view name) {
  std::vector<std::string_view> parts;
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('.', start), name.size());
    parts.push_back(name.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

/// The number that `word` spells, without leading zeros; -1: none.
int64_t index_of(std::string_view word) {
  if (word.empty() || word.size() > 6 || (word.size() > 1 && word[0] == '0')) return -1;
  int64_t value = 0;
  for (const char c : word) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

/// The tensor's position among mlx-lm's modules; unknown words come last.
std::vector<std::pair<int64_t, std::string_view>> place_of(std::string_view name, std::string_view model_type) {
  constexpr auto kLast = static_cast<int64_t>(kWords.size());
  const bool up_first = model_type == "helium" || model_type == "minicpm";
  const std::vector<std::string_view> parts = split(name);
  std::vector<std::pair<int64_t, std::string_view>> place;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string_view before = i > 0 ? parts[i - 1] : std::string_view();
    const auto* word = std::find(kWords.begin(), kWords.end(), parts[i]);
    int64_t rank = before == "layers" ? index_of(parts[i]) : word - kWords.begin();
    if (parts[i] == "down_proj" && (up_first || before == "switch_mlp")) rank = kLast;
    if (parts[i] == "mlp" && model_type == "qwen3_moe") rank = kLast;
    place.emplace_back(rank, rank == kLast ? parts[i] : std::string_view());
  }
  return place;
}

/// For a minicpm without a head, mlx-lm's files hold the embedding as the head.
void copy_head(std::vector<LayoutTensor>& layout) {
  const auto has_head = [](const LayoutTensor& tensor) { return tensor.name.starts_with("lm_head."); };
  if (std::any_of(layout.begin(), layout.end(), has_head)) return;
  constexpr std::string_view kEmbedding = "model.embed_tokens.";
  for (size_t i = 0, count = layout.size(); i < count; ++i) {
    if (!layout[i].name.starts_with(kEmbedding)) continue;
    LayoutTensor head = layout[i];
    head.name.replace(0, kEmbedding.size(), "lm_head.");
    layout.push_back(std::move(head));
  }
}

}  // namespace

std::vector<uint64_t> LayoutTensor::shape() const {
  std::vector<uint64_t> shape;
  if (stacked) shape.push_back(parts.size());
  for (const auto size : entry().shape) shape.push_back(static_cast<uint64_t>(size));
  return shape;
}

std::vector<LayoutTensor> lay_out(const Json& config, const SourceTensors& source, ModelKind kind) {
  Weights::Tensors tensors;
  Sources sources;
  for (const auto& [name, tensor] : source.tensors()) {
    const mx::array array = lazy_array(tensor);
    sources.emplace(array.id(), &tensor);
    tensors.emplace(name, array);
  }
  std::vector<LayoutTensor> layout;
  for (const auto& taken : checkpoint_tensors(config, tensors, kind)) {
    LayoutTensor placed;
    placed.name = taken.name;
    placed.is_matrix = taken.is_matrix;
    if (const auto found = sources.find(taken.tensor.id()); found != sources.end()) {
      placed.parts = {found->second};
    } else if (placed.parts = stacked_parts(taken.tensor, sources); !placed.parts.empty()) {
      placed.stacked = true;
    } else {
      placed.own = computed(taken);
      placed.parts = {placed.own.get()};
    }
    layout.push_back(std::move(placed));
  }
  const std::string model_type = string_at(config, "model_type");
  const auto tied = config.find("tie_word_embeddings");
  if (model_type == "minicpm" && (tied == config.end() || *tied == false)) copy_head(layout);
  std::sort(layout.begin(), layout.end(), [&](const LayoutTensor& a, const LayoutTensor& b) {
    return place_of(a.name, model_type) < place_of(b.name, model_type);
  });
  return layout;
}

}  // namespace mlxk

#include "convert/layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/error.h"
#include "json/member.h"

namespace mlxk {

namespace {

/// What a model_type differs in from a llama's tensors.
struct Family {
  std::string_view model_type;
  bool tied = true;                   // without tie_word_embeddings
  bool up_before_down = false;        // the order in its MLP
  bool mlp_last = false;              // the MLP comes after the norms
  bool head_as_stored = false;        // lm_head is kept wherever there is one
  bool head_from_embedding = false;   // an untied model without lm_head gets a copy
  const char* experts_key = nullptr;  // config.json's number of experts
  const char* dropped = nullptr;      // a further prefix that is left out
};

constexpr Family kFamilies[] = {
    {"ernie4_5"},
    {"gemma3", true, false, false, true},
    {"gemma3_text", true, false, false, true},
    {"granite"},
    {"helium", false, true},
    {"hunyuan_v1_dense", false},
    {"internlm3", false},
    {"iquestcoder"},
    {"llama"},
    {"mimo", false, false, false, false, false, nullptr, "model.mtp_layers."},
    {"minicpm", false, true, false, false, true},
    {"ministral3"},
    {"mistral"},
    {"mixtral", false, false, false, false, false, "num_local_experts"},
    {"olmoe", true, false, false, false, false, "num_experts"},
    {"qwen2"},
    {"qwen2_moe", false, false, false, false, false, "num_experts"},
    {"qwen3", false},
    {"qwen3_moe", false, false, true, false, false, "num_experts"},
    {"seed_oss"},
    {"smollm3"},
    {"xverse"},
};

/// Parts of names, in the order in which siblings stand.
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

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

std::vector<std::string_view> split(std::string_view name) {
  std::vector<std::string_view> parts;
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('.', start), name.size());
    parts.push_back(name.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

/// The number that `word` writes, without leading zeros; -1: none.
int64_t index_of(std::string_view word) {
  if (word.empty() || word.size() > 6 || (word.size() > 1 && word[0] == '0')) return -1;
  int64_t value = 0;
  for (const char c : word) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

const Family& family_of(std::string_view model_type) {
  for (const auto& family : kFamilies) {
    if (family.model_type == model_type) return family;
  }
  throw Error(ErrorKind::unsupported,
              fmt::format("[convert] config.json: model_type \"{}\" cannot be converted here", model_type),
              fmt::format("these can: {}", fmt::join(known_layouts(), ", ")));
}

class Layout {
 public:
  Layout(const Json& config, const SourceTensors& source)
      : family_(family_of(string_at(config, "model_type"))), config_(config) {
    for (const auto& [name, tensor] : source.tensors()) {
      if (!is_dropped(name)) place(name, tensor);
    }
    if (family_.head_from_embedding) copy_head();
    check_layers();
    check_experts();
  }

  std::vector<LayoutTensor> take() {
    std::vector<LayoutTensor> tensors;
    for (auto& [key, tensor] : placed_) tensors.push_back(std::move(tensor));
    return tensors;
  }

 private:
  using Key = std::vector<int64_t>;

  bool is_dropped(const std::string& name) const {
    if (name.find("rotary_emb.inv_freq") != name.npos || name.find("rope.inv_freq") != name.npos) return true;
    if (family_.dropped && starts_with(name, family_.dropped)) return true;
    if (family_.model_type == "gemma3") {
      return starts_with(name, "vision_tower.") || starts_with(name, "multi_modal_projector.");
    }
    return starts_with(name, "lm_head.") && !family_.head_as_stored && tied();
  }

  bool tied() const {
    const auto found = config_.find("tie_word_embeddings");
    return found != config_.end() && found->is_boolean() ? found->get<bool>() : family_.tied;
  }

  /// `…experts.7.w1.weight` is part 7 of `…switch_mlp.gate_proj.weight`.
  void place(const std::string& name, const SourceTensor& tensor) {
    auto parts = split(name);
    const auto experts = std::find(parts.begin(), parts.end(), "experts");
    if (!family_.experts_key || parts.end() - experts < 4) {
      add(name, parts, 0, tensor);
      return;
    }
    const int64_t expert = index_of(experts[1]);
    if (expert < 0 || expert >= expert_count()) throw no_place(name);
    experts[1] = "switch_mlp";
    if (experts[2] == "w1") experts[2] = "gate_proj";
    if (experts[2] == "w2") experts[2] = "down_proj";
    if (experts[2] == "w3") experts[2] = "up_proj";
    parts.erase(experts);
    add(fmt::format("{}", fmt::join(parts, ".")), parts, static_cast<size_t>(expert), tensor).stacked = true;
  }

  LayoutTensor& add(const std::string& name, const std::vector<std::string_view>& parts, size_t at,
                    const SourceTensor& tensor) {
    auto& placed = placed_[key_of(tensor.entry.name, parts)];
    placed.name = name;
    if (placed.parts.size() <= at) placed.parts.resize(at + 1);
    if (placed.parts[at]) {
      throw Error(ErrorKind::bad_model, fmt::format("[convert] tensors {} and {} have the same place",
                                                    placed.parts[at]->entry.name, tensor.entry.name));
    }
    placed.parts[at] = &tensor;
    return placed;
  }

  Key key_of(const std::string& name, const std::vector<std::string_view>& parts) {
    Key key;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto word = std::find(kWords.begin(), kWords.end(), parts[i]);
      const bool numbered = i > 0 && parts[i - 1] == "layers";
      int64_t rank = numbered ? index_of(parts[i]) : word - kWords.begin();
      if (rank < 0 || (rank >= static_cast<int64_t>(kWords.size()) && !numbered)) throw no_place(name);
      if (parts[i] == "layers" && i + 1 < parts.size()) layers_.insert(index_of(parts[i + 1]));
      // Siblings that a family has in another order.
      const bool up_first = family_.up_before_down || (i > 0 && parts[i - 1] == "switch_mlp");
      if (up_first && parts[i] == "down_proj") rank = static_cast<int64_t>(kWords.size());
      if (family_.mlp_last && parts[i] == "mlp") rank = static_cast<int64_t>(kWords.size());
      key.push_back(rank);
    }
    return key;
  }

  Error no_place(const std::string& name) const {
    return {ErrorKind::bad_model,
            fmt::format("[convert] tensor {} has no place in a {} model", name, family_.model_type)};
  }

  int64_t expert_count() const { return text_config_integer(family_.experts_key); }

  int64_t text_config_integer(const char* key) const {
    const auto text = config_.find("text_config");
    const auto& from = text != config_.end() && text->is_object() && !config_.contains(key) ? *text : config_;
    const auto found = from.find(key);
    if (found == from.end()) return 0;
    const bool fits = found->is_number_integer() && found->get<int64_t>() >= 1 && found->get<int64_t>() <= 4096;
    if (!fits) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("[convert] config.json: {} must be in [1, 4096], got {}", key, found->dump()));
    }
    return found->get<int64_t>();
  }

  void copy_head() {
    for (const auto& [key, tensor] : placed_) {
      if (starts_with(tensor.name, "lm_head.")) return;
    }
    for (const char* leaf : {"weight", "scales", "biases"}) {
      for (const auto& [key, tensor] : placed_) {
        if (tensor.name != fmt::format("model.embed_tokens.{}", leaf)) continue;
        auto copy = tensor;
        copy.name = fmt::format("lm_head.{}", leaf);
        placed_[key_of(copy.name, split(copy.name))] = copy;
        break;
      }
    }
  }

  void check_layers() const {
    const int64_t count = text_config_integer("num_hidden_layers");
    for (int64_t layer = 0; layer < count; ++layer) {
      if (layers_.count(layer) == 0) {
        throw Error(ErrorKind::bad_model,
                    fmt::format("[convert] layer {} of {} has no tensors: is a shard missing?", layer, count));
      }
    }
    if (count > 0 && static_cast<int64_t>(layers_.size()) > count) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("[convert] there is a layer {}, num_hidden_layers is {}", *layers_.rbegin(), count));
    }
  }

  void check_experts() const {
    for (const auto& [key, tensor] : placed_) {
      if (tensor.name.find(".switch_mlp.") == tensor.name.npos) continue;
      const auto* first = tensor.parts.front();
      const size_t count = tensor.stacked ? static_cast<size_t>(expert_count()) : 1;
      for (size_t i = 0; i < count; ++i) {
        const auto* part = i < tensor.parts.size() ? tensor.parts[i] : nullptr;
        if (!part)
          throw Error(ErrorKind::bad_model, fmt::format("[convert] expert {} of {} is missing", i, tensor.name));
        if (part->entry.shape != first->entry.shape || part->entry.dtype != first->entry.dtype) {
          throw Error(ErrorKind::bad_model,
                      fmt::format("[convert] tensor {} is {} [{}], {} is {} [{}]", part->entry.name,
                                  dtype_name(part->entry.dtype), fmt::join(part->entry.shape, ", "), first->entry.name,
                                  dtype_name(first->entry.dtype), fmt::join(first->entry.shape, ", ")));
        }
      }
    }
  }

  const Family& family_;
  const Json& config_;
  std::map<Key, LayoutTensor> placed_;
  std::set<int64_t> layers_;
};

}  // namespace

std::vector<uint64_t> LayoutTensor::shape() const {
  std::vector<uint64_t> shape;
  if (stacked) shape.push_back(parts.size());
  for (const auto size : entry().shape) shape.push_back(static_cast<uint64_t>(size));
  return shape;
}

std::vector<LayoutTensor> lay_out(const Json& config, const SourceTensors& source) {
  return Layout(config, source).take();
}

std::vector<std::string_view> known_layouts() {
  std::vector<std::string_view> names;
  for (const auto& family : kFamilies) names.push_back(family.model_type);
  return names;
}

bool has_layout(std::string_view model_type) {
  return std::any_of(std::begin(kFamilies), std::end(kFamilies),
                     [&](const Family& family) { return family.model_type == model_type; });
}

}  // namespace mlxk

#include "models/text/mixture_config.h"

#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

int integer_or(const Config& config, const char* key, int fallback, int low, int high) {
  return static_cast<int>(config.integer_or(key, fallback, low, high));
}

std::vector<bool> mixture_layers(const Config& config, int layers) {
  const int64_t step = config.integer_or("decoder_sparse_step", 1, 1, 1 << 20);
  const int64_t dense = config.integer_or(config.present({"first_k_dense_replace", "num_dense_layers"}), 0, 0, 1024);
  const int64_t frequency = config.has("moe_layer_freq") && config.find("moe_layer_freq")->is_number()
                                ? config.integer("moe_layer_freq", 1, 1 << 20)
                                : 1;
  std::vector<bool> mixes;
  for (int layer = 0; layer < layers; ++layer) {
    mixes.push_back((layer + 1) % step == 0 && layer >= dense && layer % frequency == 0);
  }
  for (const char* key : {"moe_layer_freq", "is_moe_layer", "mlp_layer_types"}) {
    const Json* list = config.find(key);
    if (!list || (list->is_number() && std::string_view(key) == "moe_layer_freq")) continue;
    if (!list->is_array() || list->size() != static_cast<size_t>(layers)) {
      throw config.bad(key, fmt::format("must have {} entries", layers));
    }
    for (int layer = 0; layer < layers; ++layer) {
      const Json& entry = (*list)[layer];
      if (entry.is_string() && entry != "dense" && entry != "sparse") {
        throw config.bad(key, fmt::format("must hold dense and sparse, got {}", entry.dump()));
      }
      mixes[layer] = entry == 1 || entry == true || entry == "sparse";
    }
  }
  const Json* plain = config.find("mlp_only_layers");
  if (!plain) return mixes;
  if (!plain->is_array()) throw config.bad("mlp_only_layers", "must be a list");
  for (const Json& layer : *plain) {
    if (!layer.is_number_integer() || layer.get<int64_t>() < 0 || layer.get<int64_t>() >= layers) {
      throw config.bad("mlp_only_layers",
                       fmt::format("must hold numbers of layers below {}, got {}", layers, layer.dump()));
    }
    mixes[layer.get<size_t>()] = false;
  }
  return mixes;
}

RoutingRule::Score read_score(const Config& config, RoutingRule::Score fallback) {
  const char* key = config.present({"scoring_func", "score_func", "moe_router_score_func"});
  if (!config.has(key)) return fallback;
  const std::string name = config.text_or(key, "");
  if (name == "softmax") return RoutingRule::Score::softmax;
  if (name == "sigmoid" || name == "noaux_tc") return RoutingRule::Score::sigmoid;  // dots.llm1 names the method
  throw Error(ErrorKind::unsupported, fmt::format("[{}] {} '{}' is not built in", config.place(), key, name));
}

}  // namespace

MixtureConfig MixtureConfig::read(const Config& config, int layers, const MixtureDefaults& defaults) {
  MixtureConfig m;
  m.defaults = defaults;
  const char* experts = config.present({"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"});
  m.experts = static_cast<int>(config.integer(experts, 1, 65536));
  const char* wide = config.present({"moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size"});
  m.wide = static_cast<int>(config.integer(wide, 1, kMaxWidth));
  const char* top_k = config.present({"num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k"});
  m.rule.top_k = static_cast<int>(config.integer(top_k, 1, m.experts));
  m.rule.normalise =
      config.flag_or(config.present({"norm_topk_prob", "route_norm", "norm_expert_weight"}), defaults.normalise);
  m.rule.score = read_score(config, defaults.score);
  m.rule.eps = defaults.eps;
  m.rule.scale =
      static_cast<float>(config.number_or(config.present({"routed_scaling_factor", "route_scale",
                                                          "moe_routed_scaling_factor", "moe_router_scaling_factor"}),
                                          1, 1e-6, 1e6));
  m.rule.groups = integer_or(config, "n_group", 1, 1, m.experts);
  m.rule.top_groups = integer_or(config, "topk_group", m.rule.groups, 1, m.rule.groups);
  m.rule.group_best = defaults.group_best;
  if (m.experts % m.rule.groups != 0 || m.rule.top_k > m.experts / m.rule.groups * m.rule.top_groups) {
    throw config.bad("n_group", fmt::format("must divide {} experts and leave {} to choose", m.experts, m.rule.top_k));
  }
  m.layers = mixture_layers(config, layers);
  if (!defaults.shared) return m;
  const char* shared =
      config.present({"n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"});
  const char* shared_wide = config.present({"shared_expert_intermediate_size", "share_expert_dim"});
  m.shared_wide = config.has(shared_wide) ? integer_or(config, shared_wide, 0, 0, kMaxWidth)
                                          : m.wide * integer_or(config, shared, 0, 0, 1024);
  return m;
}

MixtureResidual MixtureConfig::make(const WeightPath& path, std::optional<Norm> norm, int hidden,
                                    const Activation& activation, float multiplier) const {
  const WeightPath stacks = path / defaults.experts;
  const auto stack = [&](const char* part, int in, int out) {
    return ExpertLinear(stacks / part, experts, in, out, defaults.expert_bias);
  };
  MixtureResidual block{std::move(norm),
                        {Linear(path / defaults.router, hidden, experts, defaults.router_bias), rule},
                        stack("gate_proj", hidden, wide),
                        stack("up_proj", hidden, wide),
                        stack("down_proj", wide, hidden),
                        activation,
                        multiplier};
  if (defaults.selection_bias) {
    block.router.selection_bias = mx::astype(path.take(defaults.selection_bias, {experts}), mx::float32);
  }
  block.scales_input = defaults.scales_input;
  if (shared_wide == 0) return block;
  const auto linear = [&](const char* part, int in, int out) {
    return Linear(path / defaults.shared / part, in, out, defaults.shared_bias);
  };
  block.shared =
      SharedExpert{{std::nullopt, linear("gate_proj", hidden, shared_wide), linear("up_proj", hidden, shared_wide),
                    linear("down_proj", shared_wide, hidden), std::nullopt, activation}};
  if (defaults.shared_gate) block.shared->gate = Linear(path / defaults.shared_gate, hidden, 1);
  return block;
}

void stack_experts(Weights& weights, const std::string& prefix, const std::string& experts_path, int experts,
                   const std::vector<std::pair<std::string, std::string>>& parts) {
  for (const auto& [part, as] : parts) {
    for (const char* leaf : {"weight", "scales", "biases", "bias"}) {
      const auto name = [&](int expert) { return fmt::format("{}.experts.{}.{}.{}", prefix, expert, part, leaf); };
      if (!weights.has(name(0))) continue;
      std::vector<mx::array> all;
      for (int expert = 0; expert < experts; ++expert) {
        mx::array weight = weights.take_raw(name(expert));
        if (expert > 0 && (weight.shape() != all[0].shape() || weight.dtype() != all[0].dtype())) {
          weights.note(fmt::format("{} differs in shape or type from the first expert's", name(expert)));
          weight = all[0];
        }
        all.push_back(weight);
      }
      weights.tensors().emplace(fmt::format("{}.{}.{}", experts_path, as, leaf), mx::stack(all));
    }
  }
}

void split_gate_up(Weights& weights, const std::string& from, const std::string& to, int hidden) {
  if (!weights.has(from + ".gate_up_proj") || !weights.has(from + ".down_proj")) return;
  mx::array both = weights.take_raw(from + ".gate_up_proj"), down = weights.take_raw(from + ".down_proj");
  if (both.ndim() != 3 || down.ndim() != 3) return weights.note(from + " must hold stacks of matrices");
  if (both.shape(2) != hidden || down.shape(1) != hidden) {
    both = mx::swapaxes(both, 1, 2);
    down = mx::swapaxes(down, 1, 2);
  }
  if (both.shape(1) % 2 != 0) return weights.note(from + ".gate_up_proj must have rows of gate and as many of up");
  const std::vector<mx::array> halves = mx::split(both, 2, 1);
  const auto put = [&](const char* part, const mx::array& x) {
    weights.tensors().emplace(fmt::format("{}.{}.weight", to, part), mx::contiguous(x));
  };
  put("gate_proj", halves[0]);
  put("up_proj", halves[1]);
  put("down_proj", down);
}

}  // namespace mlxk

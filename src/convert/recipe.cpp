#include "convert/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace mlxk {

namespace {
struct Mixed {
  std::string_view name;
  int low, high;
};
constexpr Mixed kMixed[] = {{"mixed_2_6", 2, 6}, {"mixed_3_4", 3, 4}, {"mixed_3_6", 3, 6}, {"mixed_4_6", 4, 6}};

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

bool is_number(std::string_view word) {
  return !word.empty() && word.size() < 10 &&
         std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// The text after the first dot; empty without one.
std::string_view after_dot(std::string_view path) {
  const auto dot = path.find('.');
  return dot == path.npos ? std::string_view() : path.substr(dot + 1);
}

/// The `at`-th part of a path; empty past its end.
std::string_view part_of(std::string_view path, size_t at) {
  for (; at > 0; --at) path = after_dot(path);
  return path.substr(0, path.find('.'));
}

const Mixed& mixed(const std::string& name) {
  for (const auto& row : kMixed) {
    if (row.name == name) return row;
  }
  throw Error(ErrorKind::usage,
              fmt::format("--quantize must be mixed_2_6, mixed_3_4, mixed_3_6 or mixed_4_6 (got {})", name));
}

/// Layers that get 8 bits in groups of 64: routers, and small weights, where the scales of the floating-point modes
/// would underflow.
struct Exception {
  std::string_view model_type;
  std::string_view end;  // of the path
};
constexpr Exception kEightBits[] = {
    {"Klear", "mlp.gate"},
    {"afmoe", "router.gate"},
    {"bailing_moe", "mlp.gate.gate_proj"},
    {"gemma4", "router.proj"},
    {"gemma4_text", "router.proj"},
    {"gemma4_unified", "router.proj"},
    {"gpt_oss", "router"},
    {"granite", "self_attn.o_proj"},
    {"granite", "mlp.down_proj"},
    {"granite", "lm_head"},
    {"granitemoe", "block_sparse_moe.router.layer"},
    {"granitemoe", "self_attn.o_proj"},
    {"granitemoe", "mlp.down_proj"},
    {"granitemoe", "lm_head"},
    {"granitemoehybrid", "router.layer"},
    {"jamba", "router"},
    {"kimi_linear", "mlp.gate"},
    {"laguna", "mlp.gate.proj"},
    {"lfm2_moe", "feed_forward.gate"},
    {"mellum", "mlp.gate"},
    {"minimax", "block_sparse_moe.gate"},
    {"minimax_m2", "block_sparse_moe.gate"},
    {"qwen3_5", "mlp.gate"},
    {"qwen3_5", "shared_expert_gate"},
    {"qwen3_5_moe", "mlp.gate"},
    {"qwen3_5_moe", "shared_expert_gate"},
    {"qwen3_5_moe_text", "mlp.gate"},
    {"qwen3_5_moe_text", "shared_expert_gate"},
    {"qwen3_moe", "mlp.gate"},
    {"qwen3_next", "mlp.gate"},
    {"qwen3_next", "shared_expert_gate"},
    {"qwen3_vl_moe", "mlp.gate"},
    {"step3p5", "mlp.gate.gate"},
};
/// Routers that mlx-lm holds as plain parameters, and layers that it excludes by name.
constexpr Exception kUnpacked[] = {
    {"deepseek", "mlp.gate"},         {"deepseek_v2", "mlp.gate"},   {"deepseek_v3", "mlp.gate"},
    {"deepseekocr", "mlp.gate"},      {"exaone_moe", "mlp.gate"},    {"dots1", "mlp.gate"},
    {"glm4_moe", "mlp.gate"},         {"glm4_moe_lite", "mlp.gate"}, {"kimi_k2", "mlp.gate"},
    {"kimi_vl", "mlp.gate"},          {"mimo_v2_flash", "mlp.gate"}, {"nemotron_h", "mixer.gate"},
    {"spark2_5", "self_attn.g_proj"},
};

template <size_t N>
bool is_one_of(const Exception (&exceptions)[N], std::string_view model_type, std::string_view layer) {
  return std::any_of(std::begin(exceptions), std::end(exceptions), [&](const Exception& exception) {
    return exception.model_type == model_type && ends_with(layer, exception.end);
  });
}

LayerForm eight_bits() { return {{8, 64, "affine"}, {{"group_size", 64}, {"bits", 8}}}; }
}  // namespace

bool is_never_packed(std::string_view model_type, std::string_view layer) {
  return is_one_of(kUnpacked, model_type, layer) || contains(layer, ".lora_A.") || contains(layer, ".lora_B.");
}

bool is_kept_precise(std::string_view model_type, std::string_view name) {
  struct Precise {
    std::string_view model_type, part;
  };
  constexpr Precise kPrecise[] = {
      {"Klear", "expert_bias"},
      {"afmoe", "expert_bias"},
      {"bailing_moe", "expert_bias"},
      {"deepseek_v3", "e_score_correction_bias"},
      {"glm4_moe", "e_score_correction_bias"},
      {"glm4_moe_lite", "e_score_correction_bias"},
      {"kimi_k2", "e_score_correction_bias"},
      {"kimi_vl", "e_score_correction_bias"},
      {"kimi_linear", "e_score_correction_bias"},
      {"kimi_linear", "A_log"},
      {"kimi_linear", "dt_bias"},
      {"exaone_moe", "e_score_correction_bias"},
      {"laguna", "e_score_correction_bias"},
      {"lfm2_moe", "expert_bias"},
      {"mimo_v2_flash", "e_score_correction_bias"},
      {"minimax", "e_score_correction_bias"},
      {"minimax_m2", "e_score_correction_bias"},
      {"nemotron_h", "e_score_correction_bias"},
      {"nemotron_h", "A_log"},
      {"qwen3_5", "A_log"},
      {"qwen3_5_moe", "A_log"},
      {"qwen3_5_moe_text", "A_log"},
      {"qwen3_5_text", "A_log"},
      {"step3p5", "router_bias"},
  };
  return std::any_of(std::begin(kPrecise), std::end(kPrecise), [&](const Precise& precise) {
    return precise.model_type == model_type && contains(name, precise.part);
  });
}

QuantForm base_form(const ConvertOptions& options) {
  if (options.recipe.empty()) return requested_form(options.quantize_bits, options.group_size, options.mode);
  mixed(options.recipe);
  if (options.mode != "affine") {
    throw Error(ErrorKind::usage,
                fmt::format("--q-mode must be affine with --quantize {} (got {})", options.recipe, options.mode));
  }
  return requested_form(4, options.group_size, options.mode);
}

QuantRecipe::QuantRecipe(const ConvertOptions& options, std::string model_type, const std::vector<std::string>& names)
    : base_(base_form(options)), model_type_(std::move(model_type)) {
  if (options.recipe.empty()) return;
  low_bits_ = mixed(options.recipe).low;
  high_bits_ = mixed(options.recipe).high;
  const auto down =
      std::find_if(names.begin(), names.end(), [](const std::string& name) { return contains(name, "down_proj"); });
  if (down == names.end()) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[convert] {} needs layers named down_proj, this model has none", options.recipe));
  }
  for (std::string_view part = *down; !part.empty() && !is_number(part_of(part, 0)); part = after_dot(part))
    ++layer_at_;
  std::set<std::string_view> numbers;
  for (const auto& name : names) {
    const auto number = part_of(name, layer_at_);
    if (is_number(number)) numbers.insert(number);
  }
  layers_ = static_cast<int64_t>(numbers.size());
}

bool QuantRecipe::has_more_bits(const std::string& layer) const {
  const auto number = part_of(layer, layer_at_);
  const int64_t index = is_number(number) ? std::stoll(std::string(number)) : 0;
  const int64_t eighth = layers_ / 8;
  // Python's remainder is never negative; below `eighth` the first condition holds anyway.
  return index < eighth || index >= 7 * layers_ / 8 || (index - eighth) % 3 == 2;
}

LayerForm QuantRecipe::of(const std::string& layer) const {
  if (low_bits_ > 0) {
    const bool value = contains(layer, "v_proj") || contains(layer, "v_a_proj") || contains(layer, "v_b_proj");
    const bool high = contains(layer, "lm_head") || ((value || contains(layer, "down_proj")) && has_more_bits(layer));
    const QuantForm form{high ? high_bits_ : low_bits_, base_.group_size, "affine"};
    return {form, form_json(form)};
  }
  if (is_one_of(kEightBits, model_type_, layer)) return eight_bits();
  if (model_type_ == "rwkv7" && (contains(layer, "lora.2") || contains(layer, "embeddings"))) {
    return {{8, 64, "affine"}, {{"bits", 8}}};
  }
  return {base_, nullptr};
}

}  // namespace mlxk

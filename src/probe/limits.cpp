#include "probe/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "probe/strict_sax.h"

namespace mlxk {

namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxItems = 65536;  // of a list: one entry per layer, frequency or expert

/// A whole number within [least, most].
struct WholeRule {
  std::string_view key;
  int64_t least, most;
};
/// A finite number within (0, most], or [0, most].
struct RealRule {
  std::string_view key;
  double most;
  bool zero = false;
};

constexpr int64_t kLayers = 4096, kHeads = 65536, kWidth = int64_t{1} << 24, kInt = (int64_t{1} << 31) - 1;

// Applies wherever the key is: at the top, in text_config, in a quantisation block. A list holds one such number per
// layer.
constexpr WholeRule kWhole[] = {
    {"num_hidden_layers", 1, kLayers},
    {"n_layers", 1, kLayers},
    {"n_layer", 1, kLayers},
    {"num_layers", 1, kLayers},
    {"depth", 1, kLayers},
    {"encoder_layers", 1, kLayers},
    {"decoder_layers", 1, kLayers},
    {"num_attention_heads", 1, kHeads},
    {"num_key_value_heads", 1, kHeads},
    {"num_global_key_value_heads", 1, kHeads},
    {"n_head", 1, kHeads},
    {"n_heads", 1, kHeads},
    {"num_heads", 1, kHeads},
    {"n_kv_heads", 1, kHeads},
    {"encoder_attention_heads", 1, kHeads},
    {"decoder_attention_heads", 1, kHeads},
    {"head_dim", 1, 65536},
    {"global_head_dim", 1, 65536},
    {"hidden_size", 1, kWidth},
    {"intermediate_size", 1, kWidth},
    {"d_model", 1, kWidth},
    {"n_embd", 1, kWidth},
    {"vocab_size", 1, kWidth},
    {"max_position_embeddings", 1, kInt},
    {"n_positions", 1, kInt},
    {"original_max_position_embeddings", 1, kInt},
    {"sliding_window", 0, kInt},
    {"rotary_dim", 1, 65536},
    {"mrope_section", 0, 65536},
    {"num_experts", 0, 65536},
    {"num_local_experts", 0, 65536},
    {"n_routed_experts", 0, 65536},
    {"num_experts_per_tok", 0, 65536},
    {"moe_intermediate_size", 0, kWidth},
    {"num_kv_shared_layers", 0, kLayers},
    {"patch_size", 1, 65536},
    {"image_size", 1, 65536},
    {"num_channels", 1, 65536},
    {"temporal_patch_size", 1, 65536},
    {"spatial_merge_size", 1, 65536},
    {"num_mel_bins", 1, 65536},
    {"group_size", 1, 65536},
    {"bits", 1, 64},
};

constexpr RealRule kReal[] = {
    {"rope_theta", 1e15},
    {"rope_base", 1e15},
    {"rotary_emb_base", 1e15},
    {"rope_local_base_freq", 1e15},
    {"partial_rotary_factor", 1},
    {"rotary_pct", 1},
    {"factor", 1e6},
    {"low_freq_factor", 1e6},
    {"high_freq_factor", 1e6},
    {"short_factor", 1e6},
    {"long_factor", 1e6},
    {"attention_factor", 1e6},
    {"beta_fast", 1e6},
    {"beta_slow", 1e6},
    {"query_pre_attn_scalar", 1e9},
    {"rms_norm_eps", 1, true},
    {"layer_norm_eps", 1, true},
    {"norm_eps", 1, true},
};

constexpr std::string_view kWords[] = {"model_type", "rope_type", "hidden_act", "hidden_activation", "quant_method"};

template <class Rules>
auto find_rule(const Rules& rules, std::string_view key) {
  return std::find_if(std::begin(rules), std::end(rules), [&](const auto& rule) { return rule.key == key; });
}

/// The value as an error message shows it.
std::string show(const Json& value) {
  if (value.is_string()) return shown(value.get_ref<const std::string&>());
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return fmt::format("{}", value.get<double>());
  return value.dump();
}

/// transformers writes values that JSON lacks as {"__float__": "Infinity"}, "-Infinity" or "NaN".
bool is_non_finite(const Json& value) {
  if (!value.is_object() || value.size() != 1 || !value.begin()->is_string()) return false;
  const auto& word = value.begin()->get_ref<const std::string&>();
  return value.begin().key() == "__float__" && (word == "Infinity" || word == "-Infinity" || word == "NaN");
}

class Checker {
 public:
  void object(const Json& object, const std::string& path, int depth) const {
    if (depth > kMaxDepth) fail(path, fmt::format("is nested deeper than {} levels", kMaxDepth));
    for (const auto& [key, value] : object.items()) {
      const std::string here = path.empty() ? clean(key) : path + "." + clean(key);
      const auto* whole = find_rule(kWhole, key);
      const auto* real = find_rule(kReal, key);
      if (whole != std::end(kWhole)) {
        each(value, here, [&](const Json& item, const std::string& at) { this->whole(item, *whole, at); });
      } else if (real != std::end(kReal)) {
        each(value, here, [&](const Json& item, const std::string& at) { this->real(item, *real, at); });
      } else if (std::find(std::begin(kWords), std::end(kWords), key) != std::end(kWords)) {
        if (!value.is_null() && !value.is_string()) fail(here, "must be a string, got " + show(value));
      }
      nested(value, here, depth);
    }
  }

 private:
  [[noreturn]] static void fail(const std::string& path, const std::string& message) {
    throw Error(ErrorKind::bad_model, fmt::format("config.json: {} {}", path, message));
  }

  /// A key as a part of a path: without its quotes.
  static std::string clean(const std::string& key) {
    const std::string text = shown(key);
    return text.substr(1, text.size() - 2);
  }

  void nested(const Json& value, const std::string& path, int depth) const {
    if (value.is_object()) object(value, path, depth + 1);
    if (!value.is_array()) return;
    if (depth >= kMaxDepth) fail(path, fmt::format("is nested deeper than {} levels", kMaxDepth));
    for (size_t i = 0; i < value.size(); ++i) {
      if (value[i].is_structured()) nested(value[i], fmt::format("{}[{}]", path, i), depth + 1);
    }
  }

  /// The value, or each item of a list; null means absent.
  template <class Check>
  void each(const Json& value, const std::string& path, const Check& check) const {
    if (value.is_null()) return;
    if (!value.is_array()) return check(value, path);
    if (value.size() > kMaxItems) fail(path, fmt::format("has {} items, more than {}", value.size(), kMaxItems));
    for (size_t i = 0; i < value.size(); ++i) {
      if (!value[i].is_null()) check(value[i], fmt::format("{}[{}]", path, i));
    }
  }

  void whole(const Json& value, const WholeRule& rule, const std::string& path) const {
    const bool unsigned_fits = value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(rule.most);
    if (unsigned_fits && value.get<int64_t>() >= rule.least) return;
    fail(path, fmt::format("must be a whole number in [{}, {}], got {}", rule.least, rule.most, show(value)));
  }

  void real(const Json& value, const RealRule& rule, const std::string& path) const {
    if (value.is_number()) {
      const auto number = value.get<double>();
      if (std::isfinite(number) && (number > 0 || (rule.zero && number == 0)) && number <= rule.most) return;
    }
    fail(path, fmt::format("must be a number in {}0, {:g}], got {}", rule.zero ? "[" : "(", rule.most,
                           is_non_finite(value) ? value.begin()->get<std::string>() : show(value)));
  }
};

/// Of other tools' packings (awq, gptq, bitsandbytes …) gpt-oss's mxfp4 and the 8-bit floats of DeepSeek and others are
/// supported. MLX's own is under `quantization`, which takes precedence if both are there.
void check_quant_method(const Json& config) {
  const auto own = config.find("quantization"), other = config.find("quantization_config");
  if ((own != config.end() && own->is_object()) || other == config.end() || !other->is_object()) return;
  const auto method = other->find("quant_method");
  if (method == other->end() || method->is_null() || *method == "mlx" || *method == "mxfp4" || *method == "fp8") return;
  throw Error(ErrorKind::unsupported,
              fmt::format("config.json: quantization_config.quant_method is {}, which is not built in", show(*method)),
              "use a model in MLX format, or convert the one that it was made from");
}

}  // namespace

void check_config(const Json& config) {
  if (!config.is_object()) throw Error(ErrorKind::bad_model, "config.json: must be an object, got " + show(config));
  if (const auto file = config.find("model_file"); file != config.end() && !file->is_null()) {
    throw Error(
        ErrorKind::unsupported,
        fmt::format("config.json: model_file {}: the model needs Python code of its own, which is never executed",
                    show(*file)));
  }
  Checker().object(config, "", 1);
  check_quant_method(config);
}

std::vector<std::string> config_notes(const Json& config) {
  std::vector<std::string> notes;
  if (config.is_object() && config.contains("auto_map")) {
    notes.push_back(
        "config.json: auto_map is ignored: it names Python code of the model's own, which is never executed");
  }
  return notes;
}

}  // namespace mlxk

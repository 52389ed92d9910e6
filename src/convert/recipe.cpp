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

/// What follows the first dot; empty without one.
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

LayerForm eight_bits() { return {{8, 64, "affine"}, {{"group_size", 64}, {"bits", 8}}}; }
}  // namespace

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
  // Small weights: the scales of the floating-point modes would underflow there.
  const bool granite = model_type_ == "granite" && (ends_with(layer, "self_attn.o_proj") ||
                                                    ends_with(layer, "mlp.down_proj") || layer == "lm_head");
  const bool router = model_type_ == "qwen3_moe" && ends_with(layer, "mlp.gate");
  if (granite || router) return eight_bits();
  return {base_, nullptr};
}

}  // namespace mlxk

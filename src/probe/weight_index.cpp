#include "probe/weight_index.h"

#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "probe/safetensors_header.h"
#include "probe/strict_sax.h"

namespace mlxk {

namespace {

constexpr size_t kMaxIndexedTensors = 1'000'000;  // of all shards together

/// Takes "weight_map" and passes over the rest ("metadata"), to a small depth.
class IndexSax : public StrictSax {
 public:
  using StrictSax::StrictSax;

  WeightIndex index;
  bool had_map = false;

  bool start_object(std::size_t) override {
    if (++depth_ > kMaxDepth) unexpected("nesting");
    if (depth_ == 2 && in_map_ && key_ == "weight_map") had_map = true;
    if (depth_ > 2 && in_map_) unexpected("an object");
    return true;
  }
  bool start_array(std::size_t) override {
    if (++depth_ > kMaxDepth) unexpected("nesting");
    if (in_map_ || depth_ == 1) unexpected("an array");
    return true;
  }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }

  bool key(string_t& name) override {
    if (depth_ == 1) {
      in_map_ = name == "weight_map";
      if (in_map_ && had_map) fail("\"weight_map\" appears twice");
    }
    key_ = std::move(name);
    return true;
  }

  bool string(string_t& value) override {
    if (!in_map_) return scalar();
    if (depth_ != 2) unexpected(shown(value));
    check_shard_name(value);
    if (index.shard_of.size() == kMaxIndexedTensors) fail(fmt::format("more than {} tensors", kMaxIndexedTensors));
    if (!index.shard_of.emplace(key_, std::move(value)).second) fail(where() + " appears twice");
    return true;
  }
  bool null() override { return scalar() || StrictSax::null(); }
  bool boolean(bool value) override { return scalar() || StrictSax::boolean(value); }
  bool number_integer(number_integer_t value) override { return scalar() || StrictSax::number_integer(value); }
  bool number_unsigned(number_unsigned_t value) override { return scalar() || StrictSax::number_unsigned(value); }
  bool number_float(number_float_t value, const string_t& text) override {
    return scalar() || StrictSax::number_float(value, text);
  }

 protected:
  std::string where() const override { return in_map_ ? "tensor " + shown(key_) : "the index"; }

 private:
  static constexpr int kMaxDepth = 8;

  bool scalar() const { return depth_ > 0 && !in_map_; }
  bool leave() {
    if (--depth_ == 1) in_map_ = false;
    return true;
  }

  /// A plain file name: a name that could mean another folder on any system is refused.
  void check_shard_name(const std::string& name) const {
    const bool plain = !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
                       name.find_first_of(std::string_view("/\\:\0", 4)) == std::string::npos;
    if (!plain)
      fail(fmt::format("{}: the shard {} is not a file name within the model's folder", where(), shown(name)));
    if (!name.ends_with(".safetensors")) fail(fmt::format("{}: the shard {} is not safetensors", where(), shown(name)));
  }

  int depth_ = 0;
  bool in_map_ = false;
  std::string key_;
};

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& message) {
  throw Error(ErrorKind::bad_model, fmt::format("{}: {}", path.string(), message));
}

}  // namespace

WeightIndex parse_weight_index(std::string_view json, std::string_view place) {
  IndexSax sax(place);
  Json::sax_parse(json, &sax);
  if (sax.index.shard_of.empty()) refuse(place, "weight_map is missing or empty");
  return std::move(sax.index);
}

WeightIndex read_weight_index(const std::filesystem::path& path) {
  return parse_weight_index(read_file(path), path.string());
}

void check_weight_index(const WeightIndex& index, const std::filesystem::path& dir) {
  std::map<std::string_view, std::set<std::string_view>> missing;  // shard → tensors not yet seen in it
  for (const auto& [tensor, shard] : index.shard_of) missing[shard].insert(tensor);
  for (auto& [shard, tensors] : missing) {
    const std::filesystem::path path = dir / shard;
    if (!std::filesystem::exists(path)) refuse(dir, fmt::format("the shard {} is missing", shown(shard)));
    for (const TensorEntry& tensor : read_safetensors_header(path).tensors) {
      if (tensors.erase(tensor.name) != 0) continue;
      const auto entry = index.shard_of.find(tensor.name);
      if (entry == index.shard_of.end()) refuse(path, fmt::format("tensor {} is not in the index", shown(tensor.name)));
      refuse(path, fmt::format("tensor {} belongs to {} by the index", shown(tensor.name), shown(entry->second)));
    }
    if (!tensors.empty()) refuse(path, fmt::format("tensor {} of the index is missing", shown(*tensors.begin())));
  }
}

}  // namespace mlxk

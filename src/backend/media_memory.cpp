#include "backend/media_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mlx/backend/cuda/cuda.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/cpu_op.h"
#include "models/prompt_encoder.h"

namespace mlxk {

namespace {

/// Whether a result lies in the memory of its first input.
bool is_view(const mx::array& x) {
  constexpr std::string_view kViews[] = {"Reshape",   "Transpose", "Slice",     "Broadcast",    "ExpandDims", "Squeeze",
                                         "AsStrided", "Flatten",   "Unflatten", "StopGradient", "Split",      "View"};
  const std::string_view name = x.primitive().name();
  return !x.inputs().empty() && std::find(std::begin(kViews), std::end(kViews), name) != std::end(kViews);
}

/// A graph as libmlx evaluates it. Results are allocated when operations are queued, up to a hundred at a time, so that
/// arrays that nobody needs any more are freed no sooner than at the end of a call of eval.
class Evaluation {
 public:
  explicit Evaluation(const std::vector<mx::array>& roots) {
    for (const mx::array& root : roots) visit(root, [&](const mx::array& x) { learn(x); });
    done_.clear();
    for (const mx::array& root : roots) ++readers_[owner(root)];  // held by the caller
  }

  void evaluate(const mx::array& root) {
    visit(root, [&](const mx::array& x) { run(x); });
    for (const std::uintptr_t id : std::exchange(read_, {})) drop(id);
    copied_ = 0;
  }
  /// Ends the caller's hold of a root.
  void release(const mx::array& root) { drop(owner(root)); }
  uint64_t peak() const { return peak_; }

 private:
  /// Calls `f` for each array that `root` needs and that was not visited, inputs first.
  template <class F>
  void visit(const mx::array& root, const F& f) {
    std::vector<std::pair<mx::array, bool>> stack{{root, false}};
    while (!stack.empty()) {
      auto [x, ready] = stack.back();
      stack.pop_back();
      if (!x.has_primitive() || x.is_available() || done_.contains(x.id())) continue;
      if (ready) {
        f(x);
        for (const mx::array& output : x.outputs()) done_.emplace(output.id(), true);
        continue;
      }
      stack.emplace_back(x, true);
      for (const mx::array& input : x.inputs()) stack.emplace_back(input, false);
    }
  }

  void learn(const mx::array& x) {
    const bool view = is_view(x);
    for (const mx::array& output : x.outputs()) {
      owners_[output.id()] = view ? owner(x.inputs().front()) : output.id();
    }
    for (const mx::array& input : x.inputs()) ++readers_[owner(input)];
  }

  void run(const mx::array& x) {
    const bool view = is_view(x);
    if (!view) {
      for (const mx::array& input : x.inputs()) {  // an operation may copy a view, whose elements lie in another order
        if (owner(input) != input.id()) copied_ += input.nbytes();
      }
      for (const mx::array& output : x.outputs()) {
        live_ += output.nbytes();
        allocated_.emplace(output.id(), output.nbytes());
      }
      peak_ = std::max(peak_, live_ + copied_);
    }
    for (const mx::array& input : x.inputs()) read_.push_back(owner(input));
  }

  std::uintptr_t owner(const mx::array& x) const {
    const auto found = owners_.find(x.id());
    return found == owners_.end() ? x.id() : found->second;
  }

  void drop(std::uintptr_t id) {
    const auto readers = readers_.find(id);
    if (readers == readers_.end() || --readers->second > 0) return;
    const auto found = allocated_.find(id);
    if (found == allocated_.end()) return;
    live_ -= found->second;
    allocated_.erase(found);
  }

  std::unordered_map<std::uintptr_t, std::uintptr_t> owners_;  // the array in whose memory each one of the graph lies
  std::unordered_map<std::uintptr_t, uint64_t> allocated_;
  std::unordered_map<std::uintptr_t, int> readers_;  // that have not run
  std::vector<std::uintptr_t> read_;                 // by the operations of this call
  std::unordered_map<std::uintptr_t, bool> done_;
  uint64_t live_ = 0, copied_ = 0, peak_ = 0;
};

uint64_t bytes_of(const EncodedMedia& media) {
  uint64_t bytes = media.features.nbytes();
  for (const mx::array& features : media.layer_features) bytes += features.nbytes();
  return bytes;
}

}  // namespace

uint64_t evaluation_peak(const EncodedMedia& media) {
  std::vector<mx::array> roots = media.stages, last = media.layer_features;
  last.push_back(media.features);
  roots.insert(roots.end(), last.begin(), last.end());
  Evaluation evaluation(roots);
  for (size_t i = 0; i < media.stages.size(); ++i) {
    evaluation.evaluate(media.stages[i]);
    if (i > 0) evaluation.release(media.stages[i - 1]);
  }
  for (const mx::array& x : last) evaluation.evaluate(x);
  return evaluation.peak();
}

uint64_t media_workspace_bytes() {
  constexpr uint64_t kCuda = uint64_t{32} << 20;
  return mx::cu::is_available() && !cpu_is_default() ? kCuda : 0;
}

uint64_t MediaMemory::bytes(const GenerateRequest& request) {
  uint64_t kept = 0, peak = 0;
  for (const MediaItem& item : request.media) {
    const Size& size = size_of(item);
    kept += size.kept;
    peak = std::max(peak, size.peak);
  }
  if (prompt_encoder(model_)) {
    const Size& size = size_of_prompt(static_cast<int>(request.prompt.size()));
    kept += size.kept;
    peak = std::max(peak, size.peak);
  }
  return peak == 0 ? kept : kept + peak + media_workspace_bytes();
}

const MediaMemory::Size& MediaMemory::size_of(const MediaItem& item) {
  const MediaData& data = *item.data;
  const std::string key =
      fmt::format("{} {} {}", static_cast<int>(data.kind), fmt::join(data.shape, "x"), fmt::join(data.grid, "x"));
  if (const auto found = sizes_.find(key); found != sizes_.end()) return found->second;
  const EncodedMedia encoded = model_.media_encoder()->encode(data);
  const uint64_t values = data.values.size() * sizeof(float);
  Size size{evaluation_peak(encoded) + values, bytes_of(encoded) + values};
  if (model_.media_encoder()->is_attended_to()) size.kept += cross_bytes(encoded.features);
  return sizes_.emplace(key, size).first->second;
}

const MediaMemory::Size& MediaMemory::size_of_prompt(int tokens) {
  const std::string key = fmt::format("prompt {}", tokens);
  if (const auto found = sizes_.find(key); found != sizes_.end()) return found->second;
  const mx::array embeddings = model_.embed(mx::zeros({1, tokens}, mx::int32));
  const EncodedMedia encoded = prompt_encoder(model_)->encode_prompt(embeddings);
  const Size size{evaluation_peak(encoded), bytes_of(encoded) + cross_bytes(encoded.features)};
  return sizes_.emplace(key, size).first->second;
}

/// The keys and values of all layers that attend to `features`.
uint64_t MediaMemory::cross_bytes(const mx::array& features) {
  const auto bytes_after = [&](std::vector<CrossMedia> media) {
    ModelCache cache = model_.make_cache(1);
    Inputs inputs{.ids = mx::array({0}, {1, 1}, mx::int32), .cross_media = std::move(media)};
    model_.hidden(inputs, cache);
    return cache.nbytes();
  };
  return bytes_after({{0, 0, features}}) - bytes_after({});
}

}  // namespace mlxk

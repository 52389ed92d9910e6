#include "backend/speech/frame_model.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <optional>

#include "backend/speech/frame_search.h"
#include "backend/speech/windowed_model.h"
#include "base/error.h"
#include "cpu/phase.h"

namespace mlxk {
namespace {

/// A window being transcribed frame by frame.
class FrameWindow : public SpeechWindow {
 public:
  FrameWindow(const FrameNet& net, SpeechRequest request) : SpeechWindow(net, std::move(request)), net_(net) {}

  bool decodes() const override { return search_.has_value(); }
  FrameSearch& search() { return *search_; }
  /// A row [1, …] of the frame that is decoded next.
  mx::array frame() const {
    const int at = search_->frame();
    return mx::slice(*frames_, {at, 0}, {at + 1, frames_->shape(1)});
  }
  std::span<const float> scores_of_frame() const {
    const auto width = static_cast<size_t>(frames_->shape(1));
    return {frames_->data<float>() + static_cast<size_t>(search_->frame()) * width, width};
  }

  /// The prediction after the last token; absent: it is to be computed from state().
  std::optional<Prediction>& prediction() { return prediction_; }
  const std::vector<mx::array>& state() const { return state_; }
  /// There is a new token: its prediction follows from the state so far.
  void follow() {
    state_ = prediction_->state;
    prediction_.reset();
  }

  /// All frames are decoded: answers; returns true at the end.
  bool take_tokens() {
    SpeechEmitted found = std::move(*search_).result();
    tokens_ += static_cast<int64_t>(found.tokens.size());
    for (const mx::array& part : state_) {
      mx::array values = mx::contiguous(mx::astype(part, mx::float32));
      values.eval();
      found.state.predictor.insert(found.state.predictor.end(), values.data<float>(),
                                   values.data<float>() + values.size());
    }
    search_.reset();
    return ask(found);
  }

 private:
  SpeechEncoded take(const mx::array& frames) override {
    frames_ = mx::contiguous(mx::squeeze(frames, 0));
    frames_->eval();
    return {frames_->shape(0)};
  }

  bool begin(const SpeechTask& task) override {
    const auto* emit = std::get_if<SpeechEmit>(&task);
    if (!emit) throw Error(ErrorKind::internal, "[speech] the model decodes by frames only");
    const auto [arrays, width] = net_.state_shape();
    const auto& predictor = emit->state.predictor;
    const bool fits =
        emit->first >= 0 && emit->last <= frames_->shape(0) && emit->state.skip >= 0 &&
        emit->state.last <= net_.shape().vocab_size &&
        (predictor.empty() || predictor.size() == static_cast<size_t>(arrays) * static_cast<size_t>(width));
    if (!fits) throw Error(ErrorKind::invalid, "[speech] the frames are outside the window");
    state_.clear();
    for (int i = 0; i < arrays && !predictor.empty(); ++i) {
      state_.emplace_back(predictor.data() + static_cast<ptrdiff_t>(i) * width, mx::Shape{1, width}, mx::float32);
    }
    prediction_.reset();
    search_.emplace(net_.rule(), *emit);
    return search_->done() && take_tokens();
  }

  const FrameNet& net_;
  std::optional<mx::array> frames_;  // [frames, …]
  std::optional<FrameSearch> search_;
  std::optional<Prediction> prediction_;
  std::vector<mx::array> state_;  // before the last token; empty: none
};

class FrameModel : public WindowedModel<FrameNet, FrameWindow> {
 public:
  explicit FrameModel(std::unique_ptr<FrameNet> net) : WindowedModel(std::move(net)) {}

  void check(const SpeechRequest& request) const override {
    const size_t mels = static_cast<size_t>(net_->shape().mels), count = request.features.size();
    if (count > 0 && count % mels == 0 && count / mels <= kMaxFeatures && request.next) return;
    throw Error(ErrorKind::invalid,
                fmt::format("a window must have 1 to {} times {} features, got {}", kMaxFeatures, mels, count));
  }

 private:
  static constexpr size_t kMaxFeatures = 100 * 60 * 5;

  /// One step of every window at `decoding`; CTC reads all frames at once.
  void decode(std::span<Sequence* const> running, const std::vector<size_t>& decoding, const StepSink& sink) override {
    if (!net_->rule().transducer) {
      for (const size_t i : decoding) {
        guarded(running, i, sink, [&, &one = window(running, i)] {
          while (!one.search().done()) one.search().take(one.scores_of_frame());
          return one.take_tokens();
        });
      }
      return;
    }
    const std::vector<float> scores = join(running, decoding);
    const size_t width = scores.size() / decoding.size();
    for (size_t k = 0; k < decoding.size(); ++k) {
      guarded(running, decoding[k], sink, [&, &one = window(running, decoding[k])] {
        if (one.search().take(std::span(scores).subspan(k * width, width))) one.follow();
        return one.search().done() && one.take_tokens();
      });
    }
  }

  /// The scores of each window's frame after its text.
  std::vector<float> join(std::span<Sequence* const> running, const std::vector<size_t>& decoding) {
    const PhaseScope phase(Phase::decode);
    std::vector<FrameWindow*> stale;
    std::vector<int32_t> last;
    std::vector<std::vector<mx::array>> states;
    for (const size_t i : decoding) {
      FrameWindow& one = window(running, i);
      if (one.prediction()) continue;
      stale.push_back(&one);
      last.push_back(one.search().last());
      states.push_back(one.state());
    }
    if (!stale.empty()) {
      auto predictions = net_->predict(last, states);
      for (size_t r = 0; r < stale.size(); ++r) stale[r]->prediction() = std::move(predictions[r]);
    }
    std::vector<mx::array> frames, outs;
    for (const size_t i : decoding) {
      frames.push_back(window(running, i).frame());
      outs.push_back(window(running, i).prediction()->out);
    }
    const bool single = frames.size() == 1;
    mx::array scores = mx::contiguous(
        net_->join(single ? frames[0] : mx::concatenate(frames, 0), single ? outs[0] : mx::concatenate(outs, 0)));
    std::vector<mx::array> all{scores};
    for (FrameWindow* one : stale) {
      all.push_back(one->prediction()->out);
      for (const mx::array& part : one->prediction()->state) all.push_back(part);
    }
    mx::eval(all);
    return {scores.data<float>(), scores.data<float>() + scores.size()};
  }
};

}  // namespace

std::unique_ptr<SpeechModel> make_frame_model(std::unique_ptr<FrameNet> net) {
  return std::make_unique<FrameModel>(std::move(net));
}

}  // namespace mlxk

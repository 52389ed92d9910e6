#include "backend/speech/frame_model.h"

#include <fmt/format.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <optional>

#include "backend/speech/frame_search.h"
#include "base/error.h"
#include "cpu/phase.h"

namespace mlxk {
namespace {

/// A window being transcribed: encoded layer by layer, then decoded.
class FrameWindow : public Sequence {
 public:
  FrameWindow(const FrameNet& net, SpeechRequest request) : net_(net), request_(std::move(request)) {}
  DoneEvent cancelled() const override { return done(FinishReason::cancelled); }
  DoneEvent done(FinishReason reason) const { return {reason, {.completion_tokens = tokens_}, {}}; }

  bool decodes() const { return search_.has_value(); }

  /// Runs one layer of the encoder; after the last it requests the task. Returns true at the end.
  bool encode() {
    const PhaseScope phase(Phase::encode);
    if (!encoded_) {
      const int mels = net_.shape().mels, n = static_cast<int>(request_.features.size()) / mels;
      encoded_ = net_.encode_frames(mx::array(request_.features.data(), {1, n, mels}, mx::float32));
      request_.features = {};
    }
    auto& stages = encoded_->stages;
    if (stage_ < stages.size()) {
      mx::eval(stages[stage_]);
      if (stage_ > 0) stages[stage_ - 1] = mx::array(0);
      ++stage_;
      return false;
    }
    stages.clear();
    mx::array frames = mx::contiguous(mx::squeeze(encoded_->frames, 0));
    frames.eval();
    encoded_->frames = frames;
    mx::clear_cache();
    return ask(SpeechEncoded{frames.shape(0)});
  }

  FrameSearch& search() { return *search_; }
  /// A row [1, …] of the frame that is decoded next.
  mx::array frame() const {
    const int at = search_->frame();
    return mx::slice(encoded_->frames, {at, 0}, {at + 1, encoded_->frames.shape(1)});
  }
  std::span<const float> scores_of_frame() const {
    const auto width = static_cast<size_t>(encoded_->frames.shape(1));
    return {encoded_->frames.data<float>() + static_cast<size_t>(search_->frame()) * width, width};
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
  bool ask(const SpeechAnswer& answer) {
    const SpeechTask task = request_.next(answer);
    if (std::holds_alternative<SpeechFinish>(task)) return true;
    const auto* emit = std::get_if<SpeechEmit>(&task);
    if (!emit) throw Error(ErrorKind::internal, "[speech] the model decodes by frames only");
    const auto [arrays, width] = net_.state_shape();
    const auto& predictor = emit->state.predictor;
    const bool fits =
        emit->first >= 0 && emit->last <= encoded_->frames.shape(0) && emit->state.skip >= 0 &&
        emit->state.last <= net_.blank() &&
        (predictor.empty() || predictor.size() == static_cast<size_t>(arrays) * static_cast<size_t>(width));
    if (!fits) throw Error(ErrorKind::invalid, "[speech] the frames are outside the window");
    state_.clear();
    for (int i = 0; i < arrays && !predictor.empty(); ++i) {
      state_.emplace_back(predictor.data() + static_cast<ptrdiff_t>(i) * width, mx::Shape{1, width}, mx::float32);
    }
    prediction_.reset();
    search_.emplace(net_.rule(), net_.blank(), *emit);
    return search_->done() && take_tokens();
  }

  const FrameNet& net_;
  SpeechRequest request_;
  std::optional<EncodedFrames> encoded_;
  size_t stage_ = 0;  // the next of its stages
  std::optional<FrameSearch> search_;
  std::optional<Prediction> prediction_;
  std::vector<mx::array> state_;  // before the last token; empty: none
  int64_t tokens_ = 0;
};

class FrameModel : public SpeechModel {
 public:
  explicit FrameModel(std::unique_ptr<FrameNet> net) : net_(std::move(net)) {
    const auto& shape = net_->shape();
    facts_ = {.model_type = shape.model_type,
              .vocab_size = shape.vocab_size,
              .weight_bytes = shape.weight_bytes,
              .speech = SpeechFacts{.mels = shape.mels}};
  }

  const ModelFacts& facts() const override { return facts_; }

  void check(const SpeechRequest& request) const override {
    const size_t mels = static_cast<size_t>(net_->shape().mels), count = request.features.size();
    if (count > 0 && count % mels == 0 && count / mels <= kMostFeatures && request.next) return;
    throw Error(ErrorKind::invalid,
                fmt::format("a window must have 1 to {} times {} features, got {}", kMostFeatures, mels, count));
  }

  std::unique_ptr<Sequence> start(SpeechRequest request) override {
    check(request);
    return std::make_unique<FrameWindow>(*net_, std::move(request));
  }

  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    std::vector<size_t> decoding;
    for (size_t i = 0; i < running.size(); ++i) {
      if (window(running, i).decodes()) decoding.push_back(i);
    }
    if (!decoding.empty()) decode(running, decoding, sink);
    // Between two tokens of the other windows, the encoder runs one layer for one window.
    for (size_t k = 0; k < running.size(); ++k) {
      const size_t i = (turn_ + k) % running.size();
      if (std::find(decoding.begin(), decoding.end(), i) != decoding.end()) continue;
      turn_ = i;
      guarded(running, i, sink, [&] { return window(running, i).encode(); });
      break;
    }
  }

 private:
  static constexpr size_t kMostFeatures = 100 * 60 * 5;

  static FrameWindow& window(std::span<Sequence* const> running, size_t i) {
    return static_cast<FrameWindow&>(*running[i]);
  }

  /// Runs a step of one window; an error fails only that window.
  template <class Body>
  void guarded(std::span<Sequence* const> running, size_t i, const StepSink& sink, const Body& body) {
    try {
      if (!body()) return;
    } catch (const Error& e) {
      sink(i, FailedEvent{e.kind(), e.what()});
      return;
    }
    net_->check_weights();
    sink(i, window(running, i).done(FinishReason::stop));
  }

  /// One step of every window at `decoding`; CTC reads all frames at once.
  void decode(std::span<Sequence* const> running, const std::vector<size_t>& decoding, const StepSink& sink) {
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

  std::unique_ptr<FrameNet> net_;
  ModelFacts facts_;
  size_t turn_ = 0;  // the window whose encoder runs
};

}  // namespace

std::unique_ptr<SpeechModel> make_frame_model(std::unique_ptr<FrameNet> net) {
  return std::make_unique<FrameModel>(std::move(net));
}

}  // namespace mlxk

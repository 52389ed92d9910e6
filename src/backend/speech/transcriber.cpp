#include "backend/speech/transcriber.h"

#include <fmt/format.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "backend/speech/frame_model.h"
#include "backend/speech/search.h"
#include "base/error.h"
#include "cpu/phase.h"

namespace mlxk {

namespace {

// Shorter prompts are decoded token by token: repacking the weights does not pay for them.
constexpr size_t kShortPrompt = 16;

mx::array ids_of(std::span<const int32_t> tokens) {
  return mx::array(tokens.data(), {1, static_cast<int>(tokens.size())}, mx::int32);
}

/// The evaluated logits of the last token, [vocab].
std::vector<float> floats_of(const mx::array& logits) {
  mx::array whole = mx::contiguous(logits);
  whole.eval();
  return {whole.data<float>(), whole.data<float>() + whole.size()};
}

float probability(std::span<const float> logits, int32_t token) {
  const float most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x - most));
  return static_cast<float>(std::exp(static_cast<double>(logits[static_cast<size_t>(token)] - most)) / sum);
}

/// A window being transcribed.
class Window : public Sequence {
 public:
  Window(const SpeechNet& net, SpeechRequest request) : net_(net), request_(std::move(request)) {}
  DoneEvent cancelled() const override { return done(FinishReason::cancelled); }
  DoneEvent done(FinishReason reason) const { return {reason, {.completion_tokens = tokens_}, {}}; }

  /// Whether it decodes token by token now, together with others.
  bool searches() const { return search_.has_value(); }
  /// Whether the encoder still runs.
  bool listening() const { return !encoded_ready_; }
  SearchState& search() { return *search_; }
  const EncodedAudio& encoded() const { return *encoded_; }

  /// Continues with any task that is not a search; returns true at the end.
  bool work() {
    if (!encoded_ready_) return encode();
    return std::visit([&](auto& task) { return begin(task); }, task_);
  }
  /// The search has produced a text; returns true at the end.
  bool take_text() {
    const SpeechText text = search_->result();
    tokens_ += static_cast<int64_t>(text.tokens.size());
    search_.reset();
    return ask(text);
  }

 private:
  /// Runs one layer of the encoder, so that nobody waits for all of them; after the last it requests the first task.
  bool encode() {
    const PhaseScope phase(Phase::encode);
    if (!encoded_) {
      const auto& shape = net_.shape();
      encoded_ =
          net_.encode(mx::array(request_.features.data(), {1, 2 * shape.audio_positions, shape.mels}, mx::float32));
      request_.features = {};
    }
    if (stage_ < encoded_->stages.size()) {
      mx::eval(encoded_->stages[stage_]);
      if (stage_ > 0) encoded_->stages[stage_ - 1] = mx::array(0);
      ++stage_;
      return false;
    }
    encoded_->stages.clear();
    mx::eval(encoded_->arrays());
    mx::clear_cache();
    encoded_ready_ = true;
    return ask(SpeechEncoded{});
  }

  bool ask(const SpeechAnswer& answer) {
    task_ = request_.next(answer);
    return std::holds_alternative<SpeechFinish>(task_);
  }

  bool begin(const SpeechFinish&) { return true; }
  bool begin(const SpeechEmit&) { throw Error(ErrorKind::internal, "[speech] the model does not decode by frames"); }

  bool begin(const SpeechDetect& task) {
    check(std::span(&task.start, 1));
    check(task.languages);
    ModelCache cache = net_.make_cache(1);
    const PhaseScope phase(Phase::decode);
    const auto logits = floats_of(net_.forward(ids_of(std::span(&task.start, 1)), cache, {&*encoded_}, true));
    std::vector<float> chosen;
    for (const int32_t language : task.languages) chosen.push_back(logits[static_cast<size_t>(language)]);
    SpeechLanguages answer;
    for (size_t i = 0; i < chosen.size(); ++i) {
      answer.probabilities.push_back(probability(chosen, static_cast<int32_t>(i)));
    }
    return ask(answer);
  }

  bool begin(const SpeechSearch& task) {
    check(task.prompt);
    const auto& shape = net_.shape();
    const int room = shape.text_positions - static_cast<int>(task.prompt.size());
    if (task.start_index < 0 || static_cast<size_t>(task.start_index) >= task.prompt.size() || room < 1) {
      throw Error(ErrorKind::invalid,
                  fmt::format("a prompt of {} tokens leaves no room for an answer in a context of {}",
                              task.prompt.size(), shape.text_positions));
    }
    SpeechRow row{net_.make_cache(1), {}, 0, false};
    row.cache.expect(static_cast<int>(task.prompt.size()) + std::min(task.max_tokens, room));
    const PhaseScope phase(task.prompt.size() < kShortPrompt ? Phase::decode : Phase::prefill);
    const std::span prompt(task.prompt);
    const auto until_start = static_cast<size_t>(task.start_index) + 1;
    auto logits = floats_of(net_.forward(ids_of(prompt.first(until_start)), row.cache, {&*encoded_}, true));
    const int32_t no_speech = task.rules.no_speech;
    const float silent = no_speech < 0 || no_speech >= shape.vocab_size ? 0 : probability(logits, no_speech);
    if (until_start < prompt.size()) {
      logits = floats_of(net_.forward(ids_of(prompt.subspan(until_start)), row.cache, {&*encoded_}, true));
    }
    search_.emplace(task, std::move(row), silent, room);
    search_->choose(logits, shape.vocab_size);
    return search_->ended() && take_text();
  }

  bool begin(const SpeechAlign& task) {
    check(task.tokens);
    const PhaseScope phase(Phase::prefill);
    auto aligned = net_.align(ids_of(task.tokens), *encoded_);
    SpeechAlignment answer;
    answer.heads = static_cast<int>(aligned.scores.size());
    answer.positions = net_.shape().audio_positions;
    for (const auto& head : aligned.scores) {
      const auto scores = floats_of(head);
      answer.scores.insert(answer.scores.end(), scores.begin(), scores.end());
    }
    const auto logits = floats_of(aligned.logits);
    const auto vocab = static_cast<size_t>(net_.shape().vocab_size);
    const size_t below = std::min(vocab, static_cast<size_t>(task.end));
    for (size_t i = 0; i + 1 < task.tokens.size(); ++i) {
      const int32_t next = task.tokens[i + 1];
      const bool text = static_cast<size_t>(next) < below;
      answer.probabilities.push_back(text ? probability(std::span(logits).subspan(i * vocab, below), next) : 0);
    }
    return ask(answer);
  }

  void check(std::span<const int32_t> tokens) const {
    for (const int32_t id : tokens) {
      if (id >= 0 && id < net_.shape().vocab_size) continue;
      throw Error(ErrorKind::invalid,
                  fmt::format("token id {} is outside the model's vocabulary of {}", id, net_.shape().vocab_size));
    }
  }

  const SpeechNet& net_;
  SpeechRequest request_;
  std::optional<EncodedAudio> encoded_;
  size_t stage_ = 0;  // the next of its stages
  bool encoded_ready_ = false;
  SpeechTask task_;
  std::optional<SearchState> search_;
  int64_t tokens_ = 0;
};

class MlxSpeechModel : public SpeechModel {
 public:
  explicit MlxSpeechModel(std::unique_ptr<SpeechNet> net) : net_(std::move(net)) {
    const auto& shape = net_->shape();
    facts_ = {
        .model_type = shape.model_type,
        .vocab_size = shape.vocab_size,
        .context_length = shape.text_positions,
        .weight_bytes = shape.weight_bytes,
        .speech = SpeechFacts{shape.mels, 2 * shape.audio_positions, shape.audio_positions, shape.text_positions}};
  }

  const ModelFacts& facts() const override { return facts_; }

  void check(const SpeechRequest& request) const override {
    const size_t wanted = static_cast<size_t>(facts_.speech->frames) * static_cast<size_t>(facts_.speech->mels);
    if (request.features.size() == wanted && request.next) return;
    throw Error(ErrorKind::invalid,
                fmt::format("a window must have {} features, got {}", wanted, request.features.size()));
  }

  std::unique_ptr<Sequence> start(SpeechRequest request) override {
    check(request);
    return std::make_unique<Window>(*net_, std::move(request));
  }

  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    std::vector<size_t> searching;
    for (size_t i = 0; i < running.size(); ++i) {
      if (window(running, i).searches()) searching.push_back(i);
    }
    if (!searching.empty()) decode(running, searching, sink);
    // Between two tokens of the other windows, the encoder runs one layer for one window.
    for (size_t k = 0; k < running.size(); ++k) {
      const size_t i = (turn_ + k) % running.size();
      if (std::find(searching.begin(), searching.end(), i) != searching.end()) continue;
      turn_ = window(running, i).listening() ? i : i + 1;
      guarded(i, sink, [&] { return window(running, i).work(); }, running);
      break;
    }
  }

 private:
  static Window& window(std::span<Sequence* const> running, size_t i) { return static_cast<Window&>(*running[i]); }

  /// Runs a step of one window; an error fails only that window.
  template <class Body>
  void guarded(size_t i, const StepSink& sink, const Body& body, std::span<Sequence* const> running) {
    try {
      if (!body()) return;
    } catch (const Error& e) {
      sink(i, FailedEvent{e.kind(), e.what()});
      return;
    }
    net_->check_weights();
    sink(i, window(running, i).done(FinishReason::stop));
  }

  /// Computes one token for every row of the windows at `searching`.
  void decode(std::span<Sequence* const> running, const std::vector<size_t>& searching, const StepSink& sink) {
    const PhaseScope phase(Phase::decode);
    std::vector<SpeechRow*> rows;
    std::vector<const EncodedAudio*> encoded;
    std::vector<int32_t> last;
    for (const size_t i : searching) {
      for (SpeechRow* row : window(running, i).search().active()) {
        rows.push_back(row);
        encoded.push_back(&window(running, i).encoded());
        last.push_back(row->tokens.back());
      }
    }
    const mx::array ids(last.data(), {static_cast<int>(last.size()), 1}, mx::int32);
    std::vector<ModelCache*> caches;
    for (SpeechRow* row : rows) caches.push_back(&row->cache);
    std::vector<float> logits;
    if (rows.size() == 1) {
      logits = floats_of(net_->forward(ids, *caches.front(), encoded, true));
    } else {
      ModelCache batched = ModelCache::batch(caches);
      logits = floats_of(net_->forward(ids, batched, encoded, true));
      batched.unbatch();
    }
    const auto vocab = static_cast<size_t>(facts_.vocab_size);
    size_t at = 0;
    for (const size_t i : searching) {
      guarded(
          i, sink,
          [&, &one = window(running, i)] {
            const size_t count = one.search().active().size();
            const auto own = std::span(logits).subspan(at * vocab, count * vocab);
            at += count;
            one.search().choose(own, facts_.vocab_size);
            return one.search().ended() && one.take_text();
          },
          running);
    }
  }

  std::unique_ptr<SpeechNet> net_;
  ModelFacts facts_;
  size_t turn_ = 0;  // the window whose turn is next
};

}  // namespace

std::unique_ptr<SpeechModel> make_speech_model(std::unique_ptr<SpeechNet> net) {
  if (auto* frames = dynamic_cast<FrameNet*>(net.get())) {
    net.release();
    return make_frame_model(std::unique_ptr<FrameNet>(frames));
  }
  return std::make_unique<MlxSpeechModel>(std::move(net));
}

}  // namespace mlxk

#include "backend/speech/transcriber.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "backend/speech/frame_model.h"
#include "backend/speech/search.h"
#include "backend/speech/windowed_model.h"
#include "base/error.h"
#include "cpu/phase.h"
#include "models/audio/seq2seq_net.h"

namespace mlxk {

namespace {

// Shorter prompts are decoded token by token: repacking the weights does not pay for them.
constexpr size_t kShortPrompt = 16;
constexpr size_t kMaxSeconds = 60;  // of a window of any length

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

/// A window being transcribed by a decoder.
class Window : public SpeechWindow {
 public:
  Window(const Seq2SeqNet& net, SpeechRequest request) : SpeechWindow(net, std::move(request)), net_(net) {}

  bool decodes() const override { return search_.has_value(); }
  SearchState& search() { return *search_; }
  const WindowKeys& keys() const { return keys_; }

  /// The search has produced a text; returns true at the end.
  bool take_text() {
    const SpeechText text = search_->result();
    tokens_ += static_cast<int64_t>(text.tokens.size());
    search_.reset();
    return ask(text);
  }

 private:
  SpeechEncoded take(const mx::array& frames) override {
    keys_ = net_.window_keys(frames);
    std::vector<mx::array> all;
    for (const CrossKeys& layer : keys_) {
      all.push_back(layer.keys);
      all.push_back(layer.values);
    }
    mx::eval(all);
    return {};
  }

  bool begin(const SpeechTask& task) override {
    return std::visit([&](const auto& one) { return begin(one); }, task);
  }
  bool begin(const SpeechFinish&) { return true; }
  bool begin(const SpeechEmit&) { throw Error(ErrorKind::internal, "[speech] the model does not decode by frames"); }

  bool begin(const SpeechDetect& task) {
    check(std::span(&task.start, 1));
    check(task.languages);
    ModelCache cache = net_.make_cache(1);
    const PhaseScope phase(Phase::decode);
    const auto logits = floats_of(net_.forward(ids_of(std::span(&task.start, 1)), cache, {&keys_}, true));
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
    auto logits = floats_of(net_.forward(ids_of(prompt.first(until_start)), row.cache, {&keys_}, true));
    const int32_t no_speech = task.rules.no_speech;
    const float silent = no_speech < 0 || no_speech >= shape.vocab_size ? 0 : probability(logits, no_speech);
    if (until_start < prompt.size()) {
      logits = floats_of(net_.forward(ids_of(prompt.subspan(until_start)), row.cache, {&keys_}, true));
    }
    search_.emplace(task, std::move(row), silent, room);
    search_->choose(logits, shape.vocab_size);
    return search_->ended() && take_text();
  }

  bool begin(const SpeechAlign& task) {
    check(task.tokens);
    const PhaseScope phase(Phase::prefill);
    auto aligned = net_.align(ids_of(task.tokens), keys_);
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

  const Seq2SeqNet& net_;
  WindowKeys keys_;
  std::optional<SearchState> search_;
};

class Transcriber : public WindowedModel<Seq2SeqNet, Window> {
 public:
  explicit Transcriber(std::unique_ptr<Seq2SeqNet> net) : WindowedModel(std::move(net)) {}

  void check(const SpeechRequest& request) const override {
    const size_t wanted = static_cast<size_t>(facts_.speech->frames) * static_cast<size_t>(facts_.speech->mels);
    const size_t count = request.features.size();
    if (wanted == 0) {  // of any length
      const auto width = static_cast<size_t>(facts_.speech->mels);
      const size_t most = kMaxSeconds * (width == 1 ? 16000 : 100);  // samples, or frames
      if (count > 0 && count <= most * width && count % width == 0 && request.next) return;
      throw Error(ErrorKind::invalid,
                  fmt::format("a window must have 1 to {} times {} features, got {}", most, width, count));
    }
    if (count == wanted && request.next) return;
    throw Error(ErrorKind::invalid,
                fmt::format("a window must have {} features, got {}", wanted, request.features.size()));
  }

 private:
  /// Computes one token for every row of the windows at `searching`.
  void decode(std::span<Sequence* const> running, const std::vector<size_t>& searching, const StepSink& sink) override {
    const PhaseScope phase(Phase::decode);
    std::vector<SpeechRow*> rows;
    std::vector<const WindowKeys*> windows;
    std::vector<int32_t> last;
    for (const size_t i : searching) {
      for (SpeechRow* row : window(running, i).search().active()) {
        rows.push_back(row);
        windows.push_back(&window(running, i).keys());
        last.push_back(row->tokens.back());
      }
    }
    const mx::array ids(last.data(), {static_cast<int>(last.size()), 1}, mx::int32);
    std::vector<ModelCache*> caches;
    for (SpeechRow* row : rows) caches.push_back(&row->cache);
    std::vector<float> logits;
    if (rows.size() == 1) {
      logits = floats_of(net_->forward(ids, *caches.front(), windows, true));
    } else {
      ModelCache batched = ModelCache::batch(caches);
      logits = floats_of(net_->forward(ids, batched, windows, true));
      batched.unbatch();
    }
    const auto vocab = static_cast<size_t>(facts_.vocab_size);
    size_t at = 0;
    for (const size_t i : searching) {
      guarded(running, i, sink, [&, &one = window(running, i)] {
        const size_t count = one.search().active().size();
        const auto own = std::span(logits).subspan(at * vocab, count * vocab);
        at += count;
        one.search().choose(own, facts_.vocab_size);
        return one.search().ended() && one.take_text();
      });
    }
  }
};

}  // namespace

std::unique_ptr<SpeechModel> make_speech_model(std::unique_ptr<SpeechNet> net) {
  SpeechNet* const whole = net.release();  // one of the two owns it from here
  if (auto* frames = dynamic_cast<FrameNet*>(whole)) return make_frame_model(std::unique_ptr<FrameNet>(frames));
  return std::make_unique<Transcriber>(std::unique_ptr<Seq2SeqNet>(&dynamic_cast<Seq2SeqNet&>(*whole)));
}

}  // namespace mlxk

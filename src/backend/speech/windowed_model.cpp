#include "backend/speech/windowed_model.h"

#include <mlx/memory.h>
#include <mlx/transforms.h>

#include "cpu/phase.h"

namespace mlxk {

bool SpeechWindow::encode() {
  const PhaseScope phase(Phase::encode);
  if (!encoding_) {
    const int width = encoder_.shape().mels, n = static_cast<int>(request_.features.size()) / width;
    encoding_ = encoder_.encode_conditioned(mx::array(request_.features.data(), {1, n, width}, mx::float32),
                                            request_.conditions);
    request_.features = {};
  }
  auto& stages = encoding_->stages;
  if (stage_ < stages.size()) {
    mx::eval(stages[stage_]);
    if (stage_ > 0) stages[stage_ - 1] = mx::array(0);
    ++stage_;
    return false;
  }
  stages.clear();
  const SpeechEncoded answer = take(encoding_->frames);
  encoding_.reset();
  mx::clear_cache();
  encoded_ = true;
  return ask(answer);
}

bool SpeechWindow::ask(const SpeechAnswer& answer) {
  task_ = request_.next(answer);
  return std::holds_alternative<SpeechFinish>(task_);
}

}  // namespace mlxk

#include "serving/model_loader.h"

#include <fmt/format.h>

#include "base/error.h"
#include "serving/draft_model.h"
#include "speech/vocabulary.h"
#include "tokenizer/chat_template.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

class TextLoader : public ModelLoader {
 public:
  explicit TextLoader(const ModelInfo& info)
      : info_(info),
        tokenizer_(Tokenizer::load(info.ref.path)),
        template_(ChatTemplate::load(info.ref.path, *tokenizer_)),
        image_processor_(info.vision.ok ? open_image_processor(info.ref.path) : nullptr),
        audio_processor_(info.audio.ok ? open_audio_processor(info.ref.path) : nullptr) {}

  std::shared_ptr<const ServedModel> read(Worker& worker, const LoadOptions& options,
                                          const ProgressSink& progress) override {
    auto handle = worker.load(info_.load_kind(), info_.ref.path, progress, options);
    log_speculation(info_.ref.name, options, handle->facts());
    return std::make_shared<const ServedText>(info_, std::move(tokenizer_), std::move(template_), std::move(handle),
                                              std::move(image_processor_), std::move(audio_processor_));
  }

 private:
  ModelInfo info_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::unique_ptr<const ImageProcessor> image_processor_;
  std::unique_ptr<const AudioProcessor> audio_processor_;
};

class SpeechLoader : public ModelLoader {
 public:
  explicit SpeechLoader(const ModelInfo& info) : info_(info) {}

  std::shared_ptr<const ServedModel> read(Worker& worker, const LoadOptions& options,
                                          const ProgressSink& progress) override {
    auto handle = worker.load(ModelKind::speech, info_.ref.path, progress, options);
    auto vocabulary = load_speech_vocabulary(info_.ref.path, handle->facts());
    return std::make_shared<const ServedSpeech>(info_, std::move(vocabulary), std::move(handle));
  }

 private:
  ModelInfo info_;
};

class EmbeddingLoader : public ModelLoader {
 public:
  explicit EmbeddingLoader(const ModelInfo& info) : info_(info), encoder_(TextEncoder::load(info)) {}

  std::shared_ptr<const ServedModel> read(Worker& worker, const LoadOptions& options,
                                          const ProgressSink& progress) override {
    auto handle = worker.load(ModelKind::embedding, info_.ref.path, progress, options);
    return std::make_shared<const ServedEmbedding>(info_, std::move(encoder_), std::move(handle));
  }

 private:
  ModelInfo info_;
  std::shared_ptr<const TextEncoder> encoder_;
};

}  // namespace

std::unique_ptr<ModelLoader> open_model(const ModelInfo& info) {
  switch (info.load_kind()) {
    case ModelKind::text:
    case ModelKind::vision:
    case ModelKind::audio: return std::make_unique<TextLoader>(info);
    case ModelKind::speech: return std::make_unique<SpeechLoader>(info);
    case ModelKind::embedding: return std::make_unique<EmbeddingLoader>(info);
  }
  throw Error(ErrorKind::internal, fmt::format("no loader of {} models", name_of(info.load_kind())));
}

}  // namespace mlxk

#include "serving/model_loader.h"

#include <fmt/format.h>

#include "base/error.h"
#include "serving/draft_model.h"

namespace mlxk {

namespace {

class TextLoader : public ModelLoader {
 public:
  explicit TextLoader(const ModelInfo& info)
      : info_(info),
        tokenizer_(Tokenizer::load(info.ref.path)),
        template_(ChatTemplate::load(info.ref.path, *tokenizer_)) {}

  std::shared_ptr<const ServedModel> read(Worker& worker, const LoadOptions& options,
                                          const ProgressSink& progress) override {
    auto handle = worker.load(info_.load_kind(), info_.ref.path, progress, options);
    log_speculation(info_.ref.name, options, handle->facts());
    return std::make_shared<const ServedText>(info_, std::move(tokenizer_), std::move(template_), std::move(handle));
  }

 private:
  ModelInfo info_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
};

class SpeechLoader : public ModelLoader {
 public:
  explicit SpeechLoader(const ModelInfo& info) : info_(info) {}

  std::shared_ptr<const ServedModel> read(Worker& worker, const LoadOptions& options,
                                          const ProgressSink& progress) override {
    auto handle = worker.load(ModelKind::speech, info_.ref.path, progress, options);
    auto vocabulary = SpeechVocabulary::load(info_.ref.path, handle->facts().vocab_size);
    return std::make_shared<const ServedSpeech>(info_, std::move(vocabulary), std::move(handle));
  }

 private:
  ModelInfo info_;
};

}  // namespace

std::unique_ptr<ModelLoader> open_model(const ModelInfo& info) {
  switch (info.load_kind()) {
    case ModelKind::text:
    case ModelKind::vision: return std::make_unique<TextLoader>(info);
    case ModelKind::speech: return std::make_unique<SpeechLoader>(info);
    case ModelKind::embedding: break;
  }
  throw Error(ErrorKind::unsupported, fmt::format("{} models are not served yet", name_of(info.load_kind())));
}

}  // namespace mlxk

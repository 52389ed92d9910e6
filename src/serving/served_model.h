#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "audio/processor.h"
#include "json/json_fwd.h"
#include "probe/model_info.h"
#include "serving/text_encoder.h"
#include "serving/tool_support.h"
#include "speech/any_vocabulary.h"
#include "tokenizer/grammar.h"
#include "tokenizer/tokenizer.h"
#include "vision/processor.h"
#include "worker/model_handle.h"

namespace mlxk {

class ChatTemplate;
class ToolFormat;
struct RenderOptions;

/// A loaded model. Immutable, any thread; the weights are freed with the last holder, so a request holds it while it
/// runs.
class ServedModel {
 public:
  ServedModel(ModelInfo info, std::shared_ptr<const ModelHandle> handle)
      : info_(std::move(info)), handle_(std::move(handle)) {}
  virtual ~ServedModel() = default;

  const ModelInfo& info() const { return info_; }
  const std::shared_ptr<const ModelHandle>& handle() const { return handle_; }

 private:
  ModelInfo info_;
  std::shared_ptr<const ModelHandle> handle_;
};

/// A text model with its tokenizer, chat template and tool format.
class ServedText : public ServedModel {
 public:
  ServedText(ModelInfo info, std::shared_ptr<const Tokenizer> tokenizer,
             std::shared_ptr<const ChatTemplate> chat_template, std::shared_ptr<const ModelHandle> handle,
             std::unique_ptr<const ImageProcessor> image_processor = nullptr,
             std::unique_ptr<const AudioProcessor> audio_processor = nullptr);

  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  const ChatTemplate* chat_template() const { return template_.get(); }             // null: none
  const ImageProcessor* image_processor() const { return image_processor_.get(); }  // null: images are not accepted
  const AudioProcessor* audio_processor() const { return audio_processor_.get(); }  // null: the model hears nothing
  /// How the model calls tools; tool_format() is null for ToolSupport::none.
  ToolSupport tool_support() const { return tool_support_; }
  const ToolFormat* tool_format() const { return tool_format_; }
  /// For generic support: describes options.tools in `messages`, and removes them from `options`, before the template
  /// is rendered.
  void write_generic_tools(Json& messages, RenderOptions& options) const;
  /// The grammar compiler, made at the first call (about 0.2 s for 50k tokens); throws unsupported.
  const GrammarCompiler& grammars() const;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::unique_ptr<const ImageProcessor> image_processor_;
  std::unique_ptr<const AudioProcessor> audio_processor_;
  ToolSupport tool_support_ = ToolSupport::none;
  const ToolFormat* tool_format_ = nullptr;
  bool takes_system_message_ = false;  // set only for generic tools
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const GrammarCompiler> grammars_;
};

/// A speech model and its vocabulary.
class ServedSpeech : public ServedModel {
 public:
  ServedSpeech(ModelInfo info, AnySpeechVocabulary vocabulary, std::shared_ptr<const ModelHandle> handle)
      : ServedModel(std::move(info), std::move(handle)), vocabulary_(std::move(vocabulary)) {}

  const AnySpeechVocabulary& vocabulary() const { return vocabulary_; }

 private:
  AnySpeechVocabulary vocabulary_;
};

/// An embedding model, a reranker or a classifier: its conversion of texts to ids, and the meaning of its output.
class ServedEmbedding : public ServedModel {
 public:
  ServedEmbedding(ModelInfo info, std::shared_ptr<const TextEncoder> encoder, std::shared_ptr<const ModelHandle> handle)
      : ServedModel(std::move(info), std::move(handle)), encoder_(std::move(encoder)) {}

  const std::shared_ptr<const TextEncoder>& encoder() const { return encoder_; }

 private:
  std::shared_ptr<const TextEncoder> encoder_;
};

/// Casts `model` to the kind that Policy admitted (null stays null); throws internal for another kind.
std::shared_ptr<const ServedText> as_text(const std::shared_ptr<const ServedModel>& model);
std::shared_ptr<const ServedSpeech> as_speech(const std::shared_ptr<const ServedModel>& model);
std::shared_ptr<const ServedEmbedding> as_embedding(const std::shared_ptr<const ServedModel>& model);

}  // namespace mlxk

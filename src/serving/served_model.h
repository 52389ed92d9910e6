#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "chat/tools.h"
#include "probe/model_info.h"
#include "serving/tool_support.h"
#include "speech/vocabulary.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/grammar.h"
#include "tokenizer/tokenizer.h"
#include "worker/worker.h"

namespace mlxk {

/// A model that is loaded. Immutable, any thread; the weights are freed once the last holder is gone, so a request
/// holds it while it runs.
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

/// A text model, with all that turns text into ids and back.
class ServedText : public ServedModel {
 public:
  ServedText(ModelInfo info, std::shared_ptr<const Tokenizer> tokenizer,
             std::shared_ptr<const ChatTemplate> chat_template, std::shared_ptr<const ModelHandle> handle);

  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  const ChatTemplate* chat_template() const { return template_.get(); }  // null: none
  /// How it calls tools; by `tool_format`, which is null for none.
  ToolSupport tool_support() const { return tool_support_; }
  const ToolFormat* tool_format() const { return tool_format_; }
  /// Of generic support: `messages` with options.tools described in them, as the template gets them (then without
  /// tools).
  void write_generic_tools(Json& messages, RenderOptions& options) const;
  /// Made at the first call (some 0.2 s at 50k tokens); throws unsupported.
  const GrammarCompiler& grammars() const;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  ToolSupport tool_support_ = ToolSupport::none;
  const ToolFormat* tool_format_ = nullptr;
  bool takes_system_message_ = false;  // known only where tools are generic
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const GrammarCompiler> grammars_;
};

/// A speech model and its vocabulary.
class ServedSpeech : public ServedModel {
 public:
  ServedSpeech(ModelInfo info, std::shared_ptr<const SpeechVocabulary> vocabulary,
               std::shared_ptr<const ModelHandle> handle)
      : ServedModel(std::move(info), std::move(handle)), vocabulary_(std::move(vocabulary)) {}

  const std::shared_ptr<const SpeechVocabulary>& vocabulary() const { return vocabulary_; }

 private:
  std::shared_ptr<const SpeechVocabulary> vocabulary_;
};

/// `model` as what Policy admitted the request to (null stays null); throws internal where it is of the other kind.
std::shared_ptr<const ServedText> as_text(const std::shared_ptr<const ServedModel>& model);
std::shared_ptr<const ServedSpeech> as_speech(const std::shared_ptr<const ServedModel>& model);

}  // namespace mlxk

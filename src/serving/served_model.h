#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "chat/tools.h"
#include "probe/model_info.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/grammar.h"
#include "tokenizer/tokenizer.h"
#include "worker/worker.h"

namespace mlxk {

/// A model that is loaded, with all that turns text into ids and back. Immutable, any thread; the weights are freed once the
/// last holder is gone, so a request holds it while it runs.
class ServedModel {
 public:
  ServedModel(ModelInfo info, std::shared_ptr<const Tokenizer> tokenizer, std::shared_ptr<const ChatTemplate> chat_template,
              std::shared_ptr<const ModelHandle> handle);

  const ModelInfo& info() const { return info_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  const ChatTemplate* chat_template() const { return template_.get(); }  // null: none
  const ToolFormat* tool_format() const { return tool_format_; }         // null: calls no tools
  const std::shared_ptr<const ModelHandle>& handle() const { return handle_; }
  /// Made at the first call (some 0.2 s at 50k tokens); throws unsupported.
  const GrammarCompiler& grammars() const;

 private:
  ModelInfo info_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  const ToolFormat* tool_format_ = nullptr;
  std::shared_ptr<const ModelHandle> handle_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const GrammarCompiler> grammars_;
};

}  // namespace mlxk

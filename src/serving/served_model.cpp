#include "serving/served_model.h"

namespace mlxk {

ServedModel::ServedModel(ModelInfo info, std::shared_ptr<const Tokenizer> tokenizer,
                         std::shared_ptr<const ChatTemplate> chat_template, std::shared_ptr<const ModelHandle> handle)
    : info_(std::move(info)),
      tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      tool_format_(template_ ? detect_tool_format(template_->source(), *tokenizer_) : nullptr),
      handle_(std::move(handle)) {}

const GrammarCompiler& ServedModel::grammars() const {
  const std::lock_guard lock(mutex_);
  if (!grammars_) grammars_ = std::make_unique<const GrammarCompiler>(tokenizer_);
  return *grammars_;
}

}  // namespace mlxk

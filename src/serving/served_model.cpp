#include "serving/served_model.h"

#include <fmt/format.h>

#include "base/error.h"
#include "chat/generic_tools.h"
#include "chat/tools.h"
#include "json/json.h"
#include "tokenizer/chat_template.h"

namespace mlxk {

namespace {
template <class Kind>
std::shared_ptr<const Kind> as(const std::shared_ptr<const ServedModel>& model, const char* what) {
  auto result = std::dynamic_pointer_cast<const Kind>(model);
  if (model && !result)
    throw Error(ErrorKind::internal, fmt::format("'{}' is not a {} model", model->info().ref.name, what));
  return result;
}
}  // namespace

ServedText::ServedText(ModelInfo info, std::shared_ptr<const Tokenizer> tokenizer,
                       std::shared_ptr<const ChatTemplate> chat_template, std::shared_ptr<const ModelHandle> handle,
                       std::unique_ptr<const ImageProcessor> image_processor,
                       std::unique_ptr<const AudioProcessor> audio_processor)
    : ServedModel(std::move(info), std::move(handle)),
      tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      image_processor_(std::move(image_processor)),
      audio_processor_(std::move(audio_processor)) {
  if (!template_) return;
  tool_format_ = detect_tool_format(template_->tools_source(), *tokenizer_);
  tool_support_ = tool_format_ ? ToolSupport::native : ToolSupport::generic;
  if (tool_format_) return;
  tool_format_ = &generic_tool_format();
  takes_system_message_ = mlxk::takes_system_message(*template_);
}

void ServedText::write_generic_tools(Json& messages, RenderOptions& options) const {
  mlxk::write_generic_tools(messages, options, takes_system_message_);
}

const GrammarCompiler& ServedText::grammars() const {
  const std::lock_guard lock(mutex_);
  if (!grammars_) grammars_ = std::make_unique<const GrammarCompiler>(tokenizer_);
  return *grammars_;
}

std::shared_ptr<const ServedText> as_text(const std::shared_ptr<const ServedModel>& model) {
  return as<ServedText>(model, "text");
}

std::shared_ptr<const ServedSpeech> as_speech(const std::shared_ptr<const ServedModel>& model) {
  return as<ServedSpeech>(model, "speech");
}

std::shared_ptr<const ServedEmbedding> as_embedding(const std::shared_ptr<const ServedModel>& model) {
  return as<ServedEmbedding>(model, "embedding");
}

}  // namespace mlxk

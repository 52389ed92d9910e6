#include "chat/prepared_chat.h"

#include "chat/stop_strings.h"
#include "json/json.h"
#include "tokenizer/chat_template.h"

namespace mlxk {

PreparedChat prepare_chat(const Json& messages, const ChatTemplate* chat_template, const RenderOptions& options,
                          const Tokenizer& tokenizer, size_t max_tokens, const PromptImages* images,
                          const PromptAudio* audio) {
  PreparedChat prepared;
  prepared.prompt = chat_prompt(messages, chat_template, options, tokenizer, max_tokens, images, audio);
  if (chat_template) {
    prepared.reasoning = detect_reasoning(chat_template->source(), tokenizer, prepared.prompt.text);
  } else {
    for (std::string& stop : conversation_stop_strings()) prepared.stops.push_back(std::move(stop));
  }
  return prepared;
}

}  // namespace mlxk

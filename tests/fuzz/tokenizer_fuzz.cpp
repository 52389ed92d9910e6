// A tokenizer file or chat template, its kind chosen by the first byte; used once it loads.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "json/json.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/tiktoken.h"
#include "tokenizer/tokenizer.h"

namespace {

using namespace mlxk;

constexpr std::string_view kText = "Hello <s> wörld\n  東京 🙂 1234 \xFF don't [INST] aaaa";

/// The result of `body`; nullopt if it throws an Error.
template <typename Body>
auto attempt(Body body) -> std::optional<decltype(body())> {
  try {
    return body();
  } catch (const Error&) {
    return std::nullopt;
  }
}

void use(const std::shared_ptr<const Tokenizer>& tokenizer) {
  const auto ids = attempt([&] { return tokenizer->encode(kText, true); });
  if (!ids) return;
  for (const bool skip : {false, true}) {
    const auto batch = attempt([&] { return tokenizer->decode(*ids, skip); });
    const auto stream = attempt([&] {
      StreamDecoder decoder(tokenizer, skip);
      std::string text;
      for (const int32_t id : *ids) text += decoder.push(id);
      return text + decoder.finish();
    });
    if (batch && stream && *batch != *stream) std::abort();
  }
  for (const int32_t id : *ids) {
    if (id < 0 || id >= tokenizer->vocab_size()) std::abort();
    (void)tokenizer->id_to_token(id);
    (void)tokenizer->is_special(id);
  }
}

std::shared_ptr<const Tokenizer> load(uint8_t kind, std::string_view input) {
  TokenizerConfig config;
  switch (kind % 4) {
    case 0: return Tokenizer::from_json(input, Json::object(), "fuzz");
    case 1:
      return Tokenizer::from_json(tokenizer_json_from_sentencepiece(input, "tokenizer.model", config), {}, "fuzz");
    case 2: return Tokenizer::from_json(tokenizer_json_from_tiktoken(input, "qwen.tiktoken", config), {}, "fuzz");
    default:
      return Tokenizer::from_json(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})",
                                  parse_json(input, "fuzz"), "fuzz");
  }
}

void render(std::string_view source) {
  const auto chat = ChatTemplate::compile(std::string(source), {{"bos_token", "<s>"}});
  const Json messages = Json::parse(R"([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"},
      {"role": "assistant", "content": [{"type": "text", "text": "x"}], "reasoning": "so"}])");
  RenderOptions options;
  options.now = 0;
  options.tools = Json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {}}}])");
  (void)chat->render(messages, options);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  try {
    if (data[0] % 5 == 4) {
      render(input);
    } else {
      use(load(data[0] % 5, input));
    }
  } catch (const Error&) {
    // a refusal
  }
  return 0;
}

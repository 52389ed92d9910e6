#include "server/openai/logprobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "server/json_text.h"

namespace mlxk {

namespace {
void append_token(std::string& out, const std::string& bytes, float logprob) {
  out += R"({"token":)";
  append_json_string(out, bytes);
  out += R"(,"logprob":)";
  append_json_logprob(out, logprob);
  out += R"(,"bytes":[)";
  for (size_t i = 0; i < bytes.size(); ++i) {
    fmt::format_to(std::back_inserter(out), "{}{}", i ? "," : "", static_cast<unsigned char>(bytes[i]));
  }
  out += ']';
}

template <class Write>
void append_list(std::string& out, std::span<const ScoredToken> scores, Write&& write) {
  out += '[';
  for (size_t i = 0; i < scores.size(); ++i) {
    if (i) out += ',';
    write(scores[i]);
  }
  out += ']';
}

/// {"token": logprob, …}: the likeliest, and the chosen one. Two tokens of one spelling (parts of characters) would be
/// one key twice: the likelier stays.
void append_top(std::string& out, const TokenEvent& event, const Tokenizer& tokenizer) {
  std::vector<std::string> seen;
  out += '{';
  const auto add = [&](const TokenLogprob& one) {
    std::string key;
    append_json_string(key, tokenizer.token_bytes(one.token));
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) return;
    if (!seen.empty()) out += ',';
    out += key + ':';
    append_json_logprob(out, one.logprob);
    seen.push_back(std::move(key));
  };
  for (const TokenLogprob& one : event.top) add(one);
  add({event.token, event.logprob});
  out += '}';
}
}  // namespace

void append_chat_logprobs(std::string& out, std::span<const ScoredToken> scores, const Tokenizer& tokenizer) {
  for (size_t i = 0; i < scores.size(); ++i) {
    const TokenEvent& event = scores[i].event;
    if (i) out += ',';
    append_token(out, tokenizer.token_bytes(event.token), event.logprob);
    out += R"(,"top_logprobs":[)";
    for (size_t k = 0; k < event.top.size(); ++k) {
      if (k) out += ',';
      append_token(out, tokenizer.token_bytes(event.top[k].token), event.top[k].logprob);
      out += '}';
    }
    out += "]}";
  }
}

void append_completion_logprobs(std::string& out, std::span<const ScoredToken> scores, const Tokenizer& tokenizer) {
  out += R"({"tokens":)";
  append_list(out, scores,
              [&](const ScoredToken& one) { append_json_string(out, tokenizer.token_bytes(one.event.token)); });
  out += R"(,"token_logprobs":)";
  append_list(out, scores, [&](const ScoredToken& one) {
    if (one.scored) {
      append_json_logprob(out, one.event.logprob);
    } else {
      out += "null";
    }
  });
  out += R"(,"top_logprobs":)";
  append_list(out, scores, [&](const ScoredToken& one) {
    if (one.scored) {
      append_top(out, one.event, tokenizer);
    } else {
      out += "null";
    }
  });
  out += R"(,"text_offset":)";
  append_list(out, scores,
              [&](const ScoredToken& one) { fmt::format_to(std::back_inserter(out), "{}", one.text_offset); });
  out += '}';
}

}  // namespace mlxk

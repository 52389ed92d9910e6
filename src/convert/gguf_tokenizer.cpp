#include "convert/gguf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "convert/json_text.h"
#include "convert/pre_tokenizer.h"

namespace mlxk {

namespace {
constexpr std::string_view kSpace = "\xe2\x96\x81";  // ▁, SentencePiece's space
constexpr size_t kMaxPiece = 1024;                   // bytes; all its splits are tried as merges

enum TokenKind : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

/// Tokens that end a turn, whatever the file names as its end of text.
constexpr std::array<std::string_view, 6> kTurnEnds = {"<|im_end|>", "<end_of_turn>", "<|eot_id|>",
                                                       "<|eom_id|>", "<|end|>",       "<turn|>"};

struct Vocabulary {
  const std::vector<std::string_view>& tokens;
  std::vector<int64_t> kinds;
  std::unordered_map<std::string_view, int64_t> ids;

  std::optional<int64_t> id(std::string_view token) const {
    const auto found = ids.find(token);
    return found == ids.end() ? std::nullopt : std::optional(found->second);
  }
};

[[noreturn]] void bad(const GgufFile& file, const std::string& what) {
  throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: {}", file.place(), what));
}

Vocabulary read_vocabulary(const GgufFile& file, std::vector<std::string>& warnings) {
  const auto* tokens = file.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) bad(file, "no tokenizer.ggml.tokens");
  if (tokens->size() > INT32_MAX) bad(file, fmt::format("tokenizer.ggml.tokens: {} tokens", tokens->size()));
  Vocabulary vocabulary{
      *tokens, file.integers("tokenizer.ggml.token_type").value_or(std::vector<int64_t>(tokens->size(), kNormal)), {}};
  if (vocabulary.kinds.size() != tokens->size()) {
    bad(file,
        fmt::format("tokenizer.ggml.token_type has {} entries for {} tokens", vocabulary.kinds.size(), tokens->size()));
  }
  vocabulary.ids.reserve(tokens->size());
  size_t twice = 0;
  for (size_t i = 0; i < tokens->size(); ++i) {
    if (!is_utf8((*tokens)[i])) bad(file, fmt::format("tokenizer.ggml.tokens[{}] is not UTF-8", i));
    if (!vocabulary.ids.emplace((*tokens)[i], static_cast<int64_t>(i)).second) ++twice;
  }
  if (twice > 0)
    warnings.push_back(fmt::format("{} tokens appear twice in the vocabulary; the later ones are left out", twice));
  return vocabulary;
}

std::optional<int64_t> token_id(const GgufFile& file, const Vocabulary& vocabulary, const char* what) {
  const auto key = fmt::format("tokenizer.ggml.{}_token_id", what);
  const auto id = file.integer(key);
  if (id && (*id < 0 || static_cast<size_t>(*id) >= vocabulary.tokens.size())) {
    bad(file, fmt::format("{} is {}, the vocabulary has {} tokens", key, *id, vocabulary.tokens.size()));
  }
  return id;
}

void append_vocabulary(const Vocabulary& vocabulary, std::string& out) {
  out += "\"vocab\":{";
  bool first = true;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (vocabulary.ids.at(vocabulary.tokens[i]) != static_cast<int64_t>(i)) continue;
    if (!first) out += ',';
    first = false;
    append_json_string(out, vocabulary.tokens[i], fmt::format("tokenizer.ggml.tokens[{}]", i));
    out += fmt::format(":{}", i);
  }
  out += '}';
}

class MergeList {
 public:
  explicit MergeList(std::string& out) : out_(out) { out_ += ",\"merges\":["; }
  void add(std::string_view left, std::string_view right) {
    out_ += first_ ? "[" : ",[";
    first_ = false;
    append_json_string(out_, left, "a merge");
    out_ += ',';
    append_json_string(out_, right, "a merge");
    out_ += ']';
  }
  void end() { out_ += ']'; }

 private:
  std::string& out_;
  bool first_ = true;
};

/// Byte-level BPE lists its merges.
void append_listed_merges(const GgufFile& file, const Vocabulary& vocabulary, std::string& out) {
  const auto* merges = file.strings("tokenizer.ggml.merges");
  if (!merges) bad(file, "no tokenizer.ggml.merges");
  MergeList list(out);
  std::string whole;
  for (size_t i = 0; i < merges->size(); ++i) {
    const auto merge = (*merges)[i];
    const auto space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      bad(file, fmt::format("tokenizer.ggml.merges[{}] is not two tokens with a space between", i));
    }
    const auto left = merge.substr(0, space), right = merge.substr(space + 1);
    whole.assign(left).append(right);
    if (!vocabulary.id(left) || !vocabulary.id(right) || !vocabulary.id(whole)) {
      bad(file, fmt::format("tokenizer.ggml.merges[{}] joins or gives a token that is not in the vocabulary", i));
    }
    list.add(left, right);
  }
  list.end();
}

/// SentencePiece BPE has scores instead: a piece may be made of any two pieces, the best-scoring first.
void append_scored_merges(const GgufFile& file, const Vocabulary& vocabulary, std::string& out) {
  const auto scores = file.floats("tokenizer.ggml.scores");
  if (!scores || scores->size() != vocabulary.tokens.size()) {
    bad(file, fmt::format("tokenizer.ggml.scores must have {} entries, has {}", vocabulary.tokens.size(),
                          scores ? scores->size() : 0));
  }
  std::vector<size_t> order;
  for (size_t i = 0; i < scores->size(); ++i) {
    if ((*scores)[i] != (*scores)[i]) bad(file, fmt::format("tokenizer.ggml.scores[{}] is not a number", i));
    if (vocabulary.kinds[i] == kNormal) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return (*scores)[a] > (*scores)[b]; });
  MergeList list(out);
  for (const size_t i : order) {
    const auto piece = vocabulary.tokens[i];
    if (piece.size() > kMaxPiece)
      bad(file,
          fmt::format("tokenizer.ggml.tokens[{}] is {} bytes long, at most {} are read", i, piece.size(), kMaxPiece));
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if ((static_cast<uint8_t>(piece[cut]) & 0xc0) == 0x80) continue;  // inside a character
      const auto left = piece.substr(0, cut), right = piece.substr(cut);
      if (vocabulary.id(left) && vocabulary.id(right)) list.add(left, right);
    }
  }
  list.end();
}

void append_added_tokens(const Vocabulary& vocabulary, std::string& out) {
  out += "\"added_tokens\":[";
  bool first = true;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const auto kind = vocabulary.kinds[i];
    if (kind != kControl && kind != kUserDefined && kind != kUnknown) continue;
    if (vocabulary.tokens[i].empty() || vocabulary.ids.at(vocabulary.tokens[i]) != static_cast<int64_t>(i)) continue;
    out += fmt::format("{}{{\"id\":{},\"content\":", first ? "" : ",", i);
    append_json_string(out, vocabulary.tokens[i], fmt::format("tokenizer.ggml.tokens[{}]", i));
    out += fmt::format(R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":{}}})",
                       kind != kUserDefined);
    first = false;
  }
  out += ']';
}

/// Adds the tokens that begin and end every text; null if there are none.
Json post_processor(const Vocabulary& vocabulary, std::optional<int64_t> bos, std::optional<int64_t> eos) {
  if (!bos && !eos) return nullptr;
  Json single = Json::array(), pair = Json::array(), special = Json::object();
  const auto token = [&](Json& list, std::optional<int64_t> id, int type) {
    if (!id) return;
    const std::string text(vocabulary.tokens[static_cast<size_t>(*id)]);
    list.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
    special[text] = {{"id", text}, {"ids", Json::array({*id})}, {"tokens", Json::array({text})}};
  };
  const auto text = [&](Json& list, const char* name, int type) {
    token(list, bos, type);
    list.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    token(list, eos, type);
  };
  text(single, "A", 0);
  text(pair, "A", 0);
  text(pair, "B", 1);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

Json replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

/// The chat template, or the list of named ones; null if the file has none.
Json chat_template(const GgufFile& file) {
  const auto text = [&](const std::string& key) {
    const auto value = file.string(key);
    if (!value || !is_utf8(*value)) bad(file, fmt::format("{} is missing or not UTF-8", key));
    return std::string(*value);
  };
  const auto* names = file.strings("tokenizer.chat_templates");
  const bool has_default = file.has("tokenizer.chat_template");
  if (!names || names->empty()) return has_default ? Json(text("tokenizer.chat_template")) : Json(nullptr);
  Json list = Json::array();
  if (has_default) list.push_back({{"name", "default"}, {"template", text("tokenizer.chat_template")}});
  for (const auto name : *names) {
    if (!is_utf8(name)) bad(file, "tokenizer.chat_templates has a name that is not UTF-8");
    if (name == "default") continue;
    list.push_back({{"name", std::string(name)}, {"template", text(fmt::format("tokenizer.chat_template.{}", name))}});
  }
  return list;
}

std::vector<int64_t> end_tokens(const GgufFile& file, const Vocabulary& vocabulary, std::optional<int64_t> eos) {
  std::vector<int64_t> ids;
  const auto add = [&](std::optional<int64_t> id) {
    if (id && std::find(ids.begin(), ids.end(), *id) == ids.end()) ids.push_back(*id);
  };
  add(eos);
  add(token_id(file, vocabulary, "eot"));
  add(token_id(file, vocabulary, "eom"));
  for (const auto text : kTurnEnds) {
    const auto id = vocabulary.id(text);
    if (id && (vocabulary.kinds[static_cast<size_t>(*id)] == kControl ||
               vocabulary.kinds[static_cast<size_t>(*id)] == kUserDefined))
      add(id);
  }
  // Qwen's generation settings end at both.
  if (file.string("general.architecture").value_or("").substr(0, 4) == "qwen") add(vocabulary.id("<|endoftext|>"));
  return ids;
}
}  // namespace

GgufTokenizer read_gguf_tokenizer(const GgufFile& file, std::vector<std::string>& warnings) {
  const auto kind = file.string("tokenizer.ggml.model").value_or("");
  if (kind != "gpt2" && kind != "llama") {
    throw Error(ErrorKind::unsupported,
                fmt::format("[gguf] {}: tokenizer.ggml.model \"{}\" is not read, only gpt2 and llama", file.place(),
                            kind.substr(0, 80)));
  }
  const bool byte_level = kind == "gpt2";
  const auto vocabulary = read_vocabulary(file, warnings);
  const auto bos = token_id(file, vocabulary, "bos"), eos = token_id(file, vocabulary, "eos"),
             pad = token_id(file, vocabulary, "padding");

  PreTokenizer pre;
  if (byte_level) {
    const auto name = file.string("tokenizer.ggml.pre").value_or("default");
    pre = find_pre_tokenizer(name);
    if (name == "default")
      warnings.push_back("tokenizer.ggml.pre does not say how text is split; GPT-2's rule is used");
  }
  const bool add_bos = file.boolean("tokenizer.ggml.add_bos_token").value_or(byte_level ? pre.adds_bos : true);
  const bool add_eos = file.boolean("tokenizer.ggml.add_eos_token").value_or(false);
  const bool prefix = !byte_level && file.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  if (file.has("tokenizer.ggml.precompiled_charsmap")) {
    warnings.push_back("tokenizer.ggml.precompiled_charsmap is ignored: text is not normalised by it");
  }

  Json normalizer, decoder;
  if (byte_level) {
    if (pre.nfc) normalizer = {{"type", "NFC"}};
    decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  } else {
    normalizer = replace(" ", kSpace);
    Json steps = Json::array({replace(kSpace, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
    if (prefix) {
      normalizer = {{"type", "Sequence"},
                    {"normalizers", Json::array({{{"type", "Prepend"}, {"prepend", kSpace}}, normalizer})}};
      steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    }
    decoder = {{"type", "Sequence"}, {"decoders", steps}};
  }

  GgufTokenizer result;
  auto& out = result.tokenizer_json;
  out = R"({"version":"1.0","truncation":null,"padding":null,)";
  append_added_tokens(vocabulary, out);
  out += ",\"normalizer\":" + normalizer.dump();
  out += ",\"pre_tokenizer\":" + pre.pre_tokenizer.dump();
  out += ",\"post_processor\":" +
         post_processor(vocabulary, add_bos ? bos : std::nullopt, add_eos ? eos : std::nullopt).dump();
  out += ",\"decoder\":" + decoder.dump();
  out += R"(,"model":{"type":"BPE","dropout":null,"unk_token":)";
  const auto unknown = byte_level ? std::nullopt : token_id(file, vocabulary, "unknown");
  if (unknown) {
    append_json_string(out, vocabulary.tokens[static_cast<size_t>(*unknown)], "the unknown token");
  } else {
    out += "null";
  }
  out += fmt::format(
      R"(,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":{0},"byte_fallback":{0},"ignore_merges":{1},)",
      !byte_level, pre.ignore_merges);
  append_vocabulary(vocabulary, out);
  if (byte_level) {
    append_listed_merges(file, vocabulary, out);
  } else {
    append_scored_merges(file, vocabulary, out);
  }
  out += "}}\n";

  auto& config = result.tokenizer_config;
  config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"add_bos_token", add_bos}, {"add_eos_token", add_eos}};
  const auto name = [&](const char* key, std::optional<int64_t> id) {
    if (id) config[key] = std::string(vocabulary.tokens[static_cast<size_t>(*id)]);
  };
  name("bos_token", bos);
  name("eos_token", eos);
  name("pad_token", pad);
  name("unk_token", unknown);
  config["clean_up_tokenization_spaces"] = false;
  const auto chat = chat_template(file);
  if (chat.is_null()) {
    warnings.push_back("the file has no chat template");
  } else {
    config["chat_template"] = chat;
  }
  result.bos = bos;
  result.pad = pad;
  result.eos = end_tokens(file, vocabulary, eos);
  result.size = static_cast<int64_t>(vocabulary.tokens.size());
  return result;
}

}  // namespace mlxk

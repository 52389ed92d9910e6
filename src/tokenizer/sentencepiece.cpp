// Source of the format: sentencepiece_model.proto of google/sentencepiece.
#include "tokenizer/sentencepiece.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "tokenizer/base64.h"
#include "tokenizer/bpe_merges.h"
#include "tokenizer/protobuf.h"

namespace mlxk {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // ▁
constexpr size_t kMaxPieces = size_t{1} << 22;

enum class Kind { normal = 1, unknown, control, user_defined, unused, byte };

struct Piece {
  std::string_view text;
  float score = 0;
  Kind kind = Kind::normal;
};

struct SentencePieceModel {
  std::vector<Piece> pieces;
  bool bpe = false;
  bool byte_fallback = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  std::string_view charsmap;
  int64_t bos_id = 1, eos_id = 2, unk_id = 0, pad_id = -1;
};

Piece read_piece(std::string_view bytes) {
  Piece piece;
  for (ProtobufReader reader(bytes); reader.next();) {
    if (reader.field() == 1) piece.text = reader.bytes();
    if (reader.field() == 2) piece.score = reader.float32();
    if (reader.field() == 3) piece.kind = static_cast<Kind>(std::clamp<int64_t>(reader.varint(), 1, 6));
  }
  return piece;
}

void read_trainer(std::string_view bytes, SentencePieceModel& model) {
  for (ProtobufReader reader(bytes); reader.next();) {
    switch (reader.field()) {
      case 3:
        if (reader.varint() > 2) throw std::runtime_error("model_type is neither unigram (1) nor bpe (2)");
        model.bpe = reader.varint() == 2;
        break;
      case 35: model.byte_fallback = reader.varint() != 0; break;
      case 40: model.unk_id = reader.varint(); break;
      case 41: model.bos_id = reader.varint(); break;
      case 42: model.eos_id = reader.varint(); break;
      case 43: model.pad_id = reader.varint(); break;
      default: break;
    }
  }
}

void read_normalizer(std::string_view bytes, SentencePieceModel& model) {
  for (ProtobufReader reader(bytes); reader.next();) {
    if (reader.field() == 2) model.charsmap = reader.bytes();
    if (reader.field() == 3) model.add_dummy_prefix = reader.varint() != 0;
    if (reader.field() == 4) model.remove_extra_whitespaces = reader.varint() != 0;
  }
}

SentencePieceModel read_model(std::string_view bytes) {
  SentencePieceModel model;
  for (ProtobufReader reader(bytes); reader.next();) {
    if (reader.field() == 1) model.pieces.push_back(read_piece(reader.bytes()));
    if (reader.field() == 2) read_trainer(reader.bytes(), model);
    if (reader.field() == 3) read_normalizer(reader.bytes(), model);
    if (model.pieces.size() > kMaxPieces) throw std::runtime_error("too many pieces");
  }
  if (model.pieces.empty()) throw std::runtime_error("no pieces: not a SentencePiece model");
  for (const Piece& piece : model.pieces) {
    if (!std::isfinite(piece.score)) throw std::runtime_error("a piece's score is not finite");
  }
  return model;
}

// A piece that spells spaces is part of the normalised text, where added tokens are not looked up.
bool is_added(const Piece& piece) {
  return piece.kind == Kind::control || piece.kind == Kind::unknown ||
         (piece.kind == Kind::user_defined && piece.text.find(kSpace) == std::string_view::npos);
}

std::string added_tokens_json(const SentencePieceModel& model) {
  std::string json = "[";
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    if (!is_added(piece) || piece.text.empty()) continue;
    json += fmt::format(R"({}{{"id":{},"content":{},"single_word":false,"lstrip":false,"rstrip":false,)"
                        R"("normalized":false,"special":{}}})",
                        json.size() > 1 ? "," : "", id, json_string(piece.text), piece.kind != Kind::user_defined);
  }
  return json + "]";
}

std::string bpe_json(const SentencePieceModel& model, bool byte_fallback) {
  PieceIds ids;
  ids.reserve(model.pieces.size());
  std::string json = fmt::format(R"({{"type":"BPE","fuse_unk":true,"byte_fallback":{},"vocab":{{)", byte_fallback);
  std::vector<uint32_t> order;
  for (uint32_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    if (!ids.emplace(piece.text, id).second) continue;  // a repeated piece can never be reached
    json += fmt::format("{}{}:{}", ids.size() > 1 ? "," : "", json_string(piece.text), id);
    if (piece.kind == Kind::normal || piece.kind == Kind::user_defined) order.push_back(id);
  }
  json += "},\"merges\":[";
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return model.pieces[a].score > model.pieces[b].score; });
  std::vector<std::string_view> texts;
  for (const uint32_t id : order) texts.push_back(model.pieces[id].text);
  bool first = true;
  for (const auto& [left, right] : bpe_merges(texts, ids, true)) {
    json += fmt::format("{}[{},{}]", first ? "" : ",", json_string(left), json_string(right));
    first = false;
  }
  json += "]";
  if (model.unk_id >= 0 && static_cast<size_t>(model.unk_id) < model.pieces.size()) {
    json += ",\"unk_token\":" + json_string(model.pieces[static_cast<size_t>(model.unk_id)].text);
  }
  return json + "}";
}

std::string unigram_json(const SentencePieceModel& model, bool byte_fallback) {
  std::string json =
      fmt::format(R"({{"type":"Unigram","unk_id":{},"byte_fallback":{},"vocab":[)", model.unk_id, byte_fallback);
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    json += fmt::format("{}[{},{}]", id ? "," : "", json_string(model.pieces[id].text),
                        static_cast<double>(model.pieces[id].score));
  }
  return json + "]}";
}

/// Normaliser, pre-tokenizer and decoder.
void add_pipeline(Json& json, const SentencePieceModel& model, bool byte_fallback, bool legacy) {
  Json normalizers = Json::array();
  const auto replace = [](const char* kind, std::string_view from, std::string_view to) {
    return Json{{"type", "Replace"}, {"pattern", {{kind, from}}}, {"content", to}};
  };
  if (!model.charsmap.empty()) {
    normalizers.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", base64_encode(model.charsmap)}});
  }
  if (model.remove_extra_whitespaces) {
    normalizers.push_back(replace("Regex", "^ +| +$", ""));
    normalizers.push_back(replace("Regex", " {2,}", " "));
  }
  // Only a Metaspace can tell the first piece of text from those after a special token.
  const bool first_only = model.add_dummy_prefix && !legacy;
  if (model.add_dummy_prefix && legacy) normalizers.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  normalizers.push_back(replace("String", " ", kSpace));
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", normalizers}};
  if (first_only) {
    json["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", kSpace}, {"prepend_scheme", "first"}, {"split", false}};
  }
  Json decoders = Json::array({replace("String", kSpace, " ")});
  if (byte_fallback) decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (model.add_dummy_prefix) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  json["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
}

void fill_names(const SentencePieceModel& model, TokenizerConfig& config) {
  const auto fill = [&](std::string& name, int64_t id) {
    const bool known = id >= 0 && static_cast<size_t>(id) < model.pieces.size();
    if (name.empty() && known) name = std::string(model.pieces[static_cast<size_t>(id)].text);
  };
  fill(config.bos_token, model.bos_id);
  fill(config.eos_token, model.eos_id);
  fill(config.unk_token, model.unk_id);
  fill(config.pad_token, model.pad_id);
}

}  // namespace

std::string tokenizer_json_from_sentencepiece(std::string_view bytes, const std::filesystem::path& path,
                                              TokenizerConfig& config) try {
  const SentencePieceModel model = read_model(bytes);
  fill_names(model, config);
  // transformers' slow tokenizers add <s> unless told otherwise; Unigram ones (T5, ALBERT …) do not.
  if (!config.add_bos_token && !config.add_eos_token && model.bpe) config.add_bos_token = true;
  const bool has_bytes = std::any_of(model.pieces.begin(), model.pieces.end(),
                                     [](const Piece& piece) { return piece.kind == Kind::byte; });
  const bool byte_fallback = model.byte_fallback || has_bytes;
  Json rest = Json::object();
  rest["version"] = "1.0";
  add_pipeline(rest, model, byte_fallback, config.legacy);
  std::string json = rest.dump();
  json.pop_back();  // the large parts are written as text: a Json object of 256k keys is slow
  return json + ",\"added_tokens\":" + added_tokens_json(model) +
         ",\"model\":" + (model.bpe ? bpe_json(model, byte_fallback) : unigram_json(model, byte_fallback)) + "}";
} catch (const std::runtime_error& e) {
  throw Error(ErrorKind::bad_model, fmt::format("[{}] {}", path.string(), e.what()));
}

std::vector<std::string> sentencepiece_pieces(std::string_view bytes, const std::filesystem::path& path) try {
  std::vector<std::string> pieces;
  for (const Piece& piece : read_model(bytes).pieces) pieces.emplace_back(piece.text);
  return pieces;
} catch (const std::runtime_error& e) {
  throw Error(ErrorKind::bad_model, fmt::format("[{}] {}", path.string(), e.what()));
}

}  // namespace mlxk

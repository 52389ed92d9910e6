#include "serving/text_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <utility>

namespace mlxk {

namespace {

using Ids = std::span<const int32_t>;

/// The first `count` of the ids, or with Truncate::start the last.
Ids kept(Ids ids, int64_t count, Truncate truncate) {
  const auto size = static_cast<size_t>(std::clamp(count, int64_t{0}, static_cast<int64_t>(ids.size())));
  return truncate == Truncate::start ? ids.last(size) : ids.first(size);
}

/// Makes both fit into `room` tokens, the longer one cut first (tokenizers: LongestFirst).
void cut_pair(Ids& first, Ids& second, int64_t room, Truncate truncate) {
  if (room < 2) throw Error(ErrorKind::invalid, "does not fit behind the special tokens");
  const bool swapped = first.size() > second.size();
  Ids &shorter = swapped ? second : first, &longer = swapped ? first : second;
  const int64_t kept_longer = std::max(room - static_cast<int64_t>(shorter.size()), room - room / 2);
  shorter = kept(shorter, room / 2, truncate);
  longer = kept(longer, kept_longer, truncate);
}

void append(std::vector<int32_t>& to, Ids ids) { to.insert(to.end(), ids.begin(), ids.end()); }

// The prompt of Qwen3-Reranker's training, from its model card (https://arxiv.org/abs/2506.05176).
constexpr const char* kBeforePair =
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    "provided. "
    "Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
constexpr const char* kBehindPair = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
constexpr const char* kTask = "Given a web search query, retrieve relevant passages that answer the query";

std::optional<int32_t> find_mask(const Tokenizer& tokenizer) {
  const auto mask = tokenizer.token_to_id("[MASK]");
  return mask ? mask : tokenizer.token_to_id("<mask>");
}

/// The token at the start of a late interaction's prompt, and the text after it; nullopt: no token.
std::optional<std::pair<int32_t, std::string>> split_marker(const Tokenizer& tokenizer, const std::string& prompt) {
  if (prompt.empty()) return std::nullopt;
  for (const size_t end : {prompt.size(), prompt.find(' ')}) {
    const std::string word = prompt.substr(0, end);
    if (const auto id = tokenizer.token_to_id(word)) return std::pair(*id, prompt.substr(word.size()));
  }
  return std::nullopt;
}

bool has_classifier(const ModelInfo& info) {
  return std::any_of(info.architectures.begin(), info.architectures.end(),
                     [](const std::string& one) { return one.find("ForSequenceClassification") != std::string::npos; });
}

}  // namespace

TextTooLongForModel::TextTooLongForModel(int64_t tokens, int64_t most)
    : Error(ErrorKind::invalid, fmt::format("has {} tokens; the model takes {}", tokens, most)) {}

std::shared_ptr<const TextEncoder> TextEncoder::load(const ModelInfo& info) {
  auto encoder = std::make_shared<TextEncoder>();
  encoder->tokenizer_ = Tokenizer::load(info.ref.path);
  encoder->config_ = read_embedding_config(info.ref.path);
  if (info.encoder_task != EncoderTask::embed) {
    encoder->classifier_ = read_classifier_config(read_json(info.ref.path / "config.json"));
  }
  encoder->frame_ = text_frame(*encoder->tokenizer_, false);
  encoder->mask_ = find_mask(*encoder->tokenizer_);
  if (const auto& late = encoder->config_.late_interaction) {
    const auto unknown = encoder->tokenizer_->token_to_id(encoder->tokenizer_->unk_token());
    for (const std::string& word : late->skipped) {
      const auto id = encoder->tokenizer_->token_to_id(word);
      if (id && id != unknown) encoder->skipped_.push_back(*id);
    }
    std::sort(encoder->skipped_.begin(), encoder->skipped_.end());
    if (late->expansion > 0 && !encoder->mask_) {
      throw Error(ErrorKind::bad_model, "queries are padded with mask tokens, but the vocabulary has none");
    }
  }
  if (info.encoder_task == EncoderTask::rerank && !has_classifier(info)) {
    const Tokenizer& tokenizer = *encoder->tokenizer_;
    const auto no = tokenizer.token_to_id("no"), yes = tokenizer.token_to_id("yes");
    if (!no || !yes) throw Error(ErrorKind::bad_model, "the vocabulary has no tokens \"no\" and \"yes\"");
    encoder->score_tokens_ = {*no, *yes};
    encoder->before_pair_ = tokenizer.encode(kBeforePair, false);
    encoder->behind_pair_ = tokenizer.encode(kBehindPair, false);
    encoder->classifier_ = {ClassifierConfig::Activation::softmax, {"no", "yes"}};
  }
  return encoder;
}

int64_t TextEncoder::limit() const { return max_tokens() > 0 ? max_tokens() : std::numeric_limits<int32_t>::max(); }

std::vector<int32_t> TextEncoder::ids_of(std::string_view text) const {
  if (!config_.lower_case) return tokenizer_->encode(text, false);
  return tokenizer_->encode(lower_case_text(text), false);
}

int64_t TextEncoder::limit_of(const NamedPrompt& prompt) const {
  if (!config_.late_interaction) return limit();
  const LateInteraction& late = *config_.late_interaction;
  const int64_t queries = late.expansion > 0 ? late.expansion : late.query_tokens;
  const int64_t own = prompt.name == "query" ? queries : late.document_tokens;
  return own > 0 ? std::min(own, limit()) : limit();
}

EncodedText TextEncoder::encode(std::string_view text, const NamedPrompt& named, Truncate truncate) const {
  if (text.empty()) throw Error(ErrorKind::invalid, "is empty");
  std::string prompt = named.text;
  std::vector<int32_t> ids;
  if (config_.late_interaction) {
    if (auto marker = split_marker(*tokenizer_, prompt)) {
      ids = {marker->first};
      prompt = std::move(marker->second);
    }
  }
  const auto marker_tokens = static_cast<int64_t>(ids.size());
  // Together, for the tokens at the seam depend on both.
  append(ids, ids_of(prompt + std::string(text)));
  EncodedText encoded;
  const int64_t limit = limit_of(named);
  const int64_t prompt_tokens = marker_tokens + (prompt.empty() ? 0 : static_cast<int64_t>(ids_of(prompt).size()));
  const auto whole = static_cast<int64_t>(ids.size() + frame_.size());
  if (const int64_t excess = whole - limit; excess > 0) {
    if (truncate == Truncate::none) throw TextTooLongForModel(whole, limit);
    const auto split = std::min<std::ptrdiff_t>(prompt_tokens, static_cast<std::ptrdiff_t>(ids.size()));
    const auto rest = static_cast<int64_t>(ids.size()) - split;
    if (excess >= rest) {
      throw Error(ErrorKind::invalid, fmt::format("does not fit behind its prompt: the model takes {} tokens", limit));
    }
    const auto gone = truncate == Truncate::start ? ids.begin() + split : ids.end() - excess;
    ids.erase(gone, gone + excess);
    encoded.is_cut = true;
  }
  encoded.ids = frame_.before;
  append(encoded.ids, ids);
  append(encoded.ids, frame_.behind);
  if (encoded.ids.empty()) throw Error(ErrorKind::invalid, "has no tokens");
  if (prompt_tokens > 0)
    encoded.prompt_tokens = static_cast<int32_t>(frame_.before.size()) + static_cast<int32_t>(prompt_tokens);
  if (config_.late_interaction) add_late_interaction(encoded, named.name == "query");
  return encoded;
}

void TextEncoder::add_late_interaction(EncodedText& text, bool is_query) const {
  const LateInteraction& late = *config_.late_interaction;
  const auto count = static_cast<int32_t>(text.ids.size());
  if (is_query) {
    if (late.expansion <= count) return;
    text.ids.resize(static_cast<size_t>(std::min(late.expansion, limit())), *mask_);
    if (!late.attends_to_expansion) text.attended = count;
    return;
  }
  for (int32_t i = 0; i < count; ++i) {
    const int32_t id = text.ids[static_cast<size_t>(i)];
    if (std::binary_search(skipped_.begin(), skipped_.end(), id)) text.without_vector.push_back(i);
  }
}

EncodedText TextEncoder::encode_masked(std::string_view text, Truncate truncate) const {
  if (!mask_) throw Error(ErrorKind::invalid, "needs a mask token, but the model's vocabulary has none");
  EncodedText encoded = encode(text, {}, truncate);
  const auto& ids = encoded.ids;
  const auto masks = std::count(ids.begin(), ids.end(), *mask_);
  if (masks != 1) {
    throw Error(ErrorKind::invalid, fmt::format("must have {} once, has it {} times",
                                                tokenizer_->id_to_token(*mask_).value_or("a mask token"), masks));
  }
  encoded.masked = static_cast<int32_t>(std::find(ids.begin(), ids.end(), *mask_) - ids.begin());
  return encoded;
}

TokenWeights TextEncoder::sparse_vector(TokenWeights found) const {
  if (config_.pipeline.splade) return found;
  std::map<int32_t, float> largest;
  for (size_t i = 0; i < found.ids.size(); ++i) {
    if (found.weights[i] <= 0 || tokenizer_->is_special(found.ids[i])) continue;
    float& weight = largest[found.ids[i]];
    weight = std::max(weight, found.weights[i]);
  }
  TokenWeights result;
  for (const auto& [id, weight] : largest) {
    result.ids.push_back(id);
    result.weights.push_back(weight);
  }
  return result;
}

RankingQuery TextEncoder::ranking_query(std::string_view query, std::string_view instruction) const {
  if (query.empty()) throw Error(ErrorKind::invalid, "is empty");
  RankingQuery ranking{std::string(query), {}};
  if (!score_tokens_.empty()) {
    ranking.text =
        fmt::format("<Instruct>: {}\n<Query>: {}\n<Document>: ", instruction.empty() ? kTask : instruction, query);
  }
  ranking.ids = ids_of(ranking.text);
  return ranking;
}

EncodedText TextEncoder::encode_pair(const RankingQuery& query, std::string_view document, Truncate truncate,
                                     int64_t most) const {
  if (document.empty()) throw Error(ErrorKind::invalid, "is empty");
  if (!score_tokens_.empty()) return encode_question(query, document, truncate, most);
  const TextFrame frame = text_frame(*tokenizer_, true);
  const std::vector<int32_t> document_ids = ids_of(document);
  Ids first = query.ids, second = document_ids;
  if (most > 0) second = kept(second, most, truncate);
  const auto whole = static_cast<int64_t>(first.size() + second.size() + frame.size());
  if (whole > limit()) {
    if (truncate == Truncate::none) throw TextTooLongForModel(whole, limit());
    cut_pair(first, second, limit() - static_cast<int64_t>(frame.size()), truncate);
  }
  EncodedText encoded{.is_cut = first.size() + second.size() < query.ids.size() + document_ids.size()};
  encoded.ids = frame.before;
  append(encoded.ids, first);
  append(encoded.ids, frame.between);
  if (frame.marks_second) encoded.second_begin = static_cast<int32_t>(encoded.ids.size());
  append(encoded.ids, second);
  append(encoded.ids, frame.behind);
  return encoded;
}

/// The question to a decoder; if it is too long, the document's end (or start) is cut.
EncodedText TextEncoder::encode_question(const RankingQuery& query, std::string_view document, Truncate truncate,
                                         int64_t most) const {
  // Together, for the tokens at the seam depend on both.
  const std::vector<int32_t> all = ids_of(query.text + std::string(document));
  const Ids head = Ids(all).first(std::min(all.size(), query.ids.size())), text = Ids(all).subspan(head.size());
  const auto fixed = static_cast<int64_t>(before_pair_.size() + head.size() + behind_pair_.size());
  const auto count = static_cast<int64_t>(text.size());
  int64_t left = most > 0 ? std::min(count, most) : count;
  if (fixed + left > limit()) {
    if (truncate == Truncate::none) throw TextTooLongForModel(fixed + left, limit());
    left = limit() - fixed;
    if (left < 1) {
      throw Error(ErrorKind::invalid, fmt::format("does not fit behind its query: the model takes {} tokens", limit()));
    }
  }
  EncodedText encoded{.is_cut = left < count};
  encoded.ids = before_pair_;
  append(encoded.ids, head);
  append(encoded.ids, kept(text, left, truncate));
  append(encoded.ids, behind_pair_);
  return encoded;
}

void finish_vector(std::vector<float>& vector, int64_t dimensions, bool normalize) {
  if (dimensions > 0 && static_cast<size_t>(dimensions) < vector.size()) vector.resize(static_cast<size_t>(dimensions));
  if (!normalize) return;
  double sum = 0;
  for (const float x : vector) sum += static_cast<double>(x) * static_cast<double>(x);
  if (sum <= 0) return;
  const double scale = 1 / std::sqrt(sum);
  for (float& x : vector) x = static_cast<float>(static_cast<double>(x) * scale);
}

std::vector<float> activate(const std::vector<float>& logits, ClassifierConfig::Activation activation) {
  std::vector<float> scores = logits;
  if (activation == ClassifierConfig::Activation::sigmoid) {
    for (float& x : scores) x = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(x))));
  } else if (activation == ClassifierConfig::Activation::softmax) {
    const double most = logits.empty() ? 0 : *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x) - most);
    for (float& x : scores) x = static_cast<float>(std::exp(static_cast<double>(x) - most) / sum);
  }
  return scores;
}

}  // namespace mlxk

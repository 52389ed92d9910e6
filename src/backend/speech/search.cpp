#include "backend/speech/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backend/speech/rules.h"
#include "base/error.h"

namespace mlxk {

SearchState::SearchState(const SpeechSearch& search, SpeechRow prompted, float no_speech, int room)
    : search_(search),
      no_speech_(no_speech),
      room_(std::min(search.max_tokens, room)),
      random_(search.seed ? *search.seed : std::random_device{}()) {
  rows_.push_back(std::move(prompted));
}

std::vector<SpeechRow*> SearchState::active() {
  std::vector<SpeechRow*> active;
  for (auto& row : rows_) {
    if (!row.ended) active.push_back(&row);
  }
  return active;
}

void SearchState::read(std::span<float> row, const std::vector<int32_t>& tokens) {
  apply_rules(search_.rules, tokens, row);
  selection_.read(row);
  if (!std::isfinite(selection_.total())) {
    throw Error(ErrorKind::internal, fmt::format("the model's logits are not finite at token {}", tokens.size() + 1));
  }
}

float SearchState::logprob(std::span<const float> row, int32_t token) {
  return row[static_cast<size_t>(token)] - selection_.total();
}

void SearchState::choose(std::span<float> logits, int64_t vocab) {
  search_.beams > 0 ? choose_beams(logits, vocab) : choose_each(logits, vocab);
  const auto active = this->active();
  ended_ = ended_ || active.empty() || ++steps_ >= room_;
}

void SearchState::choose_each(std::span<float> logits, int64_t vocab) {
  const auto width = static_cast<size_t>(vocab);
  const bool first = steps_ == 0;
  if (first) {
    // All candidates start equal.
    while (rows_.size() < static_cast<size_t>(search_.candidates)) {
      rows_.push_back({rows_.front().cache.snapshot(), {}, 0, false});
    }
  }
  size_t at = 0;
  for (auto& row : rows_) {
    if (row.ended) continue;
    const auto own = logits.subspan(at * width, width);
    if (!first || at == 0) read(own, row.tokens);
    if (!first) ++at;
    const float temperature = search_.temperature;
    const int32_t token = temperature == 0
                              ? selection_.first_largest()
                              : selection_.draw(temperature, std::uniform_real_distribution<double>(0, 1)(random_));
    row.sum_logprob += logprob(own, token);
    row.ended = token == search_.rules.end;
    if (!row.ended) row.tokens.push_back(token);
  }
}

void SearchState::choose_beams(std::span<float> logits, int64_t vocab) {
  struct Candidate {
    size_t row;
    int32_t token;
    double sum;
  };
  const auto width = static_cast<size_t>(vocab);
  const auto beams = static_cast<size_t>(search_.beams);
  std::vector<Candidate> candidates;
  for (size_t r = 0; r < rows_.size(); ++r) {
    const auto own = logits.subspan(r * width, width);
    read(own, rows_[r].tokens);
    for (const int32_t token : selection_.likeliest(search_.beams + 1)) {
      const double sum = rows_[r].sum_logprob + logprob(own, token);
      if (std::isfinite(sum)) candidates.push_back({r, token, sum});
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) { return a.sum > b.sum; });
  std::vector<Candidate> kept;
  const auto most =
      static_cast<size_t>(std::max(1L, std::lround(static_cast<double>(search_.beams) * search_.patience)));
  for (const auto& candidate : candidates) {
    if (kept.size() == beams) break;
    if (candidate.token != search_.rules.end) {
      kept.push_back(candidate);
    } else if (finished_.size() < most) {
      finished_.push_back({rows_[candidate.row].tokens, candidate.sum, no_speech_});
    }
  }
  std::vector<SpeechRow> next;
  for (const auto& candidate : kept) {
    SpeechRow& source = rows_[candidate.row];
    next.push_back({source.cache.snapshot(), source.tokens, candidate.sum, false});
    next.back().tokens.push_back(candidate.token);
  }
  rows_ = std::move(next);
  ended_ = finished_.size() >= most;
}

double SearchState::score(const SpeechText& text) const {
  const auto length = static_cast<double>(std::max<size_t>(text.tokens.size(), 1));
  return text.sum_logprob / (search_.length_penalty ? std::pow((5 + length) / 6, *search_.length_penalty) : length);
}

SpeechText SearchState::result() const {
  std::vector<SpeechText> texts = finished_;
  std::vector<SpeechText> open;
  for (const auto& row : rows_) open.push_back({row.tokens, row.sum_logprob, no_speech_});
  std::stable_sort(open.begin(), open.end(),
                   [](const auto& a, const auto& b) { return a.sum_logprob > b.sum_logprob; });
  const size_t wanted = search_.beams > 0 ? static_cast<size_t>(search_.beams) : open.size();
  for (size_t i = 0; i < open.size() && texts.size() < wanted; ++i) texts.push_back(open[i]);
  return *std::max_element(texts.begin(), texts.end(),
                           [&](const auto& a, const auto& b) { return score(a) < score(b); });
}

}  // namespace mlxk

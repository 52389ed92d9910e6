#include "backend/embedding/texts_at_work.h"

#include <algorithm>
#include <numeric>

namespace mlxk {

TextsAtWork::TextsAtWork(EmbedRequest request) : request_(std::move(request)), order_(request_.texts.size()) {
  std::iota(order_.begin(), order_.end(), size_t{0});
  const auto length = [&](size_t i) { return request_.texts[i].ids.size(); };
  std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) { return length(a) > length(b); });
  for (const EncodedText& text : request_.texts) total_ += static_cast<int64_t>(text.ids.size());
}

bool TextsAtWork::give(size_t index) {
  computed_ += static_cast<int64_t>(request_.texts[index].ids.size());
  return ++given_ == order_.size();
}

std::vector<ChosenText> choose_texts(std::span<Sequence* const> running, size_t first, int64_t tokens) {
  std::vector<ChosenText> chosen;
  const auto sequence = [&](size_t i) -> TextsAtWork& { return static_cast<TextsAtWork&>(*running[i]); };
  int64_t left = tokens;
  for (bool found = true; found;) {
    found = false;
    for (size_t k = 0; k < running.size(); ++k) {
      const size_t i = (first + k) % running.size();
      if (!sequence(i).has_next()) continue;
      const auto length = static_cast<int64_t>(sequence(i).text(sequence(i).next()).ids.size());
      if (length > left && !chosen.empty()) continue;  // a shorter text of another request may fit
      left -= length;
      chosen.push_back({i, sequence(i).take()});
      found = true;
    }
  }
  std::stable_sort(chosen.begin(), chosen.end(), [&](const ChosenText& a, const ChosenText& b) {
    return sequence(a.sequence).text(a.index).ids.size() > sequence(b.sequence).text(b.index).ids.size();
  });
  return chosen;
}

}  // namespace mlxk

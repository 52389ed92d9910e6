#include "speech/alignment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace mlxk {

namespace {

constexpr int kMedian = 7;
constexpr double kPositionsASecond = 50;

void softmax(std::span<float> row) {
  const float most = *std::max_element(row.begin(), row.end());
  float sum = 0;
  for (float& x : row) sum += x = std::exp(x - most);
  for (float& x : row) x /= sum;
}

/// The median of each number and its neighbours; mirrored at the ends.
void smooth(std::span<float> row) {
  const auto size = static_cast<int>(row.size());
  constexpr int kHalf = kMedian / 2;
  if (size <= kHalf) return;
  const std::vector<float> from(row.begin(), row.end());
  for (int i = 0; i < size; ++i) {
    std::array<float, kMedian> near{};
    for (int d = -kHalf; d <= kHalf; ++d) {
      int at = std::abs(i + d);
      if (at >= size) at = 2 * (size - 1) - at;
      near[static_cast<size_t>(d + kHalf)] = from[static_cast<size_t>(at)];
    }
    std::nth_element(near.begin(), near.begin() + kHalf, near.end());
    row[static_cast<size_t>(i)] = near[kHalf];
  }
}

/// The mean over the heads of each token's attention in excess of the other tokens': [tokens, columns].
std::vector<float> attention_of(const SpeechAlignment& alignment, int tokens, int columns) {
  std::vector<float> mean(static_cast<size_t>(tokens) * static_cast<size_t>(columns));
  std::vector<float> head(mean.size());
  for (int h = 0; h < alignment.heads; ++h) {
    for (int t = 0; t < tokens; ++t) {
      const auto* from =
          alignment.scores.data() + (static_cast<size_t>(h) * static_cast<size_t>(tokens) + static_cast<size_t>(t)) *
                                        static_cast<size_t>(alignment.positions);
      const auto row =
          std::span(head).subspan(static_cast<size_t>(t) * static_cast<size_t>(columns), static_cast<size_t>(columns));
      std::copy_n(from, columns, row.begin());
      softmax(row);
    }
    for (int c = 0; c < columns; ++c) {
      double sum = 0, squares = 0;
      const auto at = [&](int t) -> float& {
        return head[static_cast<size_t>(t) * static_cast<size_t>(columns) + static_cast<size_t>(c)];
      };
      for (int t = 0; t < tokens; ++t) sum += at(t);
      const double average = sum / tokens;
      for (int t = 0; t < tokens; ++t) squares += (at(t) - average) * (at(t) - average);
      const double deviation = std::sqrt(squares / tokens);
      for (int t = 0; t < tokens; ++t) at(t) = deviation > 0 ? static_cast<float>((at(t) - average) / deviation) : 0.0F;
    }
    for (int t = 0; t < tokens; ++t) {
      smooth(
          std::span(head).subspan(static_cast<size_t>(t) * static_cast<size_t>(columns), static_cast<size_t>(columns)));
    }
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += head[i] / static_cast<float>(alignment.heads);
  }
  return mean;
}

}  // namespace

std::vector<std::pair<int, int>> cheapest_path(std::span<const float> costs, int rows, int columns) {
  const auto width = static_cast<size_t>(columns) + 1;
  std::vector<float> total((static_cast<size_t>(rows) + 1) * width, std::numeric_limits<float>::infinity());
  std::vector<char> came(total.size(), 0);
  total[0] = 0;
  for (int i = 1; i <= rows; ++i) {
    for (int j = 1; j <= columns; ++j) {
      const size_t at = static_cast<size_t>(i) * width + static_cast<size_t>(j);
      const float both = total[at - width - 1], row = total[at - width], column = total[at - 1];
      float least = column;
      came[at] = 2;
      if (both < row && both < column) {
        least = both;
        came[at] = 0;
      } else if (row < both && row < column) {
        least = row;
        came[at] = 1;
      }
      total[at] = least + costs[static_cast<size_t>(i - 1) * static_cast<size_t>(columns) + static_cast<size_t>(j - 1)];
    }
  }
  std::vector<std::pair<int, int>> path;
  int i = rows, j = columns;
  while (i > 0 || j > 0) {
    path.emplace_back(i - 1, j - 1);
    const char step = i == 0 ? 2 : j == 0 ? 1 : came[static_cast<size_t>(i) * width + static_cast<size_t>(j)];
    if (step != 2) --i;
    if (step != 1) --j;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::vector<TimedWord> time_words(const SpeechVocabulary& vocabulary, const SpeechAlignment& alignment, int prompt,
                                  std::span<const int32_t> text, int language, int64_t frames) {
  std::vector<int32_t> whole(text.begin(), text.end());
  whole.push_back(vocabulary.end());
  const auto pieces = vocabulary.words(whole, language);
  const int columns = static_cast<int>(std::clamp<int64_t>(frames / 2, 1, alignment.positions));
  if (pieces.size() <= 1) return {};
  const int tokens = prompt + static_cast<int>(whole.size());
  std::vector<float> looks = attention_of(alignment, tokens, columns);
  // Without the prompt except its last token, which attends to where the text begins; and without the end token's
  // attention.
  const int rows = tokens - prompt;
  std::vector<float> costs(looks.begin() + static_cast<int64_t>(prompt - 1) * columns, looks.end() - columns);
  for (float& x : costs) x = -x;
  std::vector<double> begins(static_cast<size_t>(rows), 0);
  int last = -1;
  for (const auto& [row, column] : cheapest_path(costs, rows, columns)) {
    if (row == last) continue;
    last = row;
    begins[static_cast<size_t>(row)] = column / kPositionsASecond;
  }
  std::vector<TimedWord> words;
  size_t at = 0;
  for (size_t i = 0; i + 1 < pieces.size(); ++i) {
    const size_t next = at + pieces[i].tokens.size();
    double sum = 0;
    for (size_t t = at; t < next; ++t) sum += alignment.probabilities[static_cast<size_t>(prompt - 1) + t];
    words.push_back({pieces[i].word, pieces[i].tokens, begins[at], begins[next],
                     static_cast<float>(sum / static_cast<double>(next - at))});
    at = next;
  }
  return words;
}

void merge_punctuation(std::vector<TimedWord>& words, const std::string& prepended, const std::string& appended) {
  const auto merge = [](TimedWord& into, TimedWord& from, bool before) {
    into.word = before ? from.word + into.word : into.word + from.word;
    into.tokens.insert(before ? into.tokens.begin() : into.tokens.end(), from.tokens.begin(), from.tokens.end());
    from.word.clear();
    from.tokens.clear();
  };
  if (words.empty()) return;
  for (size_t j = words.size() - 1, i = j; i-- > 0;) {
    const std::string& word = words[i].word;
    const bool joins = word.rfind(' ', 0) == 0 && prepended.find(word.substr(1)) != std::string::npos;
    joins ? merge(words[j], words[i], true) : void(j = i);
  }
  for (size_t i = 0, j = 1; j < words.size(); ++j) {
    const std::string &before = words[i].word, &word = words[j].word;
    const bool joins = (before.empty() || before.back() != ' ') && appended.find(word) != std::string::npos;
    joins ? merge(words[i], words[j], false) : void(i = j);
  }
}

}  // namespace mlxk

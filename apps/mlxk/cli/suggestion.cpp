#include "cli/suggestion.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "commands/command.h"

namespace mlxk {

namespace {

struct Synonym {
  std::string_view word, command;
};
constexpr std::array kSynonyms = {
    Synonym{"ls", "list"},        Synonym{"models", "list"},      Synonym{"ps", "list"},
    Synonym{"chat", "run"},       Synonym{"generate", "run"},     Synonym{"ask", "run"},
    Synonym{"transcribe", "run"}, Synonym{"delete", "rm"},        Synonym{"remove", "rm"},
    Synonym{"del", "rm"},         Synonym{"uninstall", "rm"},     Synonym{"download", "pull"},
    Synonym{"get", "pull"},       Synonym{"fetch", "pull"},       Synonym{"install", "pull"},
    Synonym{"info", "show"},      Synonym{"inspect", "show"},     Synonym{"start", "serve"},
    Synonym{"find", "search"},    Synonym{"quantize", "convert"}, Synonym{"import", "convert"},
    Synonym{"upload", "push"},    Synonym{"check", "health"},     Synonym{"benchmark", "bench"},
    Synonym{"clean", "prune"},    Synonym{"gc", "prune"},         Synonym{"df", "du"},
    Synonym{"size", "du"},
};

/// The edit distance of the words: letters to insert, remove, replace or swap with their neighbour.
size_t distance(std::string_view from, std::string_view to) {
  std::vector<size_t> before(to.size() + 1), above(to.size() + 1), row(to.size() + 1);
  std::iota(above.begin(), above.end(), size_t{0});
  for (size_t i = 1; i <= from.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= to.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(above, row);
  }
  return above[to.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr size_t kMaxLength = 64;
  if (word.size() > kMaxLength) return {};
  std::string best;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    if (const size_t edits = distance(word, candidate); edits < least) {
      least = edits;
      best = candidate;
    }
  }
  return best;
}

std::string suggested_command(std::string_view word) {
  for (const auto& synonym : kSynonyms) {
    if (synonym.word == word) return std::string(synonym.command);
  }
  std::vector<std::string> names;
  for (const Command* command : command_table()) {
    names.push_back(command->name);
    names.insert(names.end(), command->aliases.begin(), command->aliases.end());
  }
  return nearest(word, names);
}

}  // namespace mlxk

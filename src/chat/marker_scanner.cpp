#include "chat/marker_scanner.h"

#include <algorithm>

namespace mlxk {

MarkerScanner::MarkerScanner(std::vector<std::string> markers) : markers_(std::move(markers)) {}

std::optional<MarkerScanner::Match> MarkerScanner::first_match() const {
  std::optional<Match> best;
  for (size_t i = 0; i < markers_.size(); ++i) {
    if (markers_[i].empty()) continue;
    const size_t position = buffer_.find(markers_[i]);
    if (position == std::string::npos) continue;
    const bool longer = best && position == best->position && markers_[i].size() > markers_[best->marker].size();
    if (!best || position < best->position || longer) best = Match{position, i};
  }
  return best;
}

size_t MarkerScanner::first_unfinished() const {
  size_t first = buffer_.size();
  if (finished_) return first;
  for (const std::string& marker : markers_) {
    if (marker.empty()) continue;
    size_t start = buffer_.size() - std::min(buffer_.size(), marker.size() - 1);
    for (; start < first; ++start) {
      if (marker.compare(0, buffer_.size() - start, buffer_, start, std::string::npos) == 0) first = start;
    }
  }
  return first;
}

std::optional<MarkerScanner::Piece> MarkerScanner::next() {
  if (buffer_.empty()) return std::nullopt;
  const auto match = first_match();
  const size_t unfinished = first_unfinished();
  // An earlier marker, or a longer one that begins at the same place, may still be completed.
  if (match && match->position < unfinished) {
    Piece piece{buffer_.substr(0, match->position), match->marker};
    buffer_.erase(0, match->position + markers_[match->marker].size());
    return piece;
  }
  const size_t safe = match ? std::min(match->position, unfinished) : unfinished;
  if (safe == 0) return std::nullopt;
  Piece piece{buffer_.substr(0, safe), std::nullopt};
  buffer_.erase(0, safe);
  return piece;
}

std::string MarkerScanner::take_rest() {
  std::string rest;
  rest.swap(buffer_);
  return rest;
}

}  // namespace mlxk

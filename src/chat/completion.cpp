#include "chat/completion.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "chat/tools/tool_format.h"

namespace mlxk {

namespace {
constexpr size_t kLongestMarker = 32;  // tokens

std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// Special tokens that belong to reasoning and tool calls and therefore do not end an answer.
std::vector<std::string> own_markers(const ReasoningFormat& reasoning, const ToolFormat* calls,
                                     const ToolOptions& tools) {
  std::vector<std::string> all = reasoning.markers();
  if (!calls || !tools.active()) return all;
  return joined(joined(std::move(all), calls->openings()), calls->marks());
}

ReasoningFormat with_calls(ReasoningFormat format, const ToolFormat* calls, const ToolOptions& tools) {
  format.calls = calls && tools.active() && calls->name() == "harmony";
  return format;
}

void append(std::vector<Part>& parts, std::vector<Part> more) {
  std::move(more.begin(), more.end(), std::back_inserter(parts));
}
}  // namespace

bool Completion::Asked::is_control(const std::string& token) const {
  const auto has_it = [&](const std::string& control) { return control.find(token) != std::string::npos; };
  return !token.empty() &&
         (std::any_of(stops.begin(), stops.end(), has_it) || std::any_of(markers.begin(), markers.end(), has_it));
}

Completion::Completion(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stops,
                       ReasoningFormat format, const ToolFormat* calls, const ToolOptions& tools)
    : Completion(tokenizer, [&] {
        Asked asked{with_calls(std::move(format), calls, tools), calls, tools, {}, {}};
        asked.markers = own_markers(asked.format, calls, tools);
        asked.stops = joined(std::move(stops), implicit_stop_strings(*tokenizer, asked.markers));
        return std::make_shared<const Asked>(std::move(asked));
      }()) {}

Completion::Completion(std::shared_ptr<const Tokenizer> tokenizer, std::shared_ptr<const Asked> asked)
    : tokenizer_(std::move(tokenizer)),
      asked_(std::move(asked)),
      decoder_(tokenizer_, false),
      stops_(asked_->stops),
      splitter_(asked_->format),
      tools_(asked_->calls, asked_->tools) {}

std::vector<Part> Completion::find_calls(std::vector<Part> parts) {
  std::vector<Part> all;
  for (Part& part : parts) {
    if (part.kind == Part::Kind::reasoning) {
      all.push_back(std::move(part));
    } else if (part.kind == Part::Kind::answer) {
      append(all, tools_.push(part.text));
    } else {
      if (!part.call.name.empty()) append(all, tools_.begin_call(part.call.name));
      append(all, tools_.push_arguments(part.call.arguments));
    }
  }
  return all;
}

std::vector<Part> Completion::end(std::vector<Part> parts) {
  append(parts, find_calls(splitter_.finish()));
  append(parts, tools_.finish());
  return parts;
}

std::vector<Part> Completion::pass(const std::string& text) {
  std::vector<Part> parts = find_calls(splitter_.push(stops_.push(text)));
  return stops_.stopped() ? end(std::move(parts)) : parts;
}

/// A token is counted where it begins; when a marker ends the reasoning, the marker's own tokens are subtracted.
void Completion::count_reasoning(const std::string& text, bool began_inside) {
  if (!began_inside) return;
  ++reasoning_tokens_;
  lately_.push_back(text);
  if (lately_.size() > kLongestMarker) lately_.pop_front();
  if (splitter_.reasons()) return;
  std::string all;
  for (const std::string& one : lately_) all += one;
  std::optional<size_t> marker;  // the start of the last one
  for (const std::string& one : asked_->format.markers()) {
    const size_t at = all.rfind(one);
    if (at != std::string::npos) marker = std::max(marker.value_or(0), at);
  }
  size_t end = all.size();
  for (; marker && end > *marker; lately_.pop_back()) {
    end -= lately_.back().size();
    if (end >= *marker) --reasoning_tokens_;
  }
  lately_.clear();
}

std::vector<Part> Completion::push(int32_t id) {
  if (stopped()) return {};
  const bool began_inside = splitter_.reasons();
  if (tokenizer_->is_special(id)) {
    // A special token produces no text, unless it ends the answer or belongs to a format (Gemma 4's tag is token +
    // word).
    if (!asked_->is_control(tokenizer_->id_to_token(id).value_or(""))) {
      count_reasoning("", began_inside);
      return {};
    }
  }
  const std::string text = decoder_.push(id);
  auto parts = pass(text);
  count_reasoning(text, began_inside);
  return parts;
}

std::vector<Part> Completion::finish() {
  if (stopped()) return {};
  std::vector<Part> parts = pass(decoder_.finish());
  if (stopped()) return parts;
  append(parts, find_calls(splitter_.push(stops_.finish())));
  return end(std::move(parts));
}

}  // namespace mlxk

#include "chat/reasoning.h"

#include <algorithm>
#include <utility>

#include "chat/blanks.h"

namespace mlxk {

namespace {

bool blank(std::string_view text) { return text.find_first_not_of(kBlanks) == std::string_view::npos; }

std::string_view without_leading_blanks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kBlanks), text.size()));
}

/// The channel of a harmony header: "analysis", "commentary to=functions.f <|constrain|>json", "final".
Part::Kind channel_kind(std::string_view header) {
  header = without_leading_blanks(header);
  const bool to_user = header.substr(0, 5) == "final" ||
                       (header.substr(0, 10) == "commentary" && header.find("to=") == std::string_view::npos);
  return to_user ? Part::Kind::answer : Part::Kind::reasoning;
}

/// The f of "to=functions.f"; empty if the header has none.
std::string function_in(std::string_view header) {
  constexpr std::string_view kTo = "to=functions.";
  const size_t at = header.find(kTo);
  if (at == std::string_view::npos) return "";
  header.remove_prefix(at + kTo.size());
  return std::string(header.substr(0, header.find_first_of(kBlanks)));
}

/// Whether `text` may become harmony's role with or without a recipient, "assistant to=functions.f".
bool may_be_role(std::string_view text) {
  const auto begins = [](std::string_view word, std::string_view whole) {
    const size_t size = std::min(word.size(), whole.size());
    return word.substr(0, size) == whole.substr(0, size);
  };
  constexpr std::string_view kRole = "assistant", kTo = "to=functions.";
  text = without_leading_blanks(text);
  if (text.size() > kRole.size() && begins(text, kRole)) {
    text = without_leading_blanks(text.substr(kRole.size()));
    return begins(text, kTo);
  }
  return begins(text, kRole) || begins(text, kTo);
}
}  // namespace

ReasoningSplitter::ReasoningSplitter(ReasoningFormat format)
    : format_(std::move(format)), markers_(format_.markers()), scanner_(markers_) {
  if (format_.kind == ReasoningFormat::Kind::none) begin(Part::Kind::answer);
  if (format_.prompt_opens) begin(Part::Kind::reasoning);
}

void ReasoningSplitter::begin(Part::Kind kind) {
  state_ = State::body;
  kind_ = kind;
  held_.clear();
  segment_empty_ = true;
  trims_ = kind == Part::Kind::reasoning || reasoned_;
}

void ReasoningSplitter::emit(std::string_view text, std::vector<Part>& parts) {
  if (kind_ == Part::Kind::tool_call) {
    parts.push_back({kind_, "", {0, "", std::string(text)}});
    return;
  }
  if (segment_empty_ && trims_) text = without_leading_blanks(text);
  std::string ready = held_ + std::string(text);
  held_.clear();
  if (kind_ == Part::Kind::reasoning) {  // whether trailing whitespace counts depends on the text after it
    const size_t keep = blank(ready) ? 0 : ready.find_last_not_of(kBlanks) + 1;
    held_ = ready.substr(keep);
    ready.resize(keep);
  }
  if (ready.empty()) return;
  bool& again = kind_ == Part::Kind::reasoning ? reasoned_ : answered_;
  if (segment_empty_ && again) ready.insert(0, "\n\n");
  again = true;
  segment_empty_ = false;
  if (!parts.empty() && parts.back().kind == kind_) {
    parts.back().text += ready;
  } else {
    parts.push_back({kind_, std::move(ready)});
  }
}

void ReasoningSplitter::on_text(const std::string& text, std::vector<Part>& parts) {
  if (state_ == State::body) {
    emit(text, parts);
    return;
  }
  held_ += text;
  if (state_ == State::header) return;
  // Before the first marker only whitespace, or harmony's role, is allowed; other text is an answer without reasoning.
  const bool waiting = format_.kind == ReasoningFormat::Kind::harmony ? may_be_role(held_) : blank(held_);
  if (waiting) return;
  const std::string answer = std::move(held_);
  begin(Part::Kind::answer);
  emit(answer, parts);
}

void ReasoningSplitter::on_harmony_marker(const std::string& marker, std::vector<Part>& parts) {
  if (marker == "<|constrain|>") {
    if (state_ == State::body) emit(marker, parts);
    if (state_ == State::header) held_ += ' ';
    return;
  }
  if (marker == "<|message|>") {
    const std::string header = std::move(held_);
    if (recipient_.empty()) recipient_ = function_in(header);
    const std::string function = std::exchange(recipient_, {});
    if (format_.calls && state_ == State::header && !function.empty()) {
      begin(Part::Kind::tool_call);
      parts.push_back({Part::Kind::tool_call, "", {0, function, ""}});
    } else {
      const bool to_function = state_ == State::header && !function.empty();
      const auto kind = state_ == State::header ? channel_kind(header) : Part::Kind::answer;
      begin(to_function ? Part::Kind::reasoning : kind);
    }
    return;
  }
  recipient_ = state_ == State::start && marker == "<|channel|>" ? function_in(held_) : "";
  held_.clear();
  state_ = marker == "<|channel|>" ? State::header : State::start;
}

void ReasoningSplitter::on_marker(size_t marker, std::vector<Part>& parts) {
  const std::string& text = markers_[marker];
  if (format_.kind == ReasoningFormat::Kind::harmony) {
    on_harmony_marker(text, parts);
    return;
  }
  const bool inside = reasons();
  if (state_ == State::start && text == format_.open) {
    begin(Part::Kind::reasoning);
  } else if (inside && text == format_.close) {
    begin(Part::Kind::answer);
    trims_ = true;
  } else if (inside && text == format_.open && segment_empty_) {
    // the model repeats the tag that the prompt ends with
  } else if (state_ == State::start && text == format_.close) {
    begin(Part::Kind::answer);  // no reasoning
    trims_ = true;
  } else if (state_ == State::body && reasoned_ && (text == format_.answer_open || text == format_.answer_close)) {
    // the whitespace around the answer
  } else {
    on_text(text, parts);  // a tag in the middle of an answer is its text
  }
}

void ReasoningSplitter::drain(std::vector<Part>& parts) {
  while (const auto piece = scanner_.next()) {
    if (!piece->text.empty()) on_text(piece->text, parts);
    if (piece->marker) on_marker(*piece->marker, parts);
  }
}

std::vector<Part> ReasoningSplitter::push(std::string_view text) {
  std::vector<Part> parts;
  scanner_.push(text);
  drain(parts);
  return parts;
}

std::vector<Part> ReasoningSplitter::finish() {
  std::vector<Part> parts;
  scanner_.finish();
  drain(parts);
  // An output of whitespace only, or the single word that harmony uses for the role, is an answer after all.
  if (state_ == State::start && !held_.empty() && !reasoned_ && !answered_) {
    const std::string answer = std::move(held_);
    begin(Part::Kind::answer);
    emit(answer, parts);
  }
  return parts;
}

}  // namespace mlxk

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/marker_scanner.h"
#include "chat/part.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// The format in which a model marks its reasoning.
struct ReasoningFormat {
  enum class Kind { none, tags, harmony } kind = Kind::none;
  std::string open, close;                          // tags only: "<think>", "</think>"
  bool prompt_opens = false;                        // the prompt ends with the opening tag, so the output starts inside
  bool calls = false;                               // harmony: messages to functions are tool calls, not reasoning
  std::string answer_open = {}, answer_close = {};  // tags only: may surround the answer after the reasoning

  /// The control tokens of the format; none of them ends the answer.
  std::vector<std::string> markers() const;
};

/// Recognises the format from the special tokens of the vocabulary and the source of the chat template (empty: none),
/// never from a name. `prompt` is the rendered prompt.
ReasoningFormat detect_reasoning(std::string_view template_source, const Tokenizer& tokenizer, std::string_view prompt);

/// Splits output that arrives in pieces into reasoning, answer and, if the format has them, tool calls (a part with the
/// name, then their arguments as the model wrote them). The parts, joined by kind, depend on the text alone, never on
/// how it was split.
class ReasoningSplitter {
 public:
  explicit ReasoningSplitter(ReasoningFormat format);

  std::vector<Part> push(std::string_view text);
  /// Returns the text held back.
  std::vector<Part> finish();
  /// Whether the next text is reasoning, unless it is a marker.
  bool reasons() const { return state_ == State::body && kind_ == Part::Kind::reasoning; }

 private:
  enum class State { start, header, body };
  void drain(std::vector<Part>& parts);
  void on_text(const std::string& text, std::vector<Part>& parts);
  void on_marker(size_t marker, std::vector<Part>& parts);
  void begin(Part::Kind kind);
  void emit(std::string_view text, std::vector<Part>& parts);
  void on_harmony_marker(const std::string& marker, std::vector<Part>& parts);

  ReasoningFormat format_;
  std::vector<std::string> markers_;
  MarkerScanner scanner_;
  State state_ = State::start;
  Part::Kind kind_ = Part::Kind::answer;
  std::string held_;           // start: text before the first marker; header: the header; body: trailing blanks
  std::string recipient_;      // harmony: the function that the message is addressed to
  bool segment_empty_ = true;  // nothing of this segment was emitted
  bool trims_ = false;         // the whitespace around this segment belongs to the format, not to the text
  bool reasoned_ = false;      // some reasoning was emitted
  bool answered_ = false;
};

/// Writes parts as text: `**[Reasoning]**` … `---` … `**[Answer]**`, or the answer alone.
class PartFormatter {
 public:
  explicit PartFormatter(bool show_reasoning) : show_reasoning_(show_reasoning) {}
  std::string format(const std::vector<Part>& parts);

 private:
  bool show_reasoning_;
  bool in_reasoning_ = false;
  bool any_ = false;
};

}  // namespace mlxk

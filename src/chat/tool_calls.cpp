#include "chat/tool_calls.h"

#include <algorithm>
#include <utility>

#include "chat/blanks.h"
#include "chat/tools/arguments_reader.h"
#include "chat/tools/tool_format.h"

namespace mlxk {

namespace {}

struct ToolCallSplitter::State {
  State(const ToolFormat* called, const ToolOptions& options)
      : format(called && options.active() ? called : nullptr),
        tools(options.tools),
        openings(format ? format->openings() : std::vector<std::string>()),
        scanner(openings),
        sink(feed, !options.parallel),
        at_start(format && format->bare()) {}

  void text(const std::string& more);
  void calls();
  void begin_section(std::string_view opening, const std::string& behind);
  bool read_section();
  void end_section();
  void drain();
  std::vector<Part> take() { return std::exchange(parts, {}); }

  const ToolFormat* format;
  ToolTable tools;
  std::vector<std::string> openings;
  MarkerScanner scanner;
  TextFeed feed;
  CallSink sink;
  std::unique_ptr<CallReader> reader;  // of the section that the text is in
  bool at_start;                       // only whitespace so far, and a call may begin without a marker
  bool in_message = false;             // begin_call's arguments
  bool finished = false;
  bool after_call = false;  // no text since a call
  std::string blanks;       // held back: it is text only if text follows
  std::vector<Part> parts;
};

void ToolCallSplitter::State::text(const std::string& more) {
  std::string ready = blanks + more;
  blanks.clear();
  if (after_call) ready.erase(0, std::min(ready.find_first_not_of(kBlanks), ready.size()));
  const size_t last = ready.find_last_not_of(kBlanks);
  if (format) {  // else nothing that follows can remove it
    blanks = ready.substr(last == std::string::npos ? 0 : last + 1);
    ready.resize(ready.size() - blanks.size());
  }
  if (ready.empty()) return;
  after_call = at_start = false;
  if (!parts.empty() && parts.back().kind == Part::Kind::answer) {
    parts.back().text += ready;
  } else {
    parts.push_back({Part::Kind::answer, std::move(ready)});
  }
}

void ToolCallSplitter::State::calls() {
  for (Part& part : sink.take()) {
    parts.push_back(std::move(part));
    blanks.clear();
    after_call = true;
    at_start = false;
  }
}

void ToolCallSplitter::State::begin_section(std::string_view opening, const std::string& behind) {
  at_start = false;
  feed = TextFeed();
  feed.push(std::string(opening) + behind);
  feed.skip(opening.size());
  if (finished) feed.finish();
  reader = format->reader(tools, opening);
}

/// Leaves the section: closes an open call; markup that was not a call becomes text.
void ToolCallSplitter::State::end_section() {
  if (sink.open()) {
    sink.arguments(reader->closing());
    sink.end();
    calls();
  }
  reader.reset();
  in_message = false;
  text(feed.give_back());
  scanner.push(feed.take_rest());
}

/// Whether the section has ended.
bool ToolCallSplitter::State::read_section() {
  const CallReader::State state = reader->read(feed, sink);
  calls();
  if (sink.open()) feed.keep();
  if (state == CallReader::State::more && !feed.finished()) return false;
  if (state == CallReader::State::done) feed.keep();
  end_section();
  return true;
}

void ToolCallSplitter::State::drain() {
  while (!sink.full()) {
    if (reader) {
      if (!read_section()) return;
      continue;
    }
    auto piece = scanner.next();
    if (!piece) return;
    const size_t first = piece->text.find_first_not_of(kBlanks);
    if (at_start && first != std::string::npos && piece->text[first] == '{') {
      blanks += piece->text.substr(0, first);
      std::string behind = piece->text.substr(first);
      if (piece->marker) behind += openings[*piece->marker];
      begin_section("", behind + scanner.take_rest());
      continue;
    }
    if (!piece->text.empty()) text(piece->text);
    if (piece->marker) begin_section(openings[*piece->marker], scanner.take_rest());
  }
}

ToolCallSplitter::ToolCallSplitter(const ToolFormat* format, const ToolOptions& options)
    : state_(std::make_unique<State>(format, options)) {}
ToolCallSplitter::~ToolCallSplitter() = default;
ToolCallSplitter::ToolCallSplitter(ToolCallSplitter&&) noexcept = default;
ToolCallSplitter& ToolCallSplitter::operator=(ToolCallSplitter&&) noexcept = default;

bool ToolCallSplitter::complete() const { return state_->sink.full(); }
int ToolCallSplitter::calls() const { return state_->sink.calls(); }

std::vector<Part> ToolCallSplitter::push(std::string_view text) {
  if (state_->in_message) {
    state_->end_section();
  }
  if (state_->reader) {
    state_->feed.push(text);
  } else {
    state_->scanner.push(text);
  }
  state_->drain();
  return state_->take();
}

std::vector<Part> ToolCallSplitter::begin_call(std::string name) {
  if (state_->reader) state_->end_section();
  state_->feed = TextFeed();
  state_->reader = std::make_unique<ArgumentsReader>(std::move(name));
  state_->in_message = true;
  return state_->take();
}

std::vector<Part> ToolCallSplitter::push_arguments(std::string_view json) {
  if (!state_->in_message) return {};  // anything after complete arguments in their message is ignored
  state_->feed.push(json);
  state_->drain();
  return state_->take();
}

std::vector<Part> ToolCallSplitter::finish() {
  state_->finished = true;
  state_->scanner.finish();
  state_->feed.finish();
  state_->drain();
  if (!state_->after_call && !state_->blanks.empty() && !state_->sink.full()) {
    state_->parts.push_back({Part::Kind::answer, std::exchange(state_->blanks, {})});
  }
  return state_->take();
}

}  // namespace mlxk

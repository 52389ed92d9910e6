#include "chat/tools/whole_calls.h"

#include "chat/tools/typed_value.h"

namespace mlxk {

CallReader::State WholeCalls::read(TextFeed& feed, CallSink& calls) {
  auto text = feed.take_until(close_);
  if (!text) {
    if (!feed.finished()) return State::more;
    text = std::string(feed.rest());  // the model ended its answer with the call
    feed.skip(text->size());
  }
  const auto found = parse_(*text);
  if (!found || found->empty()) return State::broken;
  for (const WholeCall& call : *found) {
    calls.begin(call.name);
    calls.arguments(json_text(call.arguments));
    calls.end();
  }
  return State::done;
}

}  // namespace mlxk

#include "chat/tools/headed_calls.h"

#include <algorithm>
#include <cctype>

namespace mlxk {

namespace {
constexpr size_t kMaxHead = 512;
}

bool is_function_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.';
  });
}

std::optional<CallReader::State> HeadedCalls::step(TextFeed& feed, CallSink& calls) {
  const auto expect = [&](std::string_view literal, Place next) -> std::optional<State> {
    const auto match = feed.match(literal);
    if (match == TextFeed::Match::unknown) return State::more;
    if (match == TextFeed::Match::no) return State::broken;
    feed.skip(literal.size());
    place_ = next;
    return std::nullopt;
  };
  switch (place_) {
    case Place::between: {
      feed.skip_blanks();
      if (feed.rest().empty()) return State::more;
      if (!format_.section_close.empty() && any_) {
        const auto end = feed.match(format_.section_close);
        if (end == TextFeed::Match::yes) {
          feed.skip(format_.section_close.size());
          return State::done;
        }
        if (end == TextFeed::Match::unknown) return State::more;
      }
      return expect(format_.call_open, Place::head);
    }
    case Place::head: {
      const std::string_view head = feed.rest().substr(0, kMaxHead);
      const size_t brace = head.find('{');
      if (brace == std::string_view::npos) return head.size() < kMaxHead ? State::more : State::broken;
      const auto name = format_.name(head.substr(0, brace));
      if (!name) return State::broken;
      feed.skip(brace);
      arguments_.emplace(*name);
      place_ = Place::arguments;
      return std::nullopt;
    }
    case Place::arguments: {
      const State state = arguments_->read(feed, calls);
      if (state != State::done) return state;
      arguments_.reset();
      any_ = true;
      place_ = format_.fence.empty() ? Place::close : Place::fence;
      return std::nullopt;
    }
    case Place::fence: {
      feed.skip_blanks();
      if (feed.rest().empty()) return State::more;
      const auto match = feed.match(format_.fence);
      if (match == TextFeed::Match::unknown) return State::more;
      if (match == TextFeed::Match::yes) feed.skip(format_.fence.size());
      place_ = Place::close;
      return std::nullopt;
    }
    default:
      if (!format_.call_close.empty()) {
        feed.skip_blanks();
        if (feed.rest().empty()) return State::more;
      }
      if (const auto state = expect(format_.call_close, Place::between)) return state;
      feed.keep();
      return std::nullopt;
  }
}

CallReader::State HeadedCalls::read(TextFeed& feed, CallSink& calls) {
  while (true) {
    if (const auto state = step(feed, calls)) return *state;
  }
}

}  // namespace mlxk

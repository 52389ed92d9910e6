#pragma once

#include <string>
#include <utility>

#include "chat/tools/json_stream.h"

namespace mlxk {

/// Reads the arguments of a call whose name is known: one JSON object. Without its first brace it is not a call.
class ArgumentsReader : public CallReader {
 public:
  explicit ArgumentsReader(std::string name) : name_(std::move(name)) {}

  State read(TextFeed& feed, CallSink& calls) override {
    if (!begun_) {
      feed.skip_blanks();
      if (feed.rest().empty()) return State::more;
      if (feed.rest()[0] != '{') return State::broken;
      begun_ = true;
      calls.begin(name_);
    }
    std::string text;
    const State state = json_.read(feed, text);
    calls.arguments(text);
    if (state == State::done) calls.end();
    return state;
  }
  std::string closing() override { return json_.closing(); }

 private:
  std::string name_;
  bool begun_ = false;
  JsonStream json_;
};

}  // namespace mlxk

#include "chat/tools/json_calls.h"

#include <algorithm>

#include "chat/tools/typed_value.h"

namespace mlxk {

namespace {
constexpr size_t kMaxHeld = 1 << 20;  // arguments that precede their call's name

/// The content of a JSON string; empty for anything else.
std::string text_of(const std::string& json) {
  const Json value = Json::parse(json, nullptr, false);
  return value.is_string() ? value.get<std::string>() : "";
}

bool is_object(const std::string& json) {
  return json.find_first_not_of(" \t\r\n") != std::string::npos && json[json.find_first_not_of(" \t\r\n")] == '{' &&
         Json::accept(json);
}
}  // namespace

bool JsonCalls::end_item(CallSink& calls) {
  if (!calls.open()) {
    if (name_.empty() || (format_.known && !format_.known->has(name_))) return false;
    calls.begin(name_);
  }
  if (!given_) calls.arguments(arguments_.empty() ? "{}" : arguments_);
  calls.end();
  name_.clear();
  arguments_.clear();
  given_ = false;
  return true;
}

std::optional<CallReader::State> JsonCalls::value(TextFeed& feed, CallSink& calls) {
  const bool is_arguments =
      std::find(format_.argument_keys.begin(), format_.argument_keys.end(), key_) != format_.argument_keys.end();
  if (!begun_) {
    feed.skip_blanks();
    if (feed.rest().empty()) return State::more;
    if (is_arguments && !name_.empty() && !given_ && feed.rest()[0] == '{') {
      calls.begin(name_);
      streaming_ = given_ = true;
    }
    begun_ = true;
  }
  std::string text;
  const State state = json_.read(feed, text);
  if (streaming_) {
    calls.arguments(text);
  } else {
    held_ += text;
  }
  if (held_.size() > kMaxHeld) return State::broken;
  if (state != State::done) return state;
  streaming_ = false;
  if (key_ == format_.name_key) {
    if (calls.open()) return State::broken;
    name_ = text_of(held_);
    if (name_.empty() || (format_.known && !format_.known->has(name_))) return State::broken;
  } else if (is_arguments && !given_) {
    arguments_ = held_;
    const std::string inside = text_of(held_);  // some templates write the arguments as a string
    if (!inside.empty()) arguments_ = inside;
    if (arguments_ == "null" || arguments_ == "\"\"") arguments_ = "{}";
    if (!is_object(arguments_)) return State::broken;
  }
  held_.clear();
  place_ = Place::after_value;
  return std::nullopt;
}

std::optional<CallReader::State> JsonCalls::step(TextFeed& feed, CallSink& calls) {
  if (place_ == Place::end) return State::done;
  if (place_ == Place::value) return value(feed, calls);
  if (place_ == Place::key && !held_.empty()) {  // inside a key
    const State state = json_.read(feed, held_);
    if (state != State::done) return state;
    key_ = text_of(held_);
    held_.clear();
    place_ = Place::colon;
    return std::nullopt;
  }
  if (place_ == Place::close && format_.close.empty()) {
    place_ = Place::end;
    return std::nullopt;
  }
  feed.skip_blanks();
  if (feed.rest().empty()) return State::more;
  const char c = feed.rest()[0];
  const auto go = [&](Place place) {
    feed.skip(1);
    place_ = place;
    return std::nullopt;
  };
  switch (place_) {
    case Place::start:
      if (c != '[' && c != '{') return State::broken;
      list_ = c == '[';
      return go(list_ ? Place::item : Place::first_key);
    case Place::item:
      if (c != '{') return State::broken;
      return go(Place::first_key);
    case Place::first_key:
    case Place::key:
      if (c == '}' && place_ == Place::first_key) return State::broken;
      if (c != '"') return State::broken;
      json_ = JsonStream();
      place_ = Place::key;
      if (json_.read(feed, held_) == State::broken) return State::broken;
      return std::nullopt;
    case Place::colon:
      if (c != ':') return State::broken;
      json_ = JsonStream();
      begun_ = false;
      return go(Place::value);
    case Place::after_value:
      if (c == ',') return go(Place::key);
      if (c != '}') return State::broken;
      feed.skip(1);
      place_ = Place::after_item;
      if (!end_item(calls)) return State::broken;
      return std::nullopt;
    case Place::after_item:
      if (list_ && c == ',') return go(Place::item);
      if (list_ && c == ']') return go(Place::close);
      if (list_) return State::broken;
      if (c == '{') return go(Place::first_key);  // several without a list
      if (c == ';') return go(Place::item);       // Llama
      place_ = Place::close;
      return std::nullopt;
    default: {
      const auto match = feed.match(format_.close);
      if (match == TextFeed::Match::unknown) return State::more;
      if (match == TextFeed::Match::no) return State::broken;
      feed.skip(format_.close.size());
      place_ = Place::end;
      return std::nullopt;
    }
  }
}

CallReader::State JsonCalls::read(TextFeed& feed, CallSink& calls) {
  while (true) {
    if (const auto state = step(feed, calls)) return *state;
  }
}

std::string JsonCalls::closing() { return streaming_ ? json_.closing() : ""; }

std::string json_call_grammar(GrammarText& text, const std::string& name_key, const std::string& argument_key,
                              const ToolFunction& tool) {
  const std::string head = "{\"" + name_key + "\": " + json_text(tool.name) + ", \"" + argument_key + "\": ";
  return text.literal(head) + text.arguments(tool) + text.literal("}");
}

CallReader::State JsonOrOther::read(TextFeed& feed, CallSink& calls) {
  if (!chosen_) {
    feed.skip_blanks();
    if (feed.rest().empty()) return State::more;
    const char c = feed.rest()[0];
    chosen_ = c == '{' || c == '[' ? json_.get() : other_.get();
  }
  return chosen_->read(feed, calls);
}

}  // namespace mlxk

#include "chat/tools/tagged_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "chat/blanks.h"
#include "chat/tools/headed_calls.h"

namespace mlxk {

namespace {
constexpr size_t kMaxTag = 512;
constexpr std::string_view kCdata = "<![CDATA[", kCdataEnd = "]]>";

size_t trimmed_end(std::string_view text) {
  const size_t last = text.find_last_not_of(kBlanks);
  return last == std::string_view::npos ? 0 : last + 1;
}

std::string_view without_ends(std::string_view text, TaggedCallsFormat::Trim trim) {
  if (trim == TaggedCallsFormat::Trim::blanks) return trimmed(text);
  if (trim == TaggedCallsFormat::Trim::none) return text;
  if (!text.empty() && text.front() == '\n') text.remove_prefix(1);
  if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  return text;
}

std::string unescaped(std::string_view text) {
  std::string out(text);
  static constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&quot;", "\""}, {"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}};
  for (const auto& [entity, character] : kEntities) {
    for (size_t at = out.find(entity); at != std::string::npos; at = out.find(entity, at + 1)) {
      out.replace(at, entity.size(), character);
    }
  }
  return out;
}

std::string without_quotes(std::string_view text) {
  text = trimmed(text);
  const bool quoted = text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front();
  return unescaped(quoted ? text.substr(1, text.size() - 2) : text);
}

/// The length of the end of `text` that may begin `close`.
size_t unfinished(std::string_view text, std::string_view close) {
  for (size_t size = std::min(text.size(), close.size() - 1); size > 0; --size) {
    if (text.substr(text.size() - size) == close.substr(0, size)) return size;
  }
  return 0;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}

/// Reads the text before `close`, and `close`; returns more or broken if it is incomplete or longer than kMaxTag.
std::optional<CallReader::State> take_head(TextFeed& feed, std::string_view close, std::string& out) {
  const std::string_view window = feed.rest().substr(0, kMaxTag);
  const size_t end = window.find(close);
  if (end == std::string_view::npos) {
    return window.size() < kMaxTag ? CallReader::State::more : CallReader::State::broken;
  }
  out = window.substr(0, end);
  feed.skip(end + close.size());
  return std::nullopt;
}
}  // namespace

std::string attribute(std::string_view tag, std::string_view name) {
  if (name.empty()) return without_quotes(tag);
  for (size_t at = tag.find(name); at != std::string_view::npos; at = tag.find(name, at + 1)) {
    const std::string_view behind = trimmed(tag.substr(at + name.size()));
    const bool whole = at == 0 || std::isspace(static_cast<unsigned char>(tag[at - 1]));
    if (!whole || behind.empty() || behind[0] != '=') continue;
    const std::string_view value = trimmed(behind.substr(1));
    if (value.empty()) return "";
    const bool quoted = value[0] == '"' || value[0] == '\'';
    const size_t end = quoted ? value.find(value[0], 1) : value.find_first_of(kBlanks);
    return unescaped(value.substr(quoted ? 1 : 0, end == std::string_view::npos ? end : end - (quoted ? 1 : 0)));
  }
  return "";
}

std::optional<CallReader::State> TaggedCalls::expect(TextFeed& feed, std::string_view literal, Place next) {
  feed.skip_blanks();
  if (feed.rest().empty()) return State::more;
  const auto match = feed.match(literal);
  if (match != TextFeed::Match::yes) return match == TextFeed::Match::no ? State::broken : State::more;
  feed.skip(literal.size());
  place_ = next;
  return std::nullopt;
}

std::optional<CallReader::State> TaggedCalls::between(TextFeed& feed) {
  if (format_.call_open.empty()) {
    place_ = Place::name;
    return std::nullopt;
  }
  feed.skip_blanks();
  if (feed.rest().empty()) return State::more;
  const auto open = feed.match(format_.call_open);
  if (open == TextFeed::Match::yes) {
    feed.skip(format_.call_open.size());
    place_ = Place::name;
    return std::nullopt;
  }
  const auto close = any_ && !format_.section_close.empty() ? feed.match(format_.section_close) : TextFeed::Match::no;
  if (close == TextFeed::Match::yes) {
    feed.skip(format_.section_close.size());
    return State::done;
  }
  return open == TextFeed::Match::unknown || close == TextFeed::Match::unknown ? State::more : State::broken;
}

std::optional<CallReader::State> TaggedCalls::name(TextFeed& feed, CallSink& calls) {
  std::string head;
  if (format_.name_close.empty()) {  // the next tag is not consumed
    const std::string_view window = feed.rest().substr(0, kMaxTag);
    const size_t end = window.find('<');
    if (end == std::string_view::npos) return window.size() < kMaxTag ? State::more : State::broken;
    head = window.substr(0, end);
    const auto open = feed.match(format_.parameter_open, end), close = feed.match(format_.call_close, end);
    const bool either = open == TextFeed::Match::yes || close == TextFeed::Match::yes;
    if (!either) {
      const bool unknown = open == TextFeed::Match::unknown || close == TextFeed::Match::unknown;
      return unknown ? State::more : State::broken;
    }
    feed.skip(end);
  } else if (const auto state = take_head(feed, format_.name_close, head)) {
    return state;
  }
  name_ = attribute(head, format_.name_attribute);
  if (!is_function_name(name_)) return State::broken;
  calls.begin(name_);
  calls.arguments("{");
  first_ = true;
  place_ = Place::inside;
  return std::nullopt;
}

std::optional<CallReader::State> TaggedCalls::end_call(CallSink& calls) {
  calls.arguments("}");
  calls.end();
  any_ = true;
  place_ = Place::between;
  if (format_.section_close.empty()) return State::done;
  return std::nullopt;
}

std::optional<CallReader::State> TaggedCalls::inside(TextFeed& feed, CallSink& calls) {
  feed.skip_blanks();
  if (feed.rest().empty()) return State::more;
  bool unknown = false;
  const auto take = [&](std::string_view literal) {
    if (literal.empty()) return false;
    const auto match = feed.match(literal);
    unknown = unknown || match == TextFeed::Match::unknown;
    if (match == TextFeed::Match::yes) feed.skip(literal.size());
    return match == TextFeed::Match::yes;
  };
  if (take(format_.call_close)) return end_call(calls);
  if (take(format_.parameter_open)) {
    place_ = Place::key;
    return std::nullopt;
  }
  if (first_ && take(format_.object_open)) {
    place_ = Place::object;
    return std::nullopt;
  }
  return unknown ? State::more : State::broken;
}

std::optional<CallReader::State> TaggedCalls::key(TextFeed& feed) {
  std::string tag;
  if (const auto state = take_head(feed, format_.key_close, tag)) return state;
  key_ = attribute(tag, format_.key_attribute);
  type_ = format_.type ? format_.type(tag) : "";
  place_ = format_.value_open.empty() ? Place::value : Place::value_open;
  return key_.empty() ? std::optional(State::broken) : std::nullopt;
}

void TaggedCalls::member(CallSink& calls, const std::string& value) {
  calls.arguments((first_ ? "" : ", ") + json_text(key_) + ": " + value);
  first_ = false;
}

/// Text is passed on as it arrives, other values once they are complete.
std::optional<CallReader::State> TaggedCalls::begin_value(TextFeed& feed, CallSink& calls) {
  const Json* schema = tools_.parameter(name_, key_);
  if (format_.cdata) {
    feed.skip_blanks();
    if (feed.rest().empty()) return State::more;
    const auto match = feed.match(kCdata);
    if (match == TextFeed::Match::unknown) return State::more;
    if (match == TextFeed::Match::yes) {
      feed.skip(kCdata.size());
      place_ = Place::cdata;
      return std::nullopt;
    }
  }
  const bool is_text = type_.empty() ? wants_text(schema, format_.untyped) : type_ == "string";
  if (is_text) {
    member(calls, "\"");
    in_text_ = true;
    text_begun_ = false;
    place_ = Place::text;
    return std::nullopt;
  }
  const auto raw = feed.take_until(format_.value_close);
  if (!raw) return State::more;
  const std::string_view value = without_ends(*raw, format_.trim);
  const bool by_tag = !type_.empty();
  member(calls, json_text(typed_value(value, by_tag ? nullptr : schema, by_tag ? Untyped::value : format_.untyped)));
  place_ = Place::inside;
  return std::nullopt;
}

std::optional<CallReader::State> TaggedCalls::text(TextFeed& feed, CallSink& calls) {
  const size_t end = feed.rest().find(format_.value_close);
  const bool found = end != std::string_view::npos;
  std::string_view ready =
      found ? feed.rest().substr(0, end)
            : feed.rest().substr(0, feed.rest().size() - unfinished(feed.rest(), format_.value_close));
  using Trim = TaggedCallsFormat::Trim;
  if (!text_begun_ && !ready.empty()) {
    size_t leading = 0;
    if (format_.trim == Trim::newline) leading = ready[0] == '\n';
    if (format_.trim == Trim::blanks) leading = std::min(ready.find_first_not_of(kBlanks), ready.size());
    text_begun_ = format_.trim != Trim::blanks || leading < ready.size();
    feed.skip(leading);
    ready.remove_prefix(leading);
  }
  // Whether trailing whitespace counts depends on the text after it.
  size_t trailing = 0;
  if (format_.trim == Trim::newline) trailing = !ready.empty() && ready.back() == '\n';
  if (format_.trim == Trim::blanks) trailing = ready.size() - trimmed_end(ready);
  const std::string piece = escaped(ready.substr(0, ready.size() - trailing));
  feed.skip(ready.size() - trailing);
  calls.arguments(piece);
  if (!found) return State::more;
  feed.skip(trailing + format_.value_close.size());
  calls.arguments("\"");
  in_text_ = false;
  place_ = Place::inside;
  return std::nullopt;
}

std::optional<CallReader::State> TaggedCalls::object(TextFeed& feed, CallSink& calls) {
  const auto raw = feed.take_until(format_.object_close);
  if (!raw) return State::more;
  const size_t brace = raw->find('{');
  const Json value = Json::parse(brace == std::string::npos ? "" : raw->substr(brace), nullptr, false);
  if (!value.is_object()) return State::broken;
  for (const auto& [name, item] : value.items()) {
    key_ = name;
    member(calls, json_text(item));
  }
  place_ = Place::inside;
  return std::nullopt;
}

std::optional<CallReader::State> TaggedCalls::step(TextFeed& feed, CallSink& calls) {
  switch (place_) {
    case Place::between: return between(feed);
    case Place::name: return name(feed, calls);
    case Place::inside: return inside(feed, calls);
    case Place::key: return key(feed);
    case Place::value_open: return expect(feed, format_.value_open, Place::value);
    case Place::value_close: return expect(feed, format_.value_close, Place::inside);
    case Place::value: return begin_value(feed, calls);
    case Place::cdata: {
      const auto inside = feed.take_until(kCdataEnd);
      if (!inside) return State::more;
      member(calls, json_text(typed_value(*inside, tools_.parameter(name_, key_), format_.untyped)));
      place_ = Place::value_close;
      return std::nullopt;
    }
    case Place::text: return text(feed, calls);
    default: return object(feed, calls);
  }
}

CallReader::State TaggedCalls::read(TextFeed& feed, CallSink& calls) {
  while (true) {
    if (const auto state = step(feed, calls)) return *state;
  }
}

}  // namespace mlxk

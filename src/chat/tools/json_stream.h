#pragma once

#include <string>

#include "chat/tools/call_reader.h"

namespace mlxk {

/// Reads one JSON value as it comes. What it has given is at any time the beginning of a valid value, and closing()
/// completes it. Control characters in strings, which models write and JSON forbids, are escaped.
class JsonStream {
 public:
  /// Appends to `out` what is safe; broken where the text is no JSON, or deeper than 64 levels.
  CallReader::State read(TextFeed& feed, std::string& out);
  std::string closing() const;

 private:
  enum class Place { value, first_key, key, colon, after, string, literal };
  bool take(char c, std::string& out);
  bool in_string(char c, std::string& out);
  bool end_literal(std::string& out);
  bool begin_value(char c, std::string& out);
  void give(std::string& out);

  Place place_ = Place::value;
  std::string open_;     // '{' and '[' of what is open
  std::string pending_;  // read, and not given before what follows is known
  std::string literal_;
  std::string escape_;  // begun, without its backslash
  std::string high_;    // "\ud83d", the first half of a pair
  bool is_key_ = false;
  bool first_item_ = false;  // a list was just opened
  bool started_ = false;
  bool done_ = false;
};

}  // namespace mlxk

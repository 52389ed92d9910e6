#pragma once

#include <string>

#include "chat/tools/call_reader.h"

namespace mlxk {

/// Reads one JSON value as it arrives. The output so far is always a prefix of a valid value, which closing()
/// completes. Control characters in strings, which models write although JSON forbids them, are escaped.
class JsonStream {
 public:
  /// Appends the safe text to `out`; returns broken if the text is not JSON, or is nested deeper than 64 levels.
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
  std::string open_;     // the open '{' and '['
  std::string pending_;  // read, but held back until the next character is known
  std::string literal_;
  std::string escape_;  // an escape that has begun, without its backslash
  std::string high_;    // "\ud83d", the first half of a pair
  bool is_key_ = false;
  bool first_item_ = false;  // a list was just opened
  bool started_ = false;
  bool done_ = false;
};

}  // namespace mlxk

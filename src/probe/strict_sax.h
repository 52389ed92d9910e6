#pragma once

#include <string>
#include <string_view>

#include "json/json.h"

namespace mlxk {

/// Returns `text` in quotes for a terminal: control characters escaped, cut after 100 bytes.
std::string shown(std::string_view text);

/// A JSON event handler for files with thousands of keys: refuses every event that a subclass does not override.
/// Nothing is stored and no stack grows with the input's depth. Every refusal is bad_model naming `place`.
class StrictSax : public nlohmann::json_sax<Json> {
 public:
  explicit StrictSax(std::string_view place) : place_(place) {}

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { return unexpected(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return unexpected(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return unexpected(shown(text)); }
  bool string(string_t& value) override { return unexpected(shown(value)); }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool start_object(std::size_t) override { return unexpected("an object"); }
  bool key(string_t& value) override { return unexpected("the key " + shown(value)); }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return unexpected("an array"); }
  bool end_array() override { return true; }
  bool parse_error(std::size_t byte, const std::string& token, const nlohmann::detail::exception& error) override;

 protected:
  /// Throws bad_model: `<place>: <message>`.
  [[noreturn]] void fail(std::string_view message) const;
  /// The current position, for messages; e.g. `tensor "a.weight"`.
  virtual std::string where() const = 0;
  [[noreturn]] bool unexpected(const std::string& what) const;

 private:
  std::string place_;
};

}  // namespace mlxk

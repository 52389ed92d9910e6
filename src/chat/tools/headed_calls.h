#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "chat/tools/arguments_reader.h"

namespace mlxk {

/// How a family writes a name followed by its arguments as a JSON object.
struct HeadedCallsFormat {
  std::string_view call_open;      // before each name; may be empty
  std::string_view call_close;     // after the arguments; may be empty
  std::string_view section_close;  // after the calls; may be empty
  std::string_view fence;          // allowed after the arguments
  /// The name in the text between call_open and '{'; nullopt if that is not the head of a call.
  std::optional<std::string> (*name)(std::string_view head) = nullptr;
};

/// Reads such calls; arguments are passed on as they arrive.
class HeadedCalls : public CallReader {
 public:
  explicit HeadedCalls(HeadedCallsFormat format) : format_(format) {}
  State read(TextFeed& feed, CallSink& calls) override;
  std::string closing() override { return arguments_ ? arguments_->closing() : ""; }

 private:
  enum class Place { between, head, arguments, fence, close };
  std::optional<State> step(TextFeed& feed, CallSink& calls);

  HeadedCallsFormat format_;
  Place place_ = Place::between;
  bool any_ = false;
  std::optional<ArgumentsReader> arguments_;
};

/// Whether `name` is a valid function name: letters, digits, '_', '-', '.', at most 128.
bool is_function_name(std::string_view name);

}  // namespace mlxk

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tools/call_reader.h"
#include "json/json.h"

namespace mlxk {

struct WholeCall {
  std::string name;
  Json arguments;  // an object
};

/// Reads a section that can only be parsed as a whole: `parse` gets the text before `close`, and returns nullopt if
/// that has no calls.
class WholeCalls : public CallReader {
 public:
  using Parse = std::optional<std::vector<WholeCall>> (*)(std::string_view text);
  WholeCalls(std::string_view close, Parse parse) : close_(close), parse_(parse) {}
  State read(TextFeed& feed, CallSink& calls) override;
  std::string closing() override { return ""; }

 private:
  std::string_view close_;
  Parse parse_;
};

}  // namespace mlxk

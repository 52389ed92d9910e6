#include "chat/tools/call_reader.h"

#include <utility>

namespace mlxk {

void CallSink::begin(std::string name) {
  feed_.keep();
  open_ = true;
  ignored_ = single_ && calls_ > 0;
  if (ignored_) return;
  parts_.push_back({Part::Kind::tool_call, "", {calls_, std::move(name), ""}});
  ++calls_;
}

void CallSink::arguments(std::string_view json) {
  feed_.keep();
  if (json.empty() || ignored_) return;
  if (parts_.empty()) parts_.push_back({Part::Kind::tool_call, "", {calls_ - 1, "", ""}});
  parts_.back().call.arguments += json;
}

void CallSink::end() {
  feed_.keep();
  open_ = false;
}

std::vector<Part> CallSink::take() { return std::exchange(parts_, {}); }

}  // namespace mlxk

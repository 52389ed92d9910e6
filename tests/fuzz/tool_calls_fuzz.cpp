// An answer with tool calls: the first byte chooses the family, the second the split. Every split gives the same
// result, and the arguments of a call are JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tool_calls.h"
#include "chat/tools/tool_formats.h"

namespace {

using namespace mlxk;

const std::vector<const ToolFormat*>& formats() {
  static const std::vector<const ToolFormat*> all = {
#define MLXK_TOOL_FORMAT(name) &name##_format(),
#include "chat/tools/tool_formats.inc"
#undef MLXK_TOOL_FORMAT
  };
  return all;
}

ToolOptions options() {
  ToolOptions options;
  options.tools = Json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {
      "s": {"type": "string"}, "n": {"type": "integer"}, "o": {"type": "object"}, "b": {"type": ["boolean", "null"]}}}}}])");
  return options;
}

/// Text and calls, pieces of one kind joined.
std::string split(const ToolFormat& format, std::string_view text, size_t piece) {
  static const ToolOptions kOptions = options();
  ToolCallSplitter splitter(&format, kOptions);
  std::string out, arguments;
  bool in_text = false;
  const auto take = [&](const std::vector<Part>& parts) {
    for (const Part& part : parts) {
      const bool call = part.kind == Part::Kind::tool_call;
      if ((!call || !part.call.name.empty()) && !arguments.empty()) {
        if (!Json::accept(arguments)) std::abort();
        out += arguments;
        arguments.clear();
      }
      if (call && !part.call.name.empty()) out += "\1" + part.call.name + "\2";
      if (!call && !in_text) out += "\3";
      in_text = !call;
      out += part.text;
      arguments += part.call.arguments;
    }
  };
  for (size_t at = 0; at < text.size(); at += piece) take(splitter.push(text.substr(at, piece)));
  take(splitter.finish());
  if (!arguments.empty() && !Json::accept(arguments)) std::abort();
  return out + arguments;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const ToolFormat& format = *formats()[data[0] % formats().size()];
  std::string text(reinterpret_cast<const char*>(data + 2), size - 2);
  // A decoder's output is UTF-8; here bytes past ASCII occur only inside the families' own markers.
  if (!Json::accept("\"" + [&] {
        std::string plain;
        for (const char c : text) plain += (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) ? ' ' : c;
        return plain;
      }() + "\"")) {
    return 0;
  }
  const std::string whole = split(format, text, text.size() + 1);
  if (split(format, text, 1 + data[1] % 16) != whole) std::abort();
  return 0;
}

#include "serving/tool_support.h"

#include <filesystem>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "chat/tools.h"
#include "json/json.h"
#include "tokenizer/chat_template.h"

namespace mlxk {

namespace {
constexpr uint64_t kMaxTokenizer = uint64_t{64} << 20;
}

std::string_view tool_support_name(ToolSupport support) {
  switch (support) {
    case ToolSupport::none: return "none";
    case ToolSupport::generic: return "generic";
    case ToolSupport::native: return "native";
  }
  return "none";
}

ToolSupport tool_support_of(const ModelInfo& info) {
  if (info.kind != "chat" && info.kind != "base") return ToolSupport::none;
  try {
    const std::string source = ChatTemplate::tools_source_of(info.ref.path);
    if (source.empty()) return ToolSupport::none;
    // A vocabulary is large: its text is searched, and only if the template does not decide.
    std::optional<std::string> vocabulary;
    const auto has_token = [&](std::string_view token) {
      if (!vocabulary) {
        const auto path = info.ref.path / "tokenizer.json";
        vocabulary = std::filesystem::exists(path) ? read_file(path, kMaxTokenizer) : "";
      }
      return vocabulary->find(Json(token).dump()) != std::string::npos;
    };
    return detect_tool_format(source, has_token) ? ToolSupport::native : ToolSupport::generic;
  } catch (const Error&) {
    return ToolSupport::none;
  }
}

}  // namespace mlxk

#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "json/json.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

struct RenderOptions {
  bool add_generation_prompt = true;
  Json tools = nullptr;            // array, or null
  bool tools_in_messages = false;  // the messages describe the tools: the variant for tools is rendered without `tools`
  Json documents = nullptr;        // array, or null
  Json kwargs = Json::object();    // further template variables: enable_thinking, reasoning_effort …
  std::optional<int64_t> now;      // the time of strftime_now, seconds since 1970 in UTC; absent: the clock, local time
};

/// A model's Jinja chat template, rendered as transformers renders it. Immutable, any thread.
class ChatTemplate {
 public:
  /// The template of `model_dir`, from any of the files that may hold it, or null if it has none.
  static std::shared_ptr<const ChatTemplate> load(const std::filesystem::path& model_dir, const Tokenizer& tokenizer);
  /// The source of that template, in its variant for tools; empty if there is none. Throws bad_model.
  static std::string tools_source_of(const std::filesystem::path& model_dir);
  /// A template from text; throws bad_model with the line if it does not compile.
  static std::shared_ptr<const ChatTemplate> compile(std::string source, const Json& special_tokens);

  virtual ~ChatTemplate() = default;
  /// The prompt for `messages` (not empty); throws invalid with the template's own message (raise_exception) or place.
  virtual std::string render(const Json& messages, const RenderOptions& options) const = 0;
  virtual const std::string& source() const = 0;
  /// The source of the variant for tools; the same if there are no variants.
  virtual const std::string& tools_source() const = 0;
};

}  // namespace mlxk

#include "tokenizer/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "json/member.h"
#include "rust_handle.h"

namespace mlxk {

namespace {

using TemplatePtr = RustPtr<mlxk_template, mlxk_template_free>;

struct Compiled {
  std::string source;
  TemplatePtr handle;
};

Compiled compile_source(std::string source, const std::string& place) {
  mlxk_template* raw = nullptr;
  RustText error;
  const int status = mlxk_template_compile(source.data(), source.size(), &raw, error.out());
  check_rust(status, error, ErrorKind::bad_model, place);
  return {std::move(source), TemplatePtr(raw)};
}

// The keys of a message's reasoning; templates read the first, or the second (gpt-oss).
constexpr std::array kReasoningFields = {"reasoning_content", "thinking", "reasoning"};

/// `messages` with reasoning under every key that templates read, as in transformers.
Json with_reasoning_aliases(const Json& messages) {
  Json result = Json::array();
  for (const Json& message : messages) {
    if (!message.is_object()) throw Error(ErrorKind::invalid, "[messages] every message must be an object");
    const auto has = [&](const char* key) { return message.contains(key) && !message[key].is_null(); };
    const auto field = std::find_if(kReasoningFields.begin(), kReasoningFields.end(), has);
    if (field == kReasoningFields.end()) {
      result.push_back(message);
      continue;
    }
    const Json reasoning = message[*field];
    Json copy = Json::object();
    copy["thinking"] = reasoning;
    for (const auto& [key, value] : message.items()) copy[key] = value;
    copy["reasoning_content"] = reasoning;
    result.push_back(std::move(copy));
  }
  return result;
}

class RustChatTemplate : public ChatTemplate {
 public:
  RustChatTemplate(std::map<std::string, Compiled> variants, Json special_tokens)
      : variants_(std::move(variants)), special_tokens_(std::move(special_tokens)) {}

  std::string render(const Json& messages, const RenderOptions& options) const override {
    if (!messages.is_array() || messages.empty()) {
      throw Error(ErrorKind::invalid, "[messages] must be a list of at least one message");
    }
    Json context = special_tokens_;
    for (const auto& [key, value] : options.kwargs.items()) context[key] = value;
    context["messages"] = with_reasoning_aliases(messages);
    context["tools"] = options.tools;
    context["documents"] = options.documents;
    context["add_generation_prompt"] = options.add_generation_prompt;
    const std::string json = context.dump(-1, ' ', false, Json::error_handler_t::replace);

    RustText text, error;
    RustStop stop;
    const Compiled& chosen = variant(options);
    const int status = mlxk_template_render(chosen.handle.get(), json.data(), json.size(), options.now.value_or(-1),
                                            stop.get(), text.out(), error.out());
    stop.rethrow();
    if (status == MLXK_RAISED) throw Error(ErrorKind::invalid, error.str());
    check_rust(status, error, ErrorKind::invalid, "chat template");
    return text.str();
  }

  const std::string& source() const override { return variant({}).source; }
  const std::string& tools_source() const override {
    RenderOptions with_tools;
    with_tools.tools = Json::array();
    return variant(with_tools).source;
  }

 private:
  const Compiled& variant(const RenderOptions& options) const {
    const auto find = [&](const char* name) { return variants_.find(name); };
    auto it = variants_.end();
    if (options.tools.is_array() || options.tools_in_messages) it = find("tool_use");
    if (it == variants_.end() && options.documents.is_array()) it = find("rag");
    if (it == variants_.end()) it = find("default");
    return it == variants_.end() ? variants_.begin()->second : it->second;
  }

  std::map<std::string, Compiled> variants_;  // not empty
  Json special_tokens_;
};

void add_variant(std::map<std::string, std::string>& sources, const Json& entry, const std::string& place) {
  if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() || !entry.contains("template") ||
      !entry["template"].is_string()) {
    throw Error(ErrorKind::bad_model, fmt::format("[{}] chat_template: an entry needs name and template", place));
  }
  sources[entry["name"].get<std::string>()] = entry["template"].get<std::string>();
}

/// The "chat_template" of a JSON file: a string, or a list of {name, template}.
std::map<std::string, std::string> sources_of_json(const fs::path& path) {
  std::map<std::string, std::string> sources;
  if (!fs::exists(path)) return sources;
  const Json config = read_json(path);
  if (!config.is_object() || !config.contains("chat_template")) return sources;
  const Json& value = config["chat_template"];
  if (value.is_string()) {
    sources["default"] = value.get<std::string>();
  } else if (value.is_array()) {
    for (const Json& entry : value) add_variant(sources, entry, path.string());
  } else if (!value.is_null()) {
    throw Error(ErrorKind::bad_model, fmt::format("[{}] chat_template: neither text nor a list", path.string()));
  }
  return sources;
}

constexpr uint64_t kMaxTemplate = uint64_t{4} << 20;

/// chat_template.jinja and additional_chat_templates/*.jinja.
std::map<std::string, std::string> sources_of_files(const fs::path& model_dir) {
  std::map<std::string, std::string> sources;
  if (const fs::path path = model_dir / "chat_template.jinja"; fs::exists(path)) {
    sources["default"] = read_file(path, kMaxTemplate);
  }
  if (const fs::path more = model_dir / "additional_chat_templates"; fs::is_directory(more)) {
    for (const auto& entry : fs::directory_iterator(more)) {
      if (entry.path().extension() != ".jinja" || is_side_file(entry.path().filename().string())) continue;
      sources[entry.path().stem().string()] = read_file(entry.path(), kMaxTemplate);
    }
  }
  return sources;
}

// Mistral publishes no template for Voxtral; mistral-common writes the tokens.
constexpr const char* kVoxtral =
    R"({%- macro say(content) -%}{%- if content is string -%}{{- content -}}{%- else -%}{%- for part in content -%})"
    R"({%- if part.type == 'audio' -%}{{- '[AUDIO]' -}}{%- else -%}{{- part.text -}}{%- endif -%}{%- endfor -%})"
    R"({%- endif -%}{%- endmacro -%}{{- bos_token -}}{%- for message in messages -%}{%- if message.role == 'system' -%})"
    R"({{- '[SYSTEM_PROMPT]' -}}{{- say(message.content) -}}{{- '[/SYSTEM_PROMPT]' -}})"
    R"({%- elif message.role == 'assistant' -%}{{- say(message.content) -}}{{- eos_token -}})"
    R"({%- else -%}{{- '[INST]' -}}{{- say(message.content) -}}{{- '[/INST]' -}}{%- endif -%}{%- endfor -%})";

// VibeVoice-ASR is published with a template that only transcribes, or with that of its language model. A text beside
// a recording is context, as in transformers' template; the recording's text ends with its length.
constexpr const char* kVibeVoice =
    R"({%- if messages[0].role != 'system' -%}{{- '<|im_start|>system\nYou are a helpful assistant that transcribes )"
    R"(audio input into text output in JSON format.<|im_end|>\n' -}}{%- endif -%}{%- for message in messages -%})"
    R"({{- '<|im_start|>' + message.role + '\n' -}}{%- if message.content is string -%}{{- message.content -}})"
    R"({%- else -%}{%- set said = namespace(text='') -%}{%- for part in message.content -%}{%- if part.type == 'text' -%})"
    R"({%- set said.text = said.text + part.text -%}{%- endif -%}{%- endfor -%}{%- for part in message.content )"
    R"(if part.type == 'audio' -%}{{- '<|box_start|>' -}}{%- if said.text -%}{{- ', with extra info: ' + said.text + )"
    R"('\n\nPlease' -}}{%- else -%}{{- ', please' -}}{%- endif -%}{{- ' transcribe it with these keys: Start time, )"
    R"(End time, Speaker ID, Content' -}}{%- else -%}{{- said.text -}}{%- endfor -%}{%- endif -%}{{- '<|im_end|>\n' -}})"
    R"({%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%})";

/// The template of a family in place of the model's files, or (`published` false) if they have none.
std::map<std::string, std::string> sources_of_family(const fs::path& model_dir, bool published) {
  const fs::path path = model_dir / "config.json";
  if (!fs::exists(path)) return {};
  const std::string type = string_at(read_json(path), "model_type");
  if (type == "vibevoice" || type == "vibevoice_asr") return {{"default", kVibeVoice}};
  if (type == "voxtral" && !published) return {{"default", kVoxtral}};
  return {};
}

/// Template by name; empty: there is none.
std::map<std::string, std::string> sources_of(const fs::path& model_dir) {
  if (auto own = sources_of_family(model_dir, true); !own.empty()) return own;
  // As in transformers: the files take precedence over tokenizer_config.json; old processors keep theirs in
  // chat_template.json.
  auto sources = sources_of_files(model_dir);
  if (sources.empty()) sources = sources_of_json(model_dir / "tokenizer_config.json");
  if (sources.empty()) sources = sources_of_json(model_dir / "chat_template.json");
  if (sources.empty()) sources = sources_of_family(model_dir, false);
  return sources;
}

}  // namespace

std::string ChatTemplate::tools_source_of(const fs::path& model_dir) {
  const auto sources = sources_of(model_dir);
  for (const char* name : {"tool_use", "default"}) {
    if (const auto found = sources.find(name); found != sources.end()) return found->second;
  }
  return sources.empty() ? "" : sources.begin()->second;
}

std::shared_ptr<const ChatTemplate> ChatTemplate::load(const fs::path& model_dir, const Tokenizer& tokenizer) {
  auto sources = sources_of(model_dir);
  if (sources.empty()) return nullptr;

  std::map<std::string, Compiled> variants;
  for (auto& [name, source] : sources) {
    const std::string place = fmt::format("{}: chat template '{}'", model_dir.string(), name);
    variants.emplace(name, compile_source(std::move(source), place));
  }
  Json special = Json::object();
  const auto add = [&](const char* name, const std::string& token) {
    if (!token.empty()) special[name] = token;
  };
  add("bos_token", tokenizer.bos_token());
  add("eos_token", tokenizer.eos_token());
  add("unk_token", tokenizer.unk_token());
  add("pad_token", tokenizer.pad_token());
  return std::make_shared<RustChatTemplate>(std::move(variants), std::move(special));
}

std::shared_ptr<const ChatTemplate> ChatTemplate::compile(std::string source, const Json& special_tokens) {
  std::map<std::string, Compiled> variants;
  variants.emplace("default", compile_source(std::move(source), "chat template"));
  return std::make_shared<RustChatTemplate>(std::move(variants), special_tokens);
}

}  // namespace mlxk

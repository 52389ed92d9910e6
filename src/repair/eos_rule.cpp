#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "json/json.h"
#include "repair/rules.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

namespace {
constexpr const char* kConfig = "config.json";
constexpr const char* kGeneration = "generation_config.json";
constexpr const char* kTokenizer = "tokenizer_config.json";

/// A JSON object in a file; null if the file is absent.
Json object_in(const fs::path& path) {
  std::error_code failed;
  if (!fs::exists(path, failed)) return nullptr;
  auto json = read_json(path);
  return json.is_object() ? json : Json();
}

bool is_empty(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return true;
  if (found->is_object()) return is_empty(*found, "content");
  return (found->is_array() || found->is_string()) && found->empty();
}

std::string state(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? "missing" : found->dump();
}

int32_t first_id(const Json& ids) {
  const auto& id = ids.is_array() ? ids.front() : ids;
  return id.is_number_integer() ? id.get<int32_t>() : -1;
}

class EosRule {
 public:
  EosRule(const fs::path& folder, std::vector<Finding>& findings)
      : folder_(folder),
        findings_(findings),
        config_(object_in(folder / kConfig)),
        generation_(object_in(folder / kGeneration)),
        tokenizer_config_(object_in(folder / kTokenizer)) {}

  void apply() {
    // A multimodal model keeps its language model's settings one level deeper.
    const bool nested = config_.is_object() && config_.contains("text_config");
    const bool config =
        config_.is_object() && is_empty(config_, "eos_token_id") &&
        !(nested && config_["text_config"].is_object() && !is_empty(config_["text_config"], "eos_token_id"));
    const bool generation = generation_.is_object() && is_empty(generation_, "eos_token_id");
    const bool token = tokenizer_config_.is_object() && is_empty(tokenizer_config_, "eos_token");
    if (!config && !generation && !token) return;
    try {
      tokenizer_ = Tokenizer::load(folder_);
    } catch (const Error&) {
      // Fields that need no vocabulary can still be repaired.
    }
    if (config) fix_id(kConfig, config_);
    if (generation) fix_id(kGeneration, generation_);
    if (token) fix_token();
  }

 private:
  struct Known {
    Json ids;
    std::string from;
  };

  std::optional<Known> known_ids() const {
    if (generation_.is_object() && !is_empty(generation_, "eos_token_id")) {
      return Known{generation_["eos_token_id"], kGeneration};
    }
    if (config_.is_object() && !is_empty(config_, "eos_token_id")) return Known{config_["eos_token_id"], kConfig};
    if (tokenizer_ && !tokenizer_->eos_token().empty()) {
      if (const auto id = tokenizer_->token_to_id(tokenizer_->eos_token())) {
        return Known{*id, fmt::format("{}, where it is {}", kTokenizer, tokenizer_->eos_token())};
      }
    }
    return std::nullopt;
  }

  void fix_id(const char* file, Json& json) {
    Finding finding{file, fmt::format("eos_token_id is {}: answers would not end", state(json, "eos_token_id")), ""};
    if (const auto known = known_ids()) {
      json["eos_token_id"] = known->ids;
      write_file_atomic(folder_ / file, dump_json(json));
      finding.fix = fmt::format("set to {}, from {}", known->ids.dump(), known->from);
    }
    findings_.push_back(std::move(finding));
  }

  void fix_token() {
    Finding finding{kTokenizer, fmt::format("eos_token is {}", state(tokenizer_config_, "eos_token")), ""};
    const auto known = known_ids();
    const auto word = known && tokenizer_ ? tokenizer_->id_to_token(first_id(known->ids)) : std::nullopt;
    if (word) {
      tokenizer_config_["eos_token"] = *word;
      write_file_atomic(folder_ / kTokenizer, dump_json(tokenizer_config_));
      finding.fix = fmt::format("set to {}, token {} of {}", *word, first_id(known->ids), known->from);
    }
    findings_.push_back(std::move(finding));
  }

  const fs::path& folder_;
  std::vector<Finding>& findings_;
  Json config_, generation_, tokenizer_config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};
}  // namespace

void repair_eos(const fs::path& folder, std::vector<Finding>& findings) { EosRule(folder, findings).apply(); }

}  // namespace mlxk

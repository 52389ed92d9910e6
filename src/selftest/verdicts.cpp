#include "selftest/verdicts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/timestamp.h"
#include "hub/content_hash.h"
#include "hub/environment.h"
#include "json/member.h"

namespace mlxk {

namespace {
constexpr uint64_t kMaxFile = uint64_t{1} << 20;
constexpr std::string_view kHashPrefix = "sha256:";

bool is_hash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// The content hash of a model in hex; empty: undefined.
std::string hash_of(const ModelInfo& info) {
  const auto hash = hash_model(info.ref.path);
  return hash && hash->starts_with(kHashPrefix) ? hash->substr(kHashPrefix.size()) : "";
}

size_t count_at(const Json& object, const char* key) {
  const Json& value = value_at(object, key);
  return value.is_number_unsigned() ? value.get<size_t>() : 0;
}

std::optional<SelftestVerdict> read_verdict(const Json& json) {
  SelftestVerdict verdict{.build = string_at(json, "build"),
                          .device = string_at(json, "device"),
                          .tested_at = string_at(json, "tested_at"),
                          .quick = value_at(json, "quick") == Json(true),
                          .passed = count_at(json, "passed"),
                          .skipped = count_at(json, "skipped"),
                          .failed = {},
                          .tokens_per_s = 0};
  const Json& failed = value_at(json, "failed");
  if (verdict.build.empty() || !failed.is_array()) return std::nullopt;
  for (const Json& name : failed) verdict.failed.push_back(name.is_string() ? name.get<std::string>() : "?");
  if (const Json& speed = value_at(json, "tokens_per_s"); speed.is_number()) verdict.tokens_per_s = speed;
  return verdict;
}
}  // namespace

std::string verdict_device(const DeviceFacts& device) {
  return device.kernels.empty() ? device.name : fmt::format("{} {}", device.name, device.kernels);
}

SelftestVerdict verdict_of(const SelftestResult& result, const DeviceFacts& device, bool quick) {
  SelftestVerdict verdict{MLXK_VERSION, verdict_device(device),     utc_now(), quick, 0, 0,
                          {},           result.figures.tokens_per_s};
  for (const CheckResult& check : result.checks) {
    if (check.finding.outcome == Outcome::failed) verdict.failed.push_back(check.name);
    verdict.passed += check.finding.outcome == Outcome::passed ? 1 : 0;
    verdict.skipped += check.finding.outcome == Outcome::skipped ? 1 : 0;
  }
  return verdict;
}

Json verdict_json(const std::optional<SelftestVerdict>& verdict) {
  if (!verdict) return nullptr;
  return {{"passed", verdict->passed},       {"failed", verdict->failed},
          {"skipped", verdict->skipped},     {"build", verdict->build},
          {"device", verdict->device},       {"quick", verdict->quick},
          {"tested_at", verdict->tested_at}, {"tokens_per_s", verdict->tokens_per_s}};
}

std::string verdict_text(const std::optional<SelftestVerdict>& verdict) {
  if (!verdict) return "–";
  return verdict->good() ? "✓" : fmt::format("✗ {}", fmt::join(verdict->failed, ", "));
}

std::filesystem::path SelftestVerdicts::folder() { return hf_home() / "mlxk-selftest"; }

SelftestVerdicts::SelftestVerdicts() {
  std::error_code error;
  for (fs::directory_iterator it(folder(), error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".json" && is_hash(it->path().stem())) read(it->path());
  }
}

void SelftestVerdicts::read(const std::filesystem::path& file) {
  try {
    const Json json = parse_json(read_file(file, kMaxFile), file.string());
    Tested tested{count_at(json, "size_bytes"), string_at(json, "model"), {}};
    const Json& verdicts = value_at(json, "verdicts");
    if (!verdicts.is_array()) return;
    for (const Json& one : verdicts) {
      if (const auto verdict = read_verdict(one)) tested.verdicts.push_back(*verdict);
    }
    sizes_.insert(tested.size_bytes);
    tested_[file.stem()] = std::move(tested);
  } catch (const Error&) {
  }  // ignored as if absent
}

std::optional<SelftestVerdict> SelftestVerdicts::find(const ModelInfo& info) const {
  if (!sizes_.contains(info.size_bytes)) return std::nullopt;
  const auto tested = tested_.find(hash_of(info));
  if (tested == tested_.end()) return std::nullopt;
  std::optional<SelftestVerdict> newest;
  for (const SelftestVerdict& verdict : tested->second.verdicts) {
    if (verdict.build == MLXK_VERSION && (!newest || verdict.tested_at > newest->tested_at)) newest = verdict;
  }
  return newest;
}

void SelftestVerdicts::keep(const ModelInfo& info, const SelftestVerdict& verdict) {
  const std::string hash = hash_of(info);
  if (hash.empty()) {
    throw Error(ErrorKind::invalid,
                fmt::format("{} has no content hash: its verdict cannot be stored", info.ref.path.string()));
  }
  Tested& tested = tested_[hash];
  tested.size_bytes = info.size_bytes;
  tested.model = info.ref.name;
  std::erase_if(tested.verdicts,
                [&](const auto& old) { return old.build == verdict.build && old.device == verdict.device; });
  tested.verdicts.push_back(verdict);
  sizes_.insert(info.size_bytes);
  Json verdicts = Json::array();
  for (const SelftestVerdict& one : tested.verdicts) verdicts.push_back(verdict_json(one));
  std::error_code error;
  fs::create_directories(folder(), error);  // an error shows when the file is written
  write_file_atomic(
      folder() / (hash + ".json"),
      dump_json({{"model", tested.model}, {"size_bytes", tested.size_bytes}, {"verdicts", std::move(verdicts)}}));
}

}  // namespace mlxk

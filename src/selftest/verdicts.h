#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "json/json.h"
#include "probe/model_info.h"
#include "selftest/selftest.h"
#include "worker/facts.h"

namespace mlxk {

/// The result of a model's selftest, on one device with one build.
struct SelftestVerdict {
  std::string build;      // the program's version
  std::string device;     // "cpu avx512"
  std::string tested_at;  // "2026-01-31T23:59:59Z"
  bool quick = false;
  size_t passed = 0, skipped = 0;
  std::vector<std::string> failed;  // names of checks
  double tokens_per_s = 0;          // 0: not measured

  bool good() const { return failed.empty(); }
};

/// The name of `device` in verdicts.
std::string verdict_device(const DeviceFacts& device);

/// The verdict of `result`, dated now.
SelftestVerdict verdict_of(const SelftestResult& result, const DeviceFacts& device, bool quick);

/// {"passed","failed":[…],"skipped","build","device","quick","tested_at","tokens_per_s"}; null for none.
Json verdict_json(const std::optional<SelftestVerdict>& verdict);

/// "✓", "✗ batch", "–": as in `list` and `show`.
std::string verdict_text(const std::optional<SelftestVerdict>& verdict);

/// The stored verdicts: one file per model content in hf_home()/mlxk-selftest. One thread.
class SelftestVerdicts {
 public:
  /// Reads all of them; other files are skipped.
  SelftestVerdicts();

  /// The newest verdict on the content of `info` by this build. A model is hashed only if one of its size was tested.
  std::optional<SelftestVerdict> find(const ModelInfo& info) const;
  /// Stores `verdict`, replacing an older one of the same build on the same device. Throws io; invalid if the model has
  /// no content hash.
  void keep(const ModelInfo& info, const SelftestVerdict& verdict);

  static std::filesystem::path folder();

 private:
  struct Tested {
    uint64_t size_bytes = 0;
    std::string model;
    std::vector<SelftestVerdict> verdicts;
  };
  void read(const std::filesystem::path& file);

  std::map<std::string, Tested> tested_;  // by content hash, in hex
  std::set<uint64_t> sizes_;
};

}  // namespace mlxk

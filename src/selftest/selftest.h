#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "probe/model_info.h"
#include "selftest/check.h"
#include "serving/served_model.h"
#include "worker/load_options.h"

namespace mlxk {

class Worker;

struct SelftestOptions {
  bool quick = false;   // fewer tokens, file sizes instead of hashes, a context of 1,024 tokens at most
  bool strict = false;  // a wrong answer fails for small models too
  std::function<bool()> stop_wanted = [] { return false; };
  std::function<void(const CheckResult&)> on_result = [](const CheckResult&) {};
};

/// Figures that the checks measured; 0: not measured.
struct SelftestFigures {
  double tokens_per_s = 0, first_token_s = 0;
  int64_t prompt_tokens = 0, completion_tokens = 0;
};

struct SelftestResult {
  std::vector<CheckResult> checks;
  SelftestFigures figures;

  /// Whether no check failed.
  bool passed() const;
};

/// The options to load a model with for its checks: with the caches that they test.
LoadOptions selftest_load_options();

/// Checks the files of `info`; needs no engine. Throws cancelled.
SelftestResult check_files(const ModelInfo& info, const SelftestOptions& options);

/// Checks a loaded model against its contract: streaming, independence of batches and caches, and its answers. Throws
/// cancelled; every other error is a failed check.
SelftestResult check_model(Worker& worker, const std::shared_ptr<const ServedModel>& model,
                           const SelftestOptions& options);

}  // namespace mlxk

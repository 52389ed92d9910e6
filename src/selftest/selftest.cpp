#include "selftest/selftest.h"

#include <algorithm>
#include <chrono>

#include "base/elapsed.h"
#include "base/error.h"
#include "base/timestamp.h"
#include "selftest/embedding_checks.h"
#include "selftest/run_checks.h"
#include "selftest/speech_checks.h"
#include "selftest/text_checks.h"

namespace mlxk {

namespace {
constexpr uint64_t kPrefixCacheBytes = uint64_t{256} << 20;
}

const char* outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::passed: return "passed";
    case Outcome::failed: return "failed";
    case Outcome::skipped: return "skipped";
  }
  return "";
}

bool SelftestResult::passed() const {
  return std::none_of(checks.begin(), checks.end(),
                      [](const CheckResult& check) { return check.finding.outcome == Outcome::failed; });
}

void run_checks(const std::vector<Check>& checks, const SelftestOptions& options, SelftestResult& result) {
  for (const Check& check : checks) {
    if (options.stop_wanted()) throw Error(ErrorKind::cancelled, "interrupted");
    const auto start = std::chrono::steady_clock::now();
    CheckResult done{check.name, {}, unix_time_now(), 0};
    try {
      done.finding = check.run();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled) throw;
      done.finding = CheckFinding::failed(error.what());
    }
    done.seconds = seconds_since(start);
    options.on_result(done);
    result.checks.push_back(std::move(done));
  }
}

CheckFinding wrong_answer(const std::string& what, const std::string& excuse, const SelftestOptions& options) {
  if (options.strict || excuse.empty()) return CheckFinding::failed(what);
  return CheckFinding::skipped(what + "; not held against " + excuse);
}

LoadOptions selftest_load_options() {
  LoadOptions options;
  options.prefix_cache_bytes = kPrefixCacheBytes;
  return options;
}

SelftestResult check_model(Worker& worker, const std::shared_ptr<const ServedModel>& model,
                           const SelftestOptions& options) {
  SelftestResult result;
  if (const auto* text = dynamic_cast<const ServedText*>(model.get())) {
    check_text_model({worker, *text, options, result.figures}, result);
  } else if (const auto* speech = dynamic_cast<const ServedSpeech*>(model.get())) {
    check_speech_model(worker, *speech, options, result);
  } else if (const auto* embedding = dynamic_cast<const ServedEmbedding*>(model.get())) {
    check_embedding_model(worker, *embedding, options, result);
  }
  return result;
}

}  // namespace mlxk

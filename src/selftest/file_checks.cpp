#include <fmt/format.h>

#include <algorithm>

#include "base/counted.h"
#include "base/error.h"
#include "hub/verify.h"
#include "selftest/run_checks.h"

namespace mlxk {

namespace {

using State = VerifiedFile::State;

CheckFinding check_health(const ModelInfo& info) {
  if (!info.healthy) return CheckFinding::failed(info.health_reason);
  if (!info.reason.empty()) return CheckFinding::failed(info.reason);
  return CheckFinding::passed();
}

CheckFinding judge(const std::vector<VerifiedFile>& files) {
  size_t good = 0;
  for (const VerifiedFile& file : files) {
    if (file.state == State::wrong) return CheckFinding::failed(fmt::format("{}: {}", file.path, file.reason));
    if (file.state == State::missing) return CheckFinding::failed(fmt::format("{} is missing", file.path));
    good += file.state == State::ok ? 1 : 0;
  }
  return CheckFinding::passed(counted(good, "file"));
}

CheckFinding check_hashes(const ModelInfo& info, const SelftestOptions& options) {
  const ModelRef& ref = info.ref;
  if (!ref.cached) {
    try {
      return judge(verify_workspace(ref.path));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      return CheckFinding::skipped("the folder has no recorded hashes");
    }
  }
  const std::vector<HubFile> recorded = recorded_files(ref);
  if (recorded.empty()) return CheckFinding::skipped("the cache has no recorded hashes");
  if (options.quick) return CheckFinding::skipped("--quick does not read weights");
  return judge(verify_files(ref.path, recorded, [&](const std::string&, uint64_t, uint64_t) {
    if (options.stop_wanted()) throw Error(ErrorKind::cancelled, "interrupted");
  }));
}

}  // namespace

SelftestResult check_files(const ModelInfo& info, const SelftestOptions& options) {
  SelftestResult result;
  run_checks({{"health", [&] { return check_health(info); }}, {"hashes", [&] { return check_hashes(info, options); }}},
             options, result);
  return result;
}

}  // namespace mlxk

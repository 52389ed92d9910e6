#pragma once

#include <string>
#include <utility>

#include "report/record.h"

namespace mlxk {

/// The outcome of a check and its reason: a figure, the fault, or why the check did not apply.
struct CheckFinding {
  Outcome outcome = Outcome::passed;
  std::string reason;

  static CheckFinding passed(std::string reason = {}) { return {Outcome::passed, std::move(reason)}; }
  static CheckFinding failed(std::string reason) { return {Outcome::failed, std::move(reason)}; }
  static CheckFinding skipped(std::string reason) { return {Outcome::skipped, std::move(reason)}; }
};

/// A check that ran.
struct CheckResult {
  std::string name;  // "prefix cache"
  CheckFinding finding;
  double started = 0;  // Unix time
  double seconds = 0;
};

/// "passed", "failed", "skipped"
const char* outcome_name(Outcome outcome);

}  // namespace mlxk

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "selftest/selftest.h"

namespace mlxk {

/// A check with its name.
struct Check {
  std::string name;
  std::function<CheckFinding()> run;
};

/// Runs `checks` one after the other and appends their results to `result`. An Error thrown by a check is its failure.
/// Throws cancelled.
void run_checks(const std::vector<Check>& checks, const SelftestOptions& options, SelftestResult& result);

/// The finding for a wrong answer: failed, or skipped if `excuse` says why the model is not blamed (it is too small).
/// An empty `excuse`: there is none.
CheckFinding wrong_answer(const std::string& what, const std::string& excuse, const SelftestOptions& options);

}  // namespace mlxk

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "selftest/selftest.h"

namespace mlxk {

/// A check by its name.
struct Check {
  std::string name;
  std::function<CheckFinding()> run;
};

/// Runs `checks` one after the other and adds what they found to `result`; an Error of one is its failure. Throws
/// cancelled.
void run_checks(const std::vector<Check>& checks, const SelftestOptions& options, SelftestResult& result);

/// What an answer is worth that was not as it should be: a failure, unless the model is too small (or `excuse` says
/// something else) to be blamed for it. Empty: there is no excuse.
CheckFinding wrong_answer(const std::string& what, const std::string& excuse, const SelftestOptions& options);

}  // namespace mlxk

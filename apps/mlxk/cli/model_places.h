#pragma once

#include <vector>

#include "commands/command.h"

namespace mlxk {

/// The rows of the variables that say where models lie, and `more` behind them.
std::vector<EnvVariable> model_places(std::vector<EnvVariable> more = {});

}  // namespace mlxk

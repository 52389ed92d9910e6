#pragma once

#include <vector>

#include "commands/command.h"

namespace mlxk {

/// The rows of the variables that say where models are stored, followed by `more`.
std::vector<EnvVariable> model_places(std::vector<EnvVariable> more = {});

}  // namespace mlxk

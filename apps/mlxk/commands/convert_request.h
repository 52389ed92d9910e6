#pragma once

#include <optional>

#include "commands/command.h"
#include "json/json.h"
#include "worker/backend.h"

namespace mlxk {

/// The parsed arguments of `mlxk convert`.
struct ConvertRequest {
  enum class Task { convert, repair, repair_index };
  Task task = Task::convert;
  ConvertOptions options;
};

/// Reads and checks the flags; throws CommandFailure with the types that scripts know: InvalidArgumentError for flags,
/// ValueError for folders within the Hugging Face cache, unsupported_multimodal and not_implemented for models that
/// cannot be converted.
ConvertRequest read_convert_request(const Args& args);

}  // namespace mlxk

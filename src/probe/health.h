#pragma once

#include <string>

#include "json/json.h"
#include "probe/files.h"
#include "probe/model_info.h"

namespace mlxk {

struct Health {
  bool ok = false;
  std::string reason;  // also for a healthy model
};

/// A parsed config.json, or the problem with it: absent, empty or broken.
struct ConfigFile {
  Json config;  // null unless it is an object with at least one key
  std::string problem;
};
ConfigFile read_config(const ModelFiles& files, bool is_workspace);

/// Checks that the model's files are present, complete and consistent; reads indexes, small JSON files and safetensors
/// headers.
Health check_files(const ModelInfo& info, const ModelFiles& files);

}  // namespace mlxk

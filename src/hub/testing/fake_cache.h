#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "base/file.h"
#include "hub/cache.h"
#include "hub/resolve.h"

namespace mlxk::testing {

inline void write(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

/// A safetensors file with one tensor: two F32 zeros named `tensor`.
inline std::string tiny_safetensors(const std::string& tensor = "w") {
  std::string header = R"({")" + tensor + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  while (header.size() % 8 != 0) header += ' ';
  std::string length(8, '\0');
  length[0] = static_cast<char>(header.size());
  return length + header + std::string(8, '\0');
}

inline const std::string kHashA(40, 'a');
inline const std::string kHashB(40, 'b');

/// A cache and a workspace home in a temporary folder, set in the environment until the end of the test.
class FakeCache : public ::testing::Test {
 protected:
  FakeCache() {
    std::string name = (fs::temp_directory_path() / "mlxk-test-XXXXXX").string();
    root_ = fs::canonical(mkdtemp(name.data()));
    hub_ = root_ / "hf" / "hub";
    workspaces_ = root_ / "workspaces";
    fs::create_directories(hub_);
    fs::create_directories(workspaces_);
    for (size_t i = 0; i < kVariables.size(); ++i) {
      if (const char* value = std::getenv(kVariables[i])) saved_[i] = value;
      unsetenv(kVariables[i]);
    }
    setenv("HF_HOME", (root_ / "hf").c_str(), 1);
    setenv("MLXK_WORKSPACE_HOME", workspaces_.c_str(), 1);
  }
  ~FakeCache() override {
    for (size_t i = 0; i < kVariables.size(); ++i) {
      if (saved_[i]) {
        setenv(kVariables[i], saved_[i]->c_str(), 1);
      } else {
        unsetenv(kVariables[i]);
      }
    }
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }

  /// Makes a snapshot folder of `name` with a config.json and one weight file.
  fs::path add_model(const std::string& name, const std::string& hash = kHashA,
                     const std::string& config = R"({"model_type":"llama"})") {
    const fs::path snapshot = hub_ / repo_folder(name) / "snapshots" / hash;
    fill_model(snapshot, config);
    return snapshot;
  }
  fs::path add_workspace(const std::string& name, const std::string& config = R"({"model_type":"llama"})") {
    fill_model(workspaces_ / name, config);
    return workspaces_ / name;
  }
  static void fill_model(const fs::path& folder, const std::string& config) {
    write(folder / "config.json", config);
    write(folder / "model.safetensors", tiny_safetensors());
  }

  fs::path root_, hub_, workspaces_;

 private:
  static constexpr std::array kVariables = {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "MLXK_WORKSPACE_HOME"};
  std::array<std::optional<std::string>, kVariables.size()> saved_;
};

}  // namespace mlxk::testing

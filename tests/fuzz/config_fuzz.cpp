// A model folder in which one file, chosen by the first byte, is the input; probed and judged by Policy.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.h"
#include "json/json.h"
#include "policy/policy.h"
#include "probe/limits.h"

namespace {

namespace fs = std::filesystem;

struct File {
  const char* name;
  std::string_view content;  // of a small healthy model; empty: it has no such file
};
constexpr std::array<File, 9> kFiles = {{
    {"config.json", R"({"model_type":"llama","quantization":{"bits":4,"group_size":64}})"},
    {"tokenizer_config.json", "{}"},
    {"model.safetensors.index.json", ""},
    {"preprocessor_config.json", ""},
    {"README.md", ""},
    {"generation_config.json", ""},
    {"chat_template.json", ""},
    {"tokenizer.json", "{}"},
    {"model.safetensors", {"\x02\0\0\0\0\0\0\0{}", 10}},
}};

void write(const fs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
}

/// The model's folder; removed at exit.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) / "mlxk_fuzz_XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path = name;
    for (const File& file : kFiles) reset(file);
  }
  ~Folder() { fs::remove_all(path); }
  void reset(const File& file) const {
    if (file.content.empty()) {
      fs::remove(path / file.name);
    } else {
      write(path / file.name, file.content);
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const Folder folder;
  const std::string_view content(reinterpret_cast<const char*>(data) + 1, size - 1);
  const File& file = kFiles[data[0] % kFiles.size()];
  write(folder.path / file.name, content);
  const mlxk::ModelInfo info = mlxk::probe_model({"fuzz", folder.path, "", false});
  for (const auto context : {mlxk::Context::cli, mlxk::Context::server}) {
    for (const bool images : {false, true}) mlxk::decide(info, {1, 1, "system"}, {context, images, !images});
  }
  folder.reset(file);
  try {
    const mlxk::Json config = mlxk::parse_json(content, "fuzz");
    mlxk::config_notes(config);
    mlxk::check_config(config);
  } catch (const mlxk::Error&) {
  }
  return 0;
}

#include "kernels/cuda/functions.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "kernels/cuda/driver.h"

namespace mlxk {
namespace {

/// 64-bit FNV-1a with its own start value.
uint64_t hash(std::string_view text, uint64_t state) {
  for (const char c : text) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return state;
}

/// The folder for compiled kernels; empty: none.
fs::path cache_folder() {
  if (const char* given = std::getenv("XDG_CACHE_HOME"); given && *given) return fs::path(given) / "mlxk" / "cuda";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "mlxk" / "cuda";
  return {};
}

fs::path cache_file(const std::string& source, const std::vector<std::string>& options) {
  const fs::path folder = cache_folder();
  if (folder.empty()) return {};
  std::string key = cuda_compiler_id();
  for (const auto& option : options) key += ' ' + option;
  key += '\n' + source;
  const uint64_t first = hash(key, 0xcbf29ce484222325ULL), second = hash(key, first ^ 0x9e3779b97f4a7c15ULL);
  return folder / fmt::format("{:016x}{:016x}.cubin", first, second);
}

std::string cached(const fs::path& file) {
  std::error_code error;
  if (file.empty() || !fs::is_regular_file(file, error)) return {};
  try {
    return read_file(file);
  } catch (const Error&) {
    return {};
  }
}

void keep(const fs::path& file, const std::string& code) {
  if (file.empty()) return;
  try {
    fs::create_directories(file.parent_path());
    write_file_atomic(file, code);
  } catch (const std::exception&) {
    // It is compiled again next time.
  }
}

CUfunc_st* make(const std::string& source, const char* name, const std::vector<std::string>& options,
                int shared_bytes) {
  const fs::path file = cache_file(source, options);
  if (const std::string code = cached(file); !code.empty()) {
    if (CUfunc_st* function = cuda_load(code, name, shared_bytes)) return function;
  }
  const std::string code = cuda_compile(source, options);
  CUfunc_st* function = cuda_load(code, name, shared_bytes);
  if (!function) throw Error(ErrorKind::internal, fmt::format("[cuda] the kernel {} cannot be loaded", name));
  keep(file, code);
  return function;
}

}  // namespace

CUfunc_st* cuda_function(const std::vector<const char*>& sources, const char* name,
                         const std::vector<CudaDefine>& defines, int shared_bytes) {
  // Names are literals: each launch looks its function up, and addresses are compared faster than texts.
  using Key = std::tuple<const char*, int, std::vector<CudaDefine>>;
  static std::map<Key, CUfunc_st*> functions;
  CUfunc_st*& function = functions[Key(name, shared_bytes, defines)];
  if (function) return function;
  std::string source;
  for (const char* text : sources) source += text;
  std::vector<std::string> options;
  for (const auto& [macro, value] : defines) options.push_back(fmt::format("-D{}={}", macro, value));
  return function = make(source, name, options, shared_bytes);
}

}  // namespace mlxk

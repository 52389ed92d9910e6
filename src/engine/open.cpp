#include "engine/open.h"

#include <dlfcn.h>
#include <fmt/format.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include <string>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {

namespace {

fs::path program_path() {
#ifdef __APPLE__
  std::string buffer(4096, '\0');
  uint32_t size = static_cast<uint32_t>(buffer.size());
  if (_NSGetExecutablePath(buffer.data(), &size) != 0) {
    throw Error(ErrorKind::internal, "the program's path is longer than 4096 bytes");
  }
  return fs::canonical(buffer.c_str());
#else
  return fs::read_symlink("/proc/self/exe");
#endif
}

fs::path library_path() {
#ifdef __APPLE__
  const char* name = "libmlxk_engine.dylib";
#else
  const char* name = "libmlxk_engine.so";
#endif
  const fs::path dir = program_path().parent_path();
  const fs::path places[] = {dir / name, dir.parent_path() / "lib" / "mlxk" / name};
  for (const auto& place : places) {
    if (fs::exists(place)) return place;
  }
  throw Error(ErrorKind::unsupported,
              fmt::format("{} is neither in {} nor in {}", name, places[0].parent_path().string(),
                          places[1].parent_path().string()),
              "reinstall mlxk, or build it with -DMLXK_ENGINE=ON");
}

}  // namespace

std::unique_ptr<Backend> open_engine() {
  const fs::path path = library_path();
  // Never closed: libmlx keeps threads of its own.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error(ErrorKind::internal, fmt::format("cannot open the engine: {}", dlerror()));
  using Create = Backend* (*)(const char*);
  const auto create = reinterpret_cast<Create>(dlsym(library, "mlxk_create_backend"));
  if (!create) throw Error(ErrorKind::internal, fmt::format("{} is not an mlxk engine", path.string()));
  std::unique_ptr<Backend> backend(create(MLXK_VERSION));
  if (!backend) {
    throw Error(ErrorKind::internal, fmt::format("{} is not of version {}", path.string(), MLXK_VERSION),
                "reinstall mlxk: program and engine must be of one version");
  }
  return backend;
}

}  // namespace mlxk

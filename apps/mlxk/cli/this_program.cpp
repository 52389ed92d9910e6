#include "cli/this_program.h"

#include <climits>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

namespace mlxk {

std::filesystem::path this_program() {
  std::error_code error;
#ifdef __APPLE__
  char path[PATH_MAX];
  uint32_t size = sizeof path;
  if (_NSGetExecutablePath(path, &size) != 0) return {};
  return std::filesystem::canonical(path, error);
#else
  return std::filesystem::read_symlink("/proc/self/exe", error);
#endif
}

}  // namespace mlxk

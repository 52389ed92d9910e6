#include "cli/threads_option.h"

#include <cstdlib>
#include <string>

#include "base/cores.h"

namespace mlxk {

Option threads_option() {
  return {.name = "--threads",
          .kind = OptionKind::integer,
          .metavar = "N",
          .help = "threads of the CPU engine; default: the cores that the process may use",
          .env = "MLXK_THREADS",
          .min = 1,
          .max = kMaxThreads};
}

int apply_threads(const Args& args) {
  if (!args.has("--threads")) return usable_cores();
  const auto threads = static_cast<int>(args.integer("--threads"));
  setenv("MLXK_THREADS", std::to_string(threads).c_str(), 1);
  return threads;
}

}  // namespace mlxk

// `mlxk serve`: the options, the start document, and the service files; serve.cpp runs.
#include <cstdio>

#include "command.h"
#include "json/json.h"
#include "output.h"
#include "serve.h"
#include "serve_options.h"
#include "threads_option.h"

namespace mlxk {

namespace {

void print_start(const ServeOptions& options, const std::string& address, int port) {
  const auto& unix_socket = options.transport.unix_socket;
  print_json({{"status", "starting"},
              {"command", "serve"},
              {"data",
               {{"host", unix_socket.empty() ? Json(options.transport.host) : Json(nullptr)},
                {"port", unix_socket.empty() ? Json(port) : Json(nullptr)},
                {"model", options.pool.pinned.empty() ? Json(nullptr) : Json(options.pool.pinned)},
                {"max_tokens", options.max_tokens > 0 ? Json(options.max_tokens) : Json(nullptr)},
                {"embed_backend", nullptr},
                {"address", address}}},
              {"error", nullptr}});
  std::fflush(stdout);
}

int run(const Args& given) {
  Args args = given;
  const ServeOptions options = read_serve_options(args);
  apply_threads(args);
  return serve(options, [&](const std::string& address, int port) {
    if (args.has("--json")) print_start(options, address, port);
  });
}

}  // namespace

extern const Command kServeCommand;
const Command kServeCommand = {
    .name = "serve",
    .help = "answer OpenAI's API over HTTP",
    .options = serve_options(),
    .run = run,
    .aliases = {"server"},
    .environment = {{"MLXK_API_KEY", "a key that clients must have: key, name:key or name:key:scopes"},
                    {"MLXK_API_KEYS", "several of them, separated by blanks"},
                    {"MLXK2_INLINE_REASONING", "1: reasoning stands in the answers' content"},
                    {"HF_HOME", "where the cache of models lies (~/.cache/huggingface)"},
                    {"MLXK_WORKSPACE_HOME", "folder of workspaces"},
                    {"MLXK_MEMORY_LIMIT", "bytes of memory that a model may count on"}},
    .bare_errors = true,
};

}  // namespace mlxk

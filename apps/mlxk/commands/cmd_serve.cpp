// `mlxk serve`: the options, the start document, and the service files; serve.cpp runs.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/this_program.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "hub/environment.h"
#include "hub/resolve.h"
#include "json/json.h"
#include "serve/serve.h"
#include "serve/serve_options.h"
#include "serve/service_unit.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

void print_serve_start(const ServeOptions& options, const std::string& address, int port) {
  const auto& unix_socket = options.transport.unix_socket;
  print_json({{"status", "starting"},
              {"command", "serve"},
              {"data",
               {{"host", unix_socket.empty() ? Json(options.transport.host) : Json(nullptr)},
                {"port", unix_socket.empty() ? Json(port) : Json(nullptr)},
                {"model", options.pool.pinned.empty() ? Json(nullptr) : Json(options.pool.pinned)},
                {"max_tokens", options.max_tokens > 0 ? Json(options.max_tokens) : Json(nullptr)},
                {"embed_backend", options.embed_backend.empty() ? Json(nullptr) : Json(options.embed_backend)},
                {"address", address}}},
              {"error", nullptr}});
  std::fflush(stdout);
}

bool is_path_option(const std::string& name) {
  return name == "--config" || name == "--api-key-file" || name == "--tls-cert" || name == "--tls-key" ||
         name == "--unix-socket" || name == "--prefix-cache-dir" || name == "--record";
}

/// The command line again, for a service: without options of the installation, and with absolute paths.
std::vector<std::string> service_arguments(const Args& args) {
  std::vector<std::string> words = {"serve"};
  for (const Option& option : args.command->options) {
    const auto values = args.given.find(option.name);
    const bool installs = option.name == "--install-service" || option.name == "--user" || option.name == "--system";
    if (values == args.given.end() || installs) continue;
    for (const std::string& value : values->second) {
      words.push_back(option.name);
      if (option.kind == OptionKind::flag) continue;
      const bool model = option.name == "--model" || option.name == "--draft-model";
      const std::string word = model ? runnable_argument(value) : value;
      const bool path = is_path_option(option.name) || (model && is_path_spec(word));
      words.push_back(path ? std::filesystem::absolute(word).lexically_normal().string() : word);
    }
  }
  return words;
}

/// A service lacks the shell's environment, so our variables are written down, except keys.
Service make_service(const Args& args, const ServeOptions& options) {
  Service service;
  service.program = this_program();
  if (service.program.empty()) throw Error(ErrorKind::io, "cannot determine this program's path");
  service.arguments = service_arguments(args);
  service.system = args.has("--system");
  if (const char* user = std::getenv("SUDO_USER"); user && std::string_view(user) != "root") service.user = user;
  for (const char* name :
       {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "MLXK_WORKSPACE_HOME"}) {
    if (const auto path = environment_path(name)) service.environment.emplace_back(name, path->string());
  }
  for (const char* name : {"MLXK_MEMORY_LIMIT", "MLXK_THREADS"}) {
    if (const char* value = std::getenv(name); value && *value) service.environment.emplace_back(name, value);
  }
  const auto& cache = options.pool.text.prefix_cache_dir;
  if (!cache.empty()) service.writable.push_back(std::filesystem::absolute(cache));
  if (!options.record.empty()) service.writable.push_back(std::filesystem::absolute(options.record));
  // The folder for uploads; a system service has its own.
  if (!service.system) service.writable.push_back(std::filesystem::temp_directory_path());
  const auto& socket = options.transport.unix_socket;
  if (!socket.empty()) service.writable.push_back(std::filesystem::absolute(socket).parent_path());
  if (std::getenv("MLXK_API_KEY") || std::getenv("MLXK_API_KEYS")) {
    throw Error(ErrorKind::invalid, "a service does not get the keys of this shell: anybody can read a unit",
                "unset MLXK_API_KEY and give --api-key-file");
  }
  return service;
}

int run_serve(const Args& given) {
  Args args = given;
  if (args.has("--user") && args.has("--system"))
    throw Error(ErrorKind::usage, "--user and --system exclude each other");
  if (args.has("--uninstall-service")) {
    uninstall_service(args.has("--system"));
    return 0;
  }
  const ServeOptions options = read_serve_options(args);
  if (args.has("--install-service")) {
    install_service(make_service(args, options));
    return 0;
  }
  apply_threads(args);
  return serve(options, [&](const std::string& address, int port) {
    if (args.has("--json")) print_serve_start(options, address, port);
  });
}

}  // namespace

extern const Command kServeCommand;
const Command kServeCommand = {
    .name = "serve",
    .help = "serve models over HTTP with OpenAI's API",
    .options = serve_options(),
    .run = run_serve,
    .aliases = {"server"},
    .environment = model_places({{"MLXK_API_KEY", "an API key: key, name:key or name:key:scopes"},
                                 {"MLXK_API_KEYS", "several API keys, separated by spaces"},
                                 {"MLXK2_INLINE_REASONING", "1: put reasoning into the answers' content"},
                                 {"MLXK_MEMORY_LIMIT", "memory that models may use, in bytes"}}),
    .bare_errors = true,
};

}  // namespace mlxk

// `mlxk embed-serve MODEL`: a server of one embedding model.
#include <cstdio>

#include "cli/model_places.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "embed/embed_options.h"
#include "hub/resolve.h"
#include "json/json.h"
#include "probe/model_info.h"
#include "serve/serve.h"
#include "serve/serve_options.h"
#include "serving/admission.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

void print_embed_serve_start(const ServeOptions& options, const std::string& address, int port) {
  print_json({{"status", "starting"},
              {"command", "embed-serve"},
              {"data",
               {{"host", options.transport.host},
                {"port", port},
                {"model", options.pool.pinned},
                {"device", std::string_view(MLXK_BACKEND) == "cpu" ? "cpu" : "gpu"},
                {"address", address}}},
              {"error", nullptr}});
  std::fflush(stdout);
}

int run_embed_serve(const Args& given) {
  return with_encoder_errors("NotAnEmbedder", [&] {
    Args args = given;
    check_cpu(args);
    const ServeOptions options = read_embed_serve_options(args);
    // A model that gives no vectors is refused before anything starts.
    const ModelInfo info = probe_model(resolve_model(options.pool.pinned));
    admit(info, this_machine(), {.encodes = info.is_embedding ? info.encoder_task : EncoderTask::embed});
    apply_threads(args);
    return serve(options, [&](const std::string& address, int port) {
      if (args.has("--json")) print_embed_serve_start(options, address, port);
    });
  });
}

}  // namespace

extern const Command kEmbedServeCommand;
const Command kEmbedServeCommand = {
    .name = "embed-serve",
    .help = "serve one embedding model over HTTP",
    .positionals = {{"model", PositionalKind::required, kModelHelp}},
    .options = embed_serve_options(),
    .run = run_embed_serve,
    .environment = model_places({{"MLXK_API_KEY", "an API key: key, name:key or name:key:scopes"},
                                 {"MLXK_API_KEYS", "several API keys, separated by spaces"},
                                 {"MLXK_MEMORY_LIMIT", "memory that models may use, in bytes"}}),
};

}  // namespace mlxk

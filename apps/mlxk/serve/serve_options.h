#pragma once

#include <chrono>
#include <string>

#include "commands/command.h"
#include "server/access_guard.h"
#include "server/image_source.h"
#include "serving/model_pool.h"
#include "transport/http_server.h"
#include "worker/limits.h"

namespace mlxk {

/// The parsed and checked arguments of `mlxk serve`.
struct ServeOptions {
  TransportOptions transport;
  PoolOptions pool;
  WorkerLimits limits;
  AccessOptions access;
  std::string key_file;
  bool allow_unauthenticated = false;
  int64_t max_tokens = 0;     // 0: by the model's context
  bool generic_tools = true;  // false: --no-generic-tools
  ImageSources images;
  bool allow_truncate = false;  // vectors of any model may be shortened
  std::string embed_backend;    // the backend of /v1/embeddings; empty: none
  std::string record;           // the folder for recorded answers; empty: none
  bool record_redact = false;   // record answers without prompts
  uint64_t audio_limit = 0;     // bytes of a recording
  int transcriptions = 0;       // at once
  size_t max_recordings = 0;    // recordings that wait for that
  std::chrono::milliseconds drain_timeout{30'000};
};

/// The option table of `mlxk serve`.
std::vector<Option> serve_options();

/// The option table of `mlxk embed-serve`.
std::vector<Option> embed_serve_options();

/// Reads the arguments of `mlxk embed-serve`, which serves its one model whatever name a request has. Throws like
/// read_serve_options.
ServeOptions read_embed_serve_options(Args& args);

/// Reads `args`, including the config file that they name. Throws usage, invalid, io.
ServeOptions read_serve_options(Args& args);

/// "512M", "1.5G", "0" → bytes, by powers of 1024; throws usage naming `option`.
uint64_t parse_size(const std::string& option, const std::string& text);

/// Whether `host` is only this machine: localhost, 127.0.0.0/8, ::1.
bool is_loopback(const std::string& host);

}  // namespace mlxk

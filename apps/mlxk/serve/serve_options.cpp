#include "serve/serve_options.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <locale>
#include <sstream>

#include "base/error.h"
#include "base/log.h"
#include "cli/config_file.h"
#include "cli/model_argument.h"
#include "cli/record_options.h"
#include "cli/speculation_options.h"
#include "cli/threads_option.h"
#include "http/client.h"
#include "policy/policy.h"
#include "run/run_speech.h"

namespace mlxk {

namespace {

using Kind = OptionKind;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr uint64_t kMiB = 1 << 20, kGiB = 1 << 30;
constexpr uint64_t kMaxPrefixCache = 2 * kGiB;

Option seconds(std::string name, std::string help, std::string default_value) {
  return {.name = std::move(name),
          .kind = Kind::number,
          .metavar = "SECONDS",
          .help = std::move(help),
          .default_value = std::move(default_value),
          .min = 0,
          .max = 1e7};
}

std::chrono::milliseconds duration(const Args& args, std::string_view option) {
  return std::chrono::milliseconds(std::llround(args.number(option) * 1000));
}

/// The default memory for keys and values: the part of 70 % that weights leave, less a twentieth.
uint64_t default_kv_bytes(const Machine& machine) {
  return machine.memory_bytes == 0 ? std::numeric_limits<uint64_t>::max() : machine.memory_bytes / 4;
}

uint64_t default_prefix_bytes(const Machine& machine) {
  return machine.memory_bytes == 0 ? kMaxPrefixCache : std::min(kMaxPrefixCache, machine.memory_bytes / 16);
}

log::Level read_level(const Args& args) {
  const std::string name = args.has("--log-level") || !args.has("--verbose") ? args.text("--log-level") : "debug";
  if (name == "debug" || name == "trace") return log::Level::debug;
  if (name == "info") return log::Level::info;
  if (name == "warning" || name == "warn") return log::Level::warn;
  if (name == "error" || name == "critical") return log::Level::error;
  if (name == "off") return log::Level::off;
  throw Error(ErrorKind::usage,
              fmt::format("argument --log-level: one of debug, info, warning, error, off; got '{}'", name));
}

void check_chunk(const Args& args) {
  const int64_t chunk = args.integer("--chunk");
  if (chunk < 1) throw Error(ErrorKind::invalid, fmt::format("chunk size must be at least 1 (got: {}).", chunk));
  if (chunk > 5) {
    throw Error(ErrorKind::invalid,
                "chunk size too large (max: 5 for Metal API stability). This limit is based on "
                "empirically tested performance.");
  }
}

TransportOptions read_transport(const Args& args) {
  TransportOptions transport;
  transport.host = args.text("--host");
  transport.port = static_cast<uint16_t>(args.integer("--port"));
  transport.unix_socket = args.text("--unix-socket");
  transport.tls_certificate = args.text("--tls-cert");
  transport.tls_key = args.text("--tls-key");
  if (transport.tls_certificate.empty() != transport.tls_key.empty()) {
    throw Error(ErrorKind::usage, "--tls-cert and --tls-key belong together");
  }
  transport.max_connections = static_cast<size_t>(args.integer("--max-connections"));
  transport.header_timeout = duration(args, "--header-timeout");
  transport.idle_timeout = duration(args, "--keep-alive-timeout");
  transport.body_timeout = duration(args, "--body-timeout");
  transport.write_stall_timeout = duration(args, "--write-timeout");
  return transport;
}

LoadOptions read_model_options(const Args& args, const Machine& machine) {
  LoadOptions text;
  text.prefix_cache_bytes = args.has("--prefix-cache") ? parse_size("--prefix-cache", args.text("--prefix-cache"))
                                                       : default_prefix_bytes(machine);
  text.prefix_cache_dir = args.text("--prefix-cache-dir");
  if (!text.prefix_cache_dir.empty()) {
    text.prefix_cache_disk_bytes = parse_size("--prefix-cache-disk", args.text("--prefix-cache-disk"));
  } else if (args.has("--prefix-cache-disk")) {
    throw Error(ErrorKind::usage, "--prefix-cache-disk needs --prefix-cache-dir");
  }
  return text;
}

/// The address of --embed-backend without a final slash; the backend is not contacted.
std::string read_embed_backend(const Args& args) {
  if (!args.has("--embed-backend")) return {};
  std::string url = args.text("--embed-backend");
  while (url.ends_with('/')) url.pop_back();
  if (url_origin(url).empty()) {
    throw Error(ErrorKind::invalid, fmt::format("--embed-backend: not an http or https address with a host: '{}'",
                                                args.text("--embed-backend")));
  }
  return url;
}

/// The options of every server: its address, access, limits of waiting requests. The config file is read first.
ServeOptions read_server(Args& args) {
  if (args.has("--config")) read_config_file(args.text("--config"), args);
  log::set_level(read_level(args));
  log::set_json(args.has("--log-json"));
  ServeOptions options;
  options.transport = read_transport(args);
  options.limits.max_running = static_cast<size_t>(args.integer("--max-running"));
  options.limits.max_waiting = static_cast<size_t>(args.integer("--max-waiting"));
  options.access = {options.transport.host, args.list("--allowed-host"), args.list("--cors-origin"),
                    !options.transport.tls_certificate.empty()};
  options.key_file = args.text("--api-key-file");
  options.allow_unauthenticated = args.has("--allow-unauthenticated");
  options.allow_truncate = args.has("--allow-truncate");
  options.drain_timeout = duration(args, "--drain-timeout");
  return options;
}

}  // namespace

std::vector<Option> serve_options() {
  std::vector<Option> options = {
      {.name = "--model",
       .kind = Kind::text,
       .metavar = "MODEL",
       .help = "load this model at startup and keep it; may be a folder or a .gguf file",
       .env = "MLXK2_PRELOAD_MODEL"},
      {.name = "--host",
       .kind = Kind::text,
       .metavar = "HOST",
       .help = "address to listen on",
       .default_value = "127.0.0.1",
       .env = "MLXK2_HOST"},
      {.name = "--port",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "port to listen on; 0: any free one",
       .default_value = "8000",
       .env = "MLXK2_PORT",
       .min = 0,
       .max = 65535},
      {.name = "--unix-socket", .kind = Kind::text, .metavar = "PATH", .help = "listen on this socket instead"},
      {.name = "--tls-cert", .kind = Kind::text, .metavar = "FILE", .help = "certificate chain, PEM"},
      {.name = "--tls-key", .kind = Kind::text, .metavar = "FILE", .help = "its private key, PEM"},
      {.name = "--max-tokens",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "default limit of an answer's tokens; default: half of the model's context",
       .env = "MLXK2_MAX_TOKENS",
       .min = 1,
       .max = kInfinity},
      {.name = "--api-key-file",
       .kind = Kind::text,
       .metavar = "FILE",
       .help = "file of API keys: lines of key, name:key or name:key:scopes (inference,admin)",
       .env = "MLXK_API_KEY_FILE",
       .whole = true},
      {.name = "--allow-unauthenticated", .help = "allow other addresses without API keys"},
      {.name = "--allowed-host",
       .kind = Kind::repeated,
       .metavar = "NAME",
       .help = "a host name that clients may use for this server; *: any. Addresses and localhost are always allowed"},
      {.name = "--cors-origin",
       .kind = Kind::repeated,
       .metavar = "ORIGIN",
       .help = "allow requests from web pages of this origin (https://example.org); default: none"},
      {.name = "--no-generic-tools", .help = "refuse tools where the model's chat template does not support them"},
      {.name = "--allow-truncate", .help = "let `dimensions` shorten the vectors of any embedding model"},
      {.name = "--embed-backend",
       .kind = Kind::text,
       .metavar = "URL",
       .help = "forward requests for /v1/embeddings to this server"},
      {.name = "--max-running",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "requests that a model answers at the same time",
       .default_value = "64",
       .min = 1,
       .max = 4096},
      {.name = "--max-waiting",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "requests that may wait; more get 429",
       .default_value = "512",
       .min = 0,
       .max = 1e6},
      {.name = "--allow-image-urls",
       .help = "fetch images that requests name by http or https URLs on the public internet"},
      {.name = "--media-root",
       .kind = Kind::text,
       .metavar = "DIR",
       .help = "read images from file:// addresses below this folder; default: none"},
      audio_limit_option(),
      {.name = "--max-transcriptions",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "recordings transcribed at the same time",
       .default_value = "4",
       .min = 1,
       .max = 256},
      {.name = "--max-recordings",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "recordings that may wait; more get 429",
       .default_value = "32",
       .min = 0,
       .max = 1e6},
      {.name = "--kv-memory",
       .kind = Kind::text,
       .metavar = "SIZE",
       .help = "memory for keys, values and images of running requests (4G); default: a quarter of the machine's"},
      {.name = "--prefix-cache",
       .kind = Kind::text,
       .metavar = "SIZE",
       .help = "memory per model for reusable prompt prefixes; default: a sixteenth of the machine's, at most 2G; "
               "0: none"},
      {.name = "--prefix-cache-dir", .kind = Kind::text, .metavar = "DIR", .help = "also keep them in this folder"},
      {.name = "--prefix-cache-disk",
       .kind = Kind::text,
       .metavar = "SIZE",
       .help = "size limit of that folder",
       .default_value = "8G"},
      seconds("--idle-timeout", "unload a model that was unused for this long; 0: never", "0"),
      {.name = "--max-models",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "models in memory at once; 0: as many as fit",
       .default_value = "0",
       .min = 0,
       .max = 1000},
      seconds("--drain-timeout", "after SIGTERM or Ctrl-C, longest wait for answers in progress", "30"),
      seconds("--room-timeout", "longest wait of a request for memory that a model in use takes", "60"),
      seconds("--header-timeout", "longest wait for a request's head", "10"),
      seconds("--body-timeout", "longest wait for a request's body", "300"),
      seconds("--write-timeout", "longest wait for a client that does not read its answer", "30"),
      seconds("--keep-alive-timeout", "longest time a connection may be idle", "60"),
      {.name = "--max-connections",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "connections at once",
       .default_value = "4096",
       .min = 1,
       .max = 1e6},
      record_option(),
      record_redact_option(),
      threads_option(),
      {.name = "--log-level",
       .kind = Kind::text,
       .metavar = "LEVEL",
       .help = "debug, info, warning, error or off",
       .default_value = "info",
       .env = "MLXK2_LOG_LEVEL",
       .choices = {"debug", "info", "warning", "error", "off"}},
      {.name = "--log-json", .help = "log lines are JSON objects", .env = "MLXK2_LOG_JSON"},
      {.name = "--verbose", .help = "the same as --log-level debug"},
      {.name = "--config",
       .kind = Kind::text,
       .metavar = "FILE",
       .help = "TOML file of these options (port = 8000); flags and variables take precedence",
       .env = "MLXK_CONFIG",
       .in_file = false},
      {.name = "--chunk",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "images per call",
       .default_value = "1",
       .env = "MLXK2_VISION_CHUNK_SIZE"},
      {.name = "--reload", .help = "accepted; has no effect", .env = "MLXK2_RELOAD"},
      {.name = "--install-service",
       .help = "write a systemd or launchd service with these options, and print how to start it",
       .in_file = false},
      {.name = "--uninstall-service", .help = "remove that service", .in_file = false},
      {.name = "--user", .help = "a service of this user (the default)", .in_file = false},
      {.name = "--system", .help = "a service of the system", .in_file = false},
      {.name = "--json", .help = "print one JSON document on stdout when the server starts", .in_file = false},
  };
  const auto behind =
      std::find_if(options.begin(), options.end(), [](const Option& one) { return one.name == "--drain-timeout"; });
  const std::vector<Option> speculation = speculation_options();
  options.insert(behind, speculation.begin(), speculation.end());
  return options;
}

uint64_t parse_size(const std::string& option, const std::string& text) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  double number = 0;
  std::string unit;
  const bool read = static_cast<bool>(stream >> std::noskipws >> number);
  if (read) stream >> unit;
  static const std::vector<std::pair<std::string_view, double>> kUnits = {
      {"", 1}, {"K", 1024.0}, {"M", double(kMiB)}, {"G", double(kGiB)}, {"T", 1024.0 * double(kGiB)}};
  if (unit.size() > 1 && unit.ends_with("B")) unit.pop_back();
  if (unit.size() > 1 && unit.ends_with("i")) unit.pop_back();
  if (unit == "B") unit.clear();
  for (const auto& [name, factor] : kUnits) {
    if (read && std::isfinite(number) && number >= 0 && number * factor < 9e18 && unit == name) {
      return static_cast<uint64_t>(number * factor);
    }
  }
  throw Error(ErrorKind::usage, fmt::format("argument {}: not a size like 512M or 4G: '{}'", option, text));
}

bool is_loopback(const std::string& host) {
  if (host == "localhost" || host == "::1" || host == "[::1]") return true;
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

std::vector<Option> embed_serve_options() {
  static constexpr std::array kTaken = {"--host",
                                        "--port",
                                        "--unix-socket",
                                        "--tls-cert",
                                        "--tls-key",
                                        "--api-key-file",
                                        "--allow-unauthenticated",
                                        "--allowed-host",
                                        "--cors-origin",
                                        "--allow-truncate",
                                        "--max-running",
                                        "--max-waiting",
                                        "--drain-timeout",
                                        "--header-timeout",
                                        "--body-timeout",
                                        "--write-timeout",
                                        "--keep-alive-timeout",
                                        "--max-connections",
                                        "--threads",
                                        "--log-level",
                                        "--log-json",
                                        "--verbose",
                                        "--config",
                                        "--json"};
  std::vector<Option> options;
  for (Option& option : serve_options()) {
    if (std::find(kTaken.begin(), kTaken.end(), option.name) == kTaken.end()) continue;
    if (option.name == "--port") option.default_value = "8002";
    if (option.name == "--json") {
      options.push_back(
          {.name = "--cpu", .help = "compute on the CPU, which a CPU build does anyway", .in_file = false});
    }
    options.push_back(std::move(option));
  }
  return options;
}

ServeOptions read_embed_serve_options(Args& args) {
  ServeOptions options = read_server(args);
  options.pool.pinned = runnable_argument(args.word("model"));
  options.pool.any_name = true;
  return options;
}

ServeOptions read_serve_options(Args& args) {
  ServeOptions options = read_server(args);
  check_chunk(args);
  const Machine machine = this_machine();
  options.pool.pinned = runnable_argument(args.text("--model"));
  options.pool.idle_timeout = duration(args, "--idle-timeout");
  options.pool.max_models = static_cast<size_t>(args.integer("--max-models"));
  options.pool.room_wait = duration(args, "--room-timeout");
  options.pool.text = read_model_options(args, machine);
  options.pool.draft = read_speculation(args, options.pool.text);
  if (!options.pool.draft.empty() && options.pool.pinned.empty()) {
    throw Error(ErrorKind::usage, "--draft-model needs --model, the model that it drafts for");
  }
  options.limits.kv_bytes =
      args.has("--kv-memory") ? parse_size("--kv-memory", args.text("--kv-memory")) : default_kv_bytes(machine);
  if (args.has("--max-tokens")) options.max_tokens = args.integer("--max-tokens");
  options.generic_tools = !args.has("--no-generic-tools");
  options.images.urls = args.has("--allow-image-urls");
  if (args.has("--media-root")) {
    options.images.media_root = args.text("--media-root");
    if (!std::filesystem::is_directory(options.images.media_root)) {
      throw Error(ErrorKind::invalid,
                  fmt::format("argument --media-root: there is no folder {}", args.text("--media-root")));
    }
  }
  options.embed_backend = read_embed_backend(args);
  options.record = read_record_folder(args);
  options.record_redact = args.has("--record-redact");
  options.audio_limit = read_audio_limit(args);
  options.transcriptions = static_cast<int>(args.integer("--max-transcriptions"));
  options.max_recordings = static_cast<size_t>(args.integer("--max-recordings"));
  return options;
}

}  // namespace mlxk

#include "serve/serve.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <optional>
#include <semaphore>
#include <thread>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/open.h"
#include "policy/machine.h"
#include "record/request_recorder.h"
#include "server/keys.h"
#include "server/server.h"
#include "serving/memory_room.h"
#include "serving/model_names.h"
#include "terminal/signal_pipe.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

constexpr int kLoaded = 100, kNotLoaded = 101, kDrained = 102,
              kTakenApart = 103;  // notes from threads, in addition to signals
constexpr std::chrono::hours kLong{1};
constexpr std::chrono::seconds kTakingApart{10};
// The memory of the program, its threads, the engine, and the stack for rendering chat templates
// (rust/src/confined.rs).
constexpr uint64_t kOwnAddressSpace = 680'000'000;
constexpr std::chrono::milliseconds kSamePress{100};  // timeout(1) signals the process and its group: count both as one

/// Each connection needs a descriptor; the soft limit is often 1024.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
#ifdef __APPLE__
  limit.rlim_cur = std::min<rlim_t>(OPEN_MAX, limit.rlim_max);
#else
  limit.rlim_cur = limit.rlim_max;
#endif
  setrlimit(RLIMIT_NOFILE, &limit);
}

KeyRing read_keys_for(const ServeOptions& options) {
  KeyRing keys = read_keys(options.key_file);
  if (!keys.empty()) return keys;
  if (!options.key_file.empty()) {
    throw Error(ErrorKind::invalid, fmt::format("{} has no key", options.key_file));
  }
  const bool open = options.transport.unix_socket.empty() && !is_loopback(options.transport.host);
  if (open && !options.allow_unauthenticated) {
    throw Error(ErrorKind::denied,
                fmt::format("without an API key anybody who reaches {} could use this server", options.transport.host),
                "set MLXK_API_KEY or --api-key-file, or force it with --allow-unauthenticated");
  }
  if (open)
    log::warn(fmt::format("anybody who reaches {} can use this server: there is no API key", options.transport.host));
  for (const std::string& origin : options.access.cors_origins) {
    if (origin == "*")
      throw Error(ErrorKind::denied, "--cors-origin * without an API key lets every web page use this server");
  }
  return keys;
}

void log_answer(const HttpRequest& head, int status, size_t bytes, double seconds) {
  log::info(fmt::format("{} {} {}", head.method, head.path, status), {{"request_id", head.id},
                                                                      {"remote", head.remote},
                                                                      {"duration", seconds},
                                                                      {"bytes", static_cast<int64_t>(bytes)}});
}

ServerOptions server_options(const ServeOptions& options) {
  ServerOptions made;
  made.default_max_tokens = options.max_tokens;
  const char* inline_reasoning = std::getenv("MLXK2_INLINE_REASONING");
  made.generic_tools = options.generic_tools;
  made.inline_reasoning = inline_reasoning && std::string_view(inline_reasoning) == "1";
  made.transcription_threads = options.transcriptions;
  made.max_recordings = options.max_recordings;
  made.images = options.images;
  made.audio_limit = options.audio_limit;
  made.allow_truncate = options.allow_truncate;
  made.embed_backend = options.embed_backend;
  made.on_answered = log_answer;
  return made;
}

void announce(const ServeOptions& options, const std::string& address) {
  log::info(fmt::format("Starting MLX Knife Server 2.0 on {}", address));
  log::info(fmt::format("API documentation: {}/openapi.json", address));
  log::info(options.max_tokens > 0 ? fmt::format("Default max tokens: {}", options.max_tokens)
                                   : std::string("Default max tokens: model-aware dynamic limits"));
  log::info("Press Ctrl-C to stop the server");
}

/// Loads the pinned model while the server already answers.
class Preload {
 public:
  Preload(ModelPool& pool, const std::string& model, SignalPipe& signals) {
    if (model.empty()) return;
    thread_ = std::thread([this, &pool, &signals, model] {
      try {
        pool.acquire(model, {});
        signals.post(kLoaded);
      } catch (...) {
        failure_ = std::current_exception();
        signals.post(kNotLoaded);
      }
    });
  }
  ~Preload() { join(); }
  Preload(const Preload&) = delete;
  Preload& operator=(const Preload&) = delete;
  /// After kNotLoaded.
  [[noreturn]] void rethrow() {
    join();
    std::rethrow_exception(failure_);
  }

 private:
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  std::thread thread_;
  std::exception_ptr failure_;
};

/// Throws memory if the limit on the address space leaves no room for the server and its model: then hardly any request
/// could be prepared.
void check_address_space(const ModelNames& names) {
  const Memory space = address_space();
  if (space.total == 0) return;
  const uint64_t weights = names.has_pinned() ? weights_of(probe_model(names.pinned())) : 0;
  const uint64_t needed = kOwnAddressSpace + weights;
  if (space.total >= needed) return;
  throw Error(ErrorKind::memory,
              fmt::format("the server needs {} MB of address space, {} MB of them for the model's weights; "
                          "the limit of this process is {} MB",
                          needed / 1'000'000, weights / 1'000'000, space.total / 1'000'000),
              "raise the limit (ulimit -v)");
}

/// Throws io for an unusable folder, which would otherwise be noticed by a request, too late.
void check_folders(const ServeOptions& options) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path temporary = fs::temp_directory_path(error);
  std::string file = (temporary / "mlxk-XXXXXX").string();
  const int descriptor = error ? -1 : mkstemp(file.data());
  if (descriptor < 0) {
    const char* named = std::getenv("TMPDIR");
    throw Error(ErrorKind::io,
                fmt::format("the folder for temporary files, {}, cannot be used: {}", named ? named : "/tmp",
                            error ? error.message() : std::strerror(errno)),
                "set TMPDIR to a folder that can be written to");
  }
  close(descriptor);
  unlink(file.c_str());
  const fs::path& cache = options.pool.text.prefix_cache_dir;
  if (cache.empty()) return;
  fs::create_directories(cache, error);
  if (!error && !fs::is_directory(cache, error) && !error) error = std::make_error_code(std::errc::not_a_directory);
  if (error) throw Error(ErrorKind::io, fmt::format("--prefix-cache-dir {}: {}", cache.string(), error.message()));
}

void reload_keys(const ServeOptions& options, AccessGuard& guard) {
  try {
    KeyRing keys = read_keys_for(options);
    log::info(fmt::format("API keys read again: {}", keys.size()));
    guard.set_keys(std::move(keys));
  } catch (const Error& error) {  // the old ones stay
    log::error(fmt::format("API keys not read again: {}", error.what()));
  }
}

[[noreturn]] void leave_at_once(const ServeOptions& options, int signal) {
  if (!options.transport.unix_socket.empty()) unlink(options.transport.unix_socket.c_str());
  log::warn("Exiting immediately");
  std::_Exit(128 + signal);
}

/// Watches over the shutdown: after begin() another signal ends the process, and so does a thread that does not return
/// while the server is destroyed. Its own thread starts with the server, because at the end there may be no memory for
/// one.
class Ending {
 public:
  Ending(const ServeOptions& options, SignalPipe& signals)
      : signals_(signals), thread_([this, &options] {
          begun_.acquire();
          watch(options);
        }) {}
  ~Ending() {
    signals_.post(kTakenApart);
    begun_.release();
    thread_.join();
  }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;
  /// From now on it reads the signals.
  void begin() { begun_.release(); }
  /// The answers are complete, or their time is over.
  void drained() { signals_.post(kDrained); }

 private:
  void watch(const ServeOptions& options) {
    const auto began = std::chrono::steady_clock::now();
    std::chrono::milliseconds patience = kLong;
    for (int note = 0; note != kTakenApart;) {
      note = signals_.next(patience);
      const bool again = note == SIGINT || note == SIGTERM;
      if (again && std::chrono::steady_clock::now() - began > kSamePress) leave_at_once(options, note);
      if (note == 0 && patience == kTakingApart) {
        log::warn("Exiting although something still runs");
        std::_Exit(0);
      }
      if (note == kDrained) patience = kTakingApart;
    }
  }

  SignalPipe& signals_;
  std::counting_semaphore<2> begun_{0};
  std::thread thread_;
};

/// Refuses new requests and waits for running ones.
void drain(const ServeOptions& options, Server& server, HttpServer& http, Ending& ending) {
  log::info(fmt::format("Shutting down: waiting for {} (again to stop at once)", counted(http.active(), "answer")));
  server.drain();
  ending.begin();
  if (!http.drain(options.drain_timeout))
    log::warn(fmt::format("{} not complete in time", counted(http.active(), "answer")));
  ending.drained();
}

}  // namespace

int serve(const ServeOptions& options, const std::function<void(const std::string&, int)>& started) {
  check_folders(options);
  raise_descriptor_limit();
  AccessGuard guard(options.access, read_keys_for(options));
  const ModelNames known(options.pool.pinned);  // an unknown model is reported before the engine starts
  check_address_space(known);
  SignalPipe signals;
  Ending ending(options, signals);  // outlives the objects destroyed below
  Worker worker(open_engine, options.limits);
  ModelPool pool(worker, options.pool);
  std::optional<RequestRecorder> recorder;
  if (!options.record.empty()) recorder.emplace(options.record, options.record_redact, worker.device());
  ServerOptions made = server_options(options);
  made.recorder = recorder ? &*recorder : nullptr;
  Server server(worker, pool, guard, std::move(made));
  HttpServer http(options.transport, server);
  announce(options, http.address());
  started(http.address(), http.port());
  Preload preload(pool, options.pool.pinned, signals);
  while (true) {
    const int note = signals.next(kLong);
    if (note == SIGHUP) reload_keys(options, guard);
    if (note == kNotLoaded) preload.rethrow();
    if (note != SIGINT && note != SIGTERM) continue;
    drain(options, server, http, ending);
    pool.stop();
    log::info("Server stopped");
    return 0;
  }
}

}  // namespace mlxk

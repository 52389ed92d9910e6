// The whole server on an engine whose answers are known beforehand (server/testing/fake_engine.h): for tests of what
// stands between the socket and the worker, also under ThreadSanitizer.
//   mlxk_fake_server [--port N] [--unix PATH] [--step-us N] [--prefill-part N] [--max-running N] [--max-waiting N]
//                    [--max-tokens N] [--keep-alive-ms N] [--unread-limit BYTES] [--context N] [--stuck-ms N]
//                    [--inline-reasoning]
//                    [--speech] [--audio-limit BYTES] [--embeddings]
// Serves the models "tiny" and "other" (and "ears", which hears, with --speech; "vectors", "ranks" and "moods" with
// --embeddings) without keys; prints its address on a
// line of its own; SIGTERM drains and ends it.
#include <pthread.h>
#include <signal.h>  // sigwait
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "server/server.h"
#include "server/testing/fake_engine.h"
#include "server/testing/open_guard.h"
#include "serving/model_pool.h"
#include "serving/testing/tiny_model.h"
#include "transport/http_server.h"
#include "worker/worker.h"

int main(int argc, char** argv) {
  using namespace mlxk;
  std::map<std::string, std::string> flags;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    flags[name] = i + 1 < argc && std::string(argv[i + 1]).rfind("--", 0) != 0 ? argv[++i] : "";
  }
  const auto number = [&](const char* name, long otherwise) {
    return flags.count(name) ? std::atol(flags[name].c_str()) : otherwise;
  };
  // Waited for below; every thread inherits it.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  const auto home = std::filesystem::temp_directory_path() / ("mlxk_fake_server_" + std::to_string(getpid()));
  for (const char* name : {"tiny", "other"})
    testing::write_tiny_model(home / "workspaces" / name, number("--context", 4096));
  if (flags.count("--speech")) testing::write_tiny_whisper(home / "workspaces" / "ears");
  if (flags.count("--embeddings")) {
    testing::write_tiny_embedder(home / "workspaces" / "vectors");
    testing::write_tiny_embedder(home / "workspaces" / "ranks", {"score"});
    testing::write_tiny_embedder(home / "workspaces" / "moods", {"calm", "angry"});
  }
  setenv("MLXK_WORKSPACE_HOME", (home / "workspaces").c_str(), 1);
  setenv("HF_HOME", (home / "hf").c_str(), 1);
  int status = 0;
  try {
    WorkerLimits limits;
    limits.max_running = static_cast<size_t>(number("--max-running", 64));
    limits.max_waiting = static_cast<size_t>(number("--max-waiting", 1024));
    testing::FakeEngineOptions engine;
    engine.step = std::chrono::microseconds(number("--step-us", 0));
    engine.prefill_part = number("--prefill-part", 512);
    Worker worker([&] { return std::make_unique<testing::FakeEngine>(engine); }, limits);
    ModelPool models(worker, {.pinned = "tiny"});
    const testing::OpenGuard guard;
    ServerOptions options;
    options.default_max_tokens = number("--max-tokens", 0);
    options.inline_reasoning = flags.count("--inline-reasoning") > 0;
    options.stuck_after = std::chrono::milliseconds(number("--stuck-ms", 60'000));
    options.audio_limit = static_cast<uint64_t>(number("--audio-limit", 50 << 20));
    options.keep_alive = std::chrono::milliseconds(number("--keep-alive-ms", 5000));
    Server server(worker, models, guard, options);
    TransportOptions transport;
    transport.port = static_cast<uint16_t>(number("--port", 0));
    transport.unix_socket = flags["--unix"];
    transport.max_unsent_bytes = static_cast<size_t>(number("--unread-limit", 4 << 20));
    HttpServer http(transport, server);
    std::printf("%s\n", http.address().c_str());
    std::fflush(stdout);
    int came = 0;
    sigwait(&signals, &came);
    server.drain();
    http.drain(std::chrono::seconds(5));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    status = 1;
  }
  std::filesystem::remove_all(home);
  return status;
}

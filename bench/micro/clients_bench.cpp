// Clients in a closed loop through the Worker: each sends its next request once the last is answered. Tokens a second,
// times to the first token and between two tokens; also what a long prompt does to the others, and what a kept prompt
// saves.
//   clients_bench MODEL clients [CLIENTS [REQUESTS [SHORTEST LONGEST [ANSWER]]]]
//   clients_bench MODEL beside [LENGTH]         a prompt of LENGTH beside 8 running answers
//   clients_bench MODEL prefix [LENGTH [DIR]]   the second time to first token of a shared prefix; DIR: also after a
//   restart
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>

#include "backend/mlx_backend.h"
#include "worker/request.h"
#include "worker/worker.h"

namespace {

using namespace mlxk;
using Clock = std::chrono::steady_clock;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

/// The times of each request's events.
struct Times {
  Clock::time_point sent;
  std::vector<Clock::time_point> tokens;
  Usage usage;
  bool ended = false;
};

class Load {
 public:
  Load(Worker& worker, std::shared_ptr<const ModelHandle> model) : worker_(worker), model_(std::move(model)) {}

  GenerateRequest request(int64_t length, unsigned seed, int64_t answer) const {
    std::mt19937 random(seed);
    GenerateRequest request;
    for (int64_t i = 0; i < length; ++i) {
      request.prompt.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(model_->facts().vocab_size)));
    }
    request.sampling.temperature = 0;
    request.max_tokens = answer;
    return request;
  }
  size_t send(GenerateRequest request) {
    const std::lock_guard lock(mutex_);
    const size_t number = all_.size();
    auto times = std::make_shared<Times>();
    times->sent = Clock::now();
    all_.push_back(times);
    ++running_;
    worker_.submit(model_, std::move(request), [this, times](const Event& event) {
      const std::lock_guard taken(mutex_);
      if (std::holds_alternative<TokenEvent>(event)) times->tokens.push_back(Clock::now());
      if (const auto* failed = std::get_if<FailedEvent>(&event)) fmt::print("failed: {}\n", failed->message);
      if (const auto* done = std::get_if<DoneEvent>(&event)) times->usage = done->usage;
      if (!std::holds_alternative<DoneEvent>(event) && !std::holds_alternative<FailedEvent>(event)) return;
      times->ended = true;
      --running_;
      changed_.notify_all();
    });
    return number;
  }
  void wait_below(size_t running) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ < running; });
  }
  Times times(size_t number) {
    const std::lock_guard lock(mutex_);
    return *all_[number];
  }
  size_t sent() {
    const std::lock_guard lock(mutex_);
    return all_.size();
  }

 private:
  Worker& worker_;
  std::shared_ptr<const ModelHandle> model_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Times>> all_;
  size_t running_ = 0;
};

void report(Load& load, const char* name, size_t from, size_t to) {
  std::vector<double> first, gaps;
  int64_t prompt = 0, tokens = 0, cached = 0;
  Clock::time_point begin = load.times(from).sent, end = begin;
  for (size_t i = from; i < to; ++i) {
    const Times times = load.times(i);
    prompt += times.usage.prompt_tokens;
    cached += times.usage.cached_tokens;
    tokens += times.usage.completion_tokens;
    if (times.tokens.empty()) continue;
    first.push_back(seconds(times.tokens.front() - times.sent));
    for (size_t t = 1; t < times.tokens.size(); ++t) gaps.push_back(seconds(times.tokens[t] - times.tokens[t - 1]));
    end = std::max(end, times.tokens.back());
  }
  const double all = seconds(end - begin);
  fmt::print(
      "{}: {} requests in {:.2f} s: {:.1f} tokens/s answered, {:.1f} with {} of prompts ({} kept); first token {:.3f} "
      "median {:.3f} p95; between tokens {:.4f} median {:.4f} p95 {:.4f} most\n",
      name, to - from, all, static_cast<double>(tokens) / all, static_cast<double>(tokens + prompt) / all, prompt,
      cached, percentile(first, 0.5), percentile(first, 0.95), percentile(gaps, 0.5), percentile(gaps, 0.95),
      percentile(gaps, 1));
}

}  // namespace

int main(int argc, char** argv) {
  const auto word = [&](int i, const char* fallback) { return std::string(i < argc ? argv[i] : fallback); };
  const auto number = [&](int i, int fallback) { return i < argc ? std::atoi(argv[i]) : fallback; };
  if (argc < 3) return 2;
  const std::string what = word(2, "");
  LoadOptions options;
  options.prefix_cache_bytes = uint64_t{2} << 30;
  if (what == "prefix" && argc > 4) {
    options.prefix_cache_dir = argv[4];
    options.prefix_cache_disk_bytes = uint64_t{4} << 30;
  }
  if (std::getenv("NO_PREFIX_CACHE")) options = {};
  Worker worker([] { return std::make_unique<MlxBackend>(); });
  if (what == "clients") {
    const auto model = worker.load(ModelKind::text, argv[1], {}, options);
    Load load(worker, model);
    const auto clients = static_cast<size_t>(number(3, 16));
    const int requests = number(4, 64), shortest = number(5, 100), longest = number(6, 500), answer = number(7, 128);
    std::mt19937 random(1);
    for (int i = 0; i < requests; ++i) {
      load.wait_below(clients);
      const int64_t length = shortest + static_cast<int64_t>(random() % static_cast<unsigned>(longest - shortest + 1));
      load.send(load.request(length, static_cast<unsigned>(1000 + i), answer));
    }
    load.wait_below(1);
    report(load, "clients", 0, load.sent());
  } else if (what == "beside") {
    const auto model = worker.load(ModelKind::text, argv[1], {}, options);
    Load load(worker, model);
    for (unsigned i = 0; i < 8; ++i) load.send(load.request(50, i, 400));
    load.wait_below(9);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const size_t longer = load.send(load.request(number(3, 4000), 99, 8));
    load.wait_below(1);
    report(load, "running", 0, longer);
    report(load, "long", longer, longer + 1);
  } else {
    const int length = number(3, 2000);
    std::vector<double> times;
    for (int round = 0; round < (argc > 4 ? 2 : 1); ++round) {
      const auto model = worker.load(ModelKind::text, argv[1], {}, options);
      Load load(worker, model);
      if (round == 0) {
        load.send(load.request(500, 7, 4));  // warm-up
        load.wait_below(1);
      }
      for (int i = 0; i < 3; ++i) {
        auto request = load.request(length, 5, 8);
        for (int j = 0; j < 20; ++j) request.prompt.push_back(100 + 50 * i + 200 * round + j);
        load.send(std::move(request));
        load.wait_below(1);
        const size_t last = load.sent() - 1;
        report(load, round == 0 ? "prefix" : "prefix after a restart", last, last + 1);
      }
    }
  }
}

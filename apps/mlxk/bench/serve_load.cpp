#include "bench/serve_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <sstream>
#include <thread>

#include "base/elapsed.h"
#include "base/error.h"
#include "bench/serve_stream.h"
#include "http/client.h"
#include "json/member.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxThreads = 2048;  // of an open loop; further requests wait to be sent
constexpr size_t kMaxFailureText = 200;

Json request_body(const LoadTarget& target, const LoadPrompt& prompt) {
  Json body = {{"model", target.model}};
  if (!target.chat) {
    body["prompt"] = prompt.text;
  } else if (prompt.messages.is_null()) {
    body["messages"] = {{{"role", "user"}, {"content", prompt.text}}};
  } else {
    body["messages"] = prompt.messages;
  }
  if (prompt.max_tokens > 0) body["max_tokens"] = prompt.max_tokens;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body.update(target.body);
  return body;
}

/// The error of a failed reply, on one line.
std::string failure_text(const HttpReply& reply) {
  if (!reply.failure.empty()) return reply.failure;
  std::string text = reply.body.substr(0, kMaxFailureText);
  try {
    const Json body = parse_json(reply.body, "");
    const Json& error = value_at(body, "error");
    if (const auto message = string_at(error, "message"); !message.empty()) text = message;
    if (error.is_string()) text = error.get<std::string>();
  } catch (const Error&) {  // not JSON: the first bytes of the body
  }
  return fmt::format("status {}: {}", reply.status, text.substr(0, kMaxFailureText));
}

/// The state of a running load: the answers so far, the number of finished requests, and whether to stop.
class Load {
 public:
  Load(const LoadTarget& target, const std::vector<LoadPrompt>& prompts)
      : target_(target), prompts_(prompts), answers_(prompts.size()) {}

  double now() const { return seconds_since(start_); }
  bool stopped() const { return stopped_; }
  void stop() { stopped_ = true; }

  /// Sends request `index`, which was due at `scheduled` (nullopt: now), and waits for its answer.
  void send(HttpClient& client, size_t index, std::optional<double> scheduled) {
    LoadAnswer& answer = answers_[index];
    AnswerStream stream;
    HttpCall call;
    call.url = target_.url + (target_.chat ? "/v1/chat/completions" : "/v1/completions");
    call.method = "POST";
    call.headers = {"Content-Type: application/json", "Accept: text/event-stream"};
    call.authorization = target_.authorization;
    call.body = request_body(target_, prompts_[index]).dump(-1, ' ', false, Json::error_handler_t::replace);
    call.stall_seconds = target_.timeout_s;
    call.on_data = [&](std::string_view bytes) {
      stream.take(bytes, Clock::now());
      return true;
    };
    call.cancelled = [this] { return stopped(); };
    answer.sent = now();
    answer.scheduled = scheduled.value_or(answer.sent);
    try {
      const HttpReply reply = client.send(call);
      fill(answer, stream, reply);
    } catch (const Error& error) {
      answer.failure = error.what();
    }
    const std::lock_guard lock(mutex_);
    ++ended_;
    changed_.notify_all();
  }

  /// Waits until `count` requests have ended, for at most 50 ms; returns the number that have ended.
  size_t wait_ended(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(50), [&] { return ended_ >= count; });
    return ended_;
  }

  std::vector<LoadAnswer> take_answers() { return std::move(answers_); }

 private:
  void fill(LoadAnswer& answer, const AnswerStream& stream, const HttpReply& reply) const {
    const auto& pieces = stream.pieces();
    if (!reply.ok()) {
      answer.failure = failure_text(reply);
    } else if (!stream.error().empty()) {
      answer.failure = stream.error();
    } else if (!stream.is_done()) {
      answer.failure = "the stream ended before the answer";
    } else if (pieces.empty()) {
      answer.failure = "the answer is empty";
    }
    if (pieces.empty()) return;
    answer.first = seconds(pieces.front() - start_);
    answer.last = seconds(pieces.back() - start_);
    for (size_t i = 1; i < pieces.size(); ++i) answer.gaps.push_back(seconds(pieces[i] - pieces[i - 1]));
    answer.prompt_tokens = stream.prompt_tokens().value_or(0);
    answer.completion_tokens = stream.completion_tokens().value_or(static_cast<int64_t>(pieces.size()));
  }

  const LoadTarget& target_;
  const std::vector<LoadPrompt>& prompts_;
  const Clock::time_point start_ = Clock::now();
  std::vector<LoadAnswer> answers_;  // each written by the thread that sends the request
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t ended_ = 0;
};

/// Threads that send the requests that are due: one thread for each request in flight.
class Senders {
 public:
  explicit Senders(Load& load) : load_(load) {}
  ~Senders() { join(); }

  void add(size_t index, double scheduled) {
    const std::lock_guard lock(mutex_);
    due_.emplace_back(index, scheduled);
    if (due_.size() > idle_ && threads_.size() < kMaxThreads) threads_.emplace_back([this] { run(); });
    changed_.notify_one();
  }
  /// Waits for all threads.
  void join() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      changed_.notify_all();
    }
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void run() {
    HttpClient client;
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      changed_.wait(lock, [&] { return ending_ || !due_.empty(); });
      --idle_;
      if (load_.stopped() || due_.empty()) return;
      const auto [index, scheduled] = due_.front();
      due_.pop_front();
      lock.unlock();
      load_.send(client, index, scheduled);
      lock.lock();
    }
  }

  Load& load_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<size_t, double>> due_;
  size_t idle_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

/// The times at which requests of an open loop are due: a Poisson process, that is, with exponential intervals.
std::vector<double> arrivals(size_t count, double rate, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> times(count);
  double time = 0;
  for (size_t i = 0; i < count; ++i) {
    times[i] = time;
    time -= std::log(1 - uniform(random)) / rate;
  }
  return times;
}

struct Watch {
  const std::function<void(size_t)>& progress;
  const std::function<bool()>& stop_wanted;

  /// Shows progress; once `stop_wanted` returns true, cancels the requests in flight and throws cancelled.
  void check(Load& load, size_t ended) const {
    try {
      progress(ended);
      if (stop_wanted()) throw Error(ErrorKind::cancelled, "interrupted");
    } catch (...) {
      load.stop();
      throw;
    }
  }
};

void open_loop(Load& load, const std::vector<double>& times, const Watch& watch) {
  Senders senders(load);
  for (size_t i = 0; i < times.size(); ++i) {
    for (double left; (left = times[i] - load.now()) > 0;) {
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 0.05)));
      watch.check(load, load.wait_ended(0));
    }
    senders.add(i, times[i]);
  }
  for (size_t ended = 0; ended < times.size();) watch.check(load, ended = load.wait_ended(times.size()));
}

void closed_loop(Load& load, size_t count, int clients, const Watch& watch) {
  std::atomic<size_t> next{0};
  struct Joined {
    std::vector<std::thread> threads;
    ~Joined() {
      for (auto& thread : threads) thread.join();
    }
  } joined;
  for (int i = 0; i < clients; ++i) {
    joined.threads.emplace_back([&] {
      HttpClient client;
      for (size_t index; !load.stopped() && (index = next++) < count;) load.send(client, index, std::nullopt);
    });
  }
  for (size_t ended = 0; ended < count;) watch.check(load, ended = load.wait_ended(count));
}

}  // namespace

double LoadAnswer::per_token_s() const {
  return completion_tokens > 1 ? (last - first) / static_cast<double>(completion_tokens - 1) : 0;
}

bool Goodput::keeps(const LoadAnswer& answer) const {
  const auto within = [](double value, double limit) { return limit <= 0 || value <= limit; };
  return answer.failure.empty() && within(answer.first_token_s(), first_token_s) &&
         within(answer.per_token_s(), per_token_s) && within(answer.end_to_end_s(), end_to_end_s);
}

Goodput read_goodput(const std::string& text) {
  Goodput goodput;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    const size_t colon = std::min(word.find(':'), word.size());
    const std::string name = word.substr(0, colon), number = word.substr(std::min(colon + 1, word.size()));
    int64_t milliseconds = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), milliseconds);
    double* limit = name == "ttft"   ? &goodput.first_token_s
                    : name == "tpot" ? &goodput.per_token_s
                    : name == "e2el" ? &goodput.end_to_end_s
                                     : nullptr;
    if (!limit || error != std::errc{} || end != number.data() + number.size() || milliseconds < 1) {
      throw Error(
          ErrorKind::usage,
          fmt::format("argument --goodput: must be limits in milliseconds such as ttft:500,tpot:50,e2el:3000, got '{}'",
                      text));
    }
    *limit = static_cast<double>(milliseconds) / 1e3;
  }
  return goodput;
}

LoadResult evaluate(const LoadPoint& point, const std::vector<LoadAnswer>& answers, double seconds,
                    const Goodput& goodput) {
  LoadResult result{.point = point, .requests = answers.size(), .seconds = seconds};
  std::vector<double> first, gaps, per_token, end_to_end;
  size_t good = 0;
  bool any = false;
  for (const LoadAnswer& answer : answers) {
    if (!answer.failure.empty()) {
      ++result.failed;
      ++result.failures[answer.failure];
      continue;
    }
    result.prompt_tokens += answer.prompt_tokens;
    result.completion_tokens += answer.completion_tokens;
    first.push_back(answer.first_token_s());
    end_to_end.push_back(answer.end_to_end_s());
    if (answer.completion_tokens > 1) per_token.push_back(answer.per_token_s());
    gaps.insert(gaps.end(), answer.gaps.begin(), answer.gaps.end());
    if (goodput.keeps(answer)) ++good;
    result.first_sent = any ? std::min(result.first_sent, answer.sent) : answer.sent;
    result.first_token = any ? std::min(result.first_token, answer.first) : answer.first;
    result.last_piece = std::max(result.last_piece, answer.last);
    any = true;
  }
  result.first_token_s = percentiles_of(std::move(first));
  result.gap_s = percentiles_of(std::move(gaps));
  result.per_token_s = percentiles_of(std::move(per_token));
  result.end_to_end_s = percentiles_of(std::move(end_to_end));
  if (goodput.is_set() && seconds > 0) result.good_per_s = static_cast<double>(good) / seconds;
  return result;
}

std::vector<LoadAnswer> send_load(const LoadTarget& target, const LoadPoint& point,
                                  const std::vector<LoadPrompt>& prompts, uint64_t seed,
                                  const std::function<void(size_t)>& progress,
                                  const std::function<bool()>& stop_wanted) {
  HttpClient check;  // if libcurl is missing, throws here rather than on a thread
  const Watch watch{progress, stop_wanted};
  Load load(target, prompts);
  if (point.rate > 0) {
    open_loop(load, arrivals(prompts.size(), point.rate, seed), watch);
  } else {
    closed_loop(load, prompts.size(), point.clients, watch);
  }
  return load.take_answers();
}

std::string first_model(const LoadTarget& target) {
  HttpClient client;
  HttpCall call;
  call.url = target.url + "/v1/models";
  call.authorization = target.authorization;
  const HttpReply reply = client.send(call);
  if (!reply.ok()) throw Error(ErrorKind::network, fmt::format("{}: {}", call.url, failure_text(reply)));
  const Json models = parse_json(reply.body, call.url);
  const Json& list = value_at(models, "data");
  const std::string id = list.is_array() && !list.empty() ? string_at(list[0], "id") : "";
  if (id.empty()) {
    throw Error(ErrorKind::invalid, fmt::format("{} lists no models", call.url), "name one with --model NAME");
  }
  return id;
}

}  // namespace mlxk

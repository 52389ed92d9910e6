#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/figures.h"
#include "bench/serve_prompts.h"
#include "json/json.h"

namespace mlxk {

/// An OpenAI-compatible server and the common parts of all requests to it.
struct LoadTarget {
  std::string url;  // "http://host:port", without /v1
  std::string model;
  std::string authorization;   // value of the Authorization header; empty: none
  bool chat = true;            // /v1/chat/completions, else /v1/completions
  Json body = Json::object();  // fields of every request
  int timeout_s = 600;         // seconds without any byte after which a request has failed
};

/// The load of one point. Open loop: requests are sent at a rate, at random intervals, whether or not earlier ones have
/// ended. Closed loop: each client sends its next request when its last one has ended.
struct LoadPoint {
  double rate = 0;  // requests per second; 0: closed loop
  int clients = 0;
};

/// The outcome of a request. Times are seconds since the start of the point.
struct LoadAnswer {
  double scheduled = 0, sent = 0, first = 0, last = 0;  // first, last: arrival of these pieces
  std::vector<double> gaps;                             // seconds between consecutive pieces
  int64_t prompt_tokens = 0, completion_tokens = 0;     // the server's usage; else 0 and the number of pieces
  std::string failure;                                  // empty: the request succeeded

  double first_token_s() const { return first - scheduled; }
  double end_to_end_s() const { return last - scheduled; }
  /// Seconds per token after the first; 0 for a single token.
  double per_token_s() const;
};

/// The latency limits of a good answer, in seconds; 0: no limit.
struct Goodput {
  double first_token_s = 0, per_token_s = 0, end_to_end_s = 0;
  bool is_set() const { return first_token_s > 0 || per_token_s > 0 || end_to_end_s > 0; }
  bool keeps(const LoadAnswer& answer) const;
};

/// Parses limits in milliseconds, such as "ttft:500,tpot:50,e2el:3000"; throws usage.
Goodput read_goodput(const std::string& text);

/// The results of a point.
struct LoadResult {
  LoadPoint point;
  size_t requests = 0, failed = 0;
  double seconds = 0;  // from the first request to the end of the last
  int64_t prompt_tokens = 0, completion_tokens = 0;
  std::optional<Percentiles> first_token_s, gap_s, per_token_s, end_to_end_s;
  std::optional<double> good_per_s;        // answers per second within the limits; nullopt: no limits
  std::map<std::string, size_t> failures;  // number of requests by message
  double first_sent = 0, first_token = 0, last_piece = 0;

  double requests_per_s() const { return seconds > 0 ? static_cast<double>(requests - failed) / seconds : 0; }
  double tokens_per_s() const { return seconds > 0 ? static_cast<double>(completion_tokens) / seconds : 0; }
};

LoadResult evaluate(const LoadPoint& point, const std::vector<LoadAnswer>& answers, double seconds,
                    const Goodput& goodput);

/// Sends `prompts` and waits for the answers. About twenty times a second, calls `progress` on this thread with the
/// number of finished requests. Throws cancelled once `stop_wanted` returns true. A failed request is a result, not an
/// error.
std::vector<LoadAnswer> send_load(const LoadTarget& target, const LoadPoint& point,
                                  const std::vector<LoadPrompt>& prompts, uint64_t seed,
                                  const std::function<void(size_t)>& progress,
                                  const std::function<bool()>& stop_wanted);

/// The id of the first model in the server's list; throws network, invalid.
std::string first_model(const LoadTarget& target);

}  // namespace mlxk

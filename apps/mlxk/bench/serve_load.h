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

/// An OpenAI-compatible server and what every request to it has.
struct LoadTarget {
  std::string url;  // "http://host:port", without /v1
  std::string model;
  std::string authorization;   // value of that header; empty: none
  bool chat = true;            // /v1/chat/completions, else /v1/completions
  Json body = Json::object();  // fields of every request
  int timeout_s = 600;         // a request on which nothing moves for so long has failed
};

/// One point: so many requests, either at a rate (open loop: they come whether or not earlier ones have ended, at
/// random intervals) or by clients (closed loop: each sends its next one when its last one ended).
struct LoadPoint {
  double rate = 0;  // requests a second; 0: by clients
  int clients = 0;
};

/// What became of a request. Seconds from the start of the point.
struct LoadAnswer {
  double scheduled = 0, sent = 0, first = 0, last = 0;  // first, last: pieces of the answer
  std::vector<double> gaps;                             // between its pieces, seconds
  int64_t prompt_tokens = 0, completion_tokens = 0;     // as the server counts; else prompt 0, and pieces
  std::string failure;                                  // empty: it succeeded

  double first_token_s() const { return first - scheduled; }
  double end_to_end_s() const { return last - scheduled; }
  /// Seconds a token after the first; 0 of a single token.
  double per_token_s() const;
};

/// Limits that an answer keeps to be a good one, in seconds; 0: none.
struct Goodput {
  double first_token_s = 0, per_token_s = 0, end_to_end_s = 0;
  bool is_set() const { return first_token_s > 0 || per_token_s > 0 || end_to_end_s > 0; }
  bool keeps(const LoadAnswer& answer) const;
};

/// "ttft:500,tpot:50,e2el:3000" in milliseconds; throws usage.
Goodput read_goodput(const std::string& text);

/// What a point gave.
struct LoadResult {
  LoadPoint point;
  size_t requests = 0, failed = 0;
  double seconds = 0;  // from the first request to the end of the last
  int64_t prompt_tokens = 0, completion_tokens = 0;
  std::optional<Percentiles> first_token_s, gap_s, per_token_s, end_to_end_s;
  std::optional<double> good_per_s;        // answers a second that keep the limits; nothing: there are none
  std::map<std::string, size_t> failures;  // by their text
  double first_sent = 0, first_token = 0, last_piece = 0;

  double requests_per_s() const { return seconds > 0 ? static_cast<double>(requests - failed) / seconds : 0; }
  double tokens_per_s() const { return seconds > 0 ? static_cast<double>(completion_tokens) / seconds : 0; }
};

LoadResult evaluate(const LoadPoint& point, const std::vector<LoadAnswer>& answers, double seconds,
                    const Goodput& goodput);

/// Sends `prompts` and waits for the answers. `progress` is called on this thread with the number that ended;
/// `stop_wanted` some twenty times a second: then cancelled is thrown. Requests that fail are results.
std::vector<LoadAnswer> send_load(const LoadTarget& target, const LoadPoint& point,
                                  const std::vector<LoadPrompt>& prompts, uint64_t seed,
                                  const std::function<void(size_t)>& progress,
                                  const std::function<bool()>& stop_wanted);

/// The id of the first model that the server lists; throws network, invalid.
std::string first_model(const LoadTarget& target);

}  // namespace mlxk

#include "hub/retry.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ctime>
#include <random>
#include <thread>

namespace mlxk {

namespace {

using std::chrono::milliseconds;
constexpr milliseconds kFirstWait{200}, kLongestWait{20'000}, kLongestRetryAfter{86'400'000};

/// The seconds until an HTTP date ("Sun, 06 Nov 1994 08:49:37 GMT"); 0 if it is malformed or past.
int64_t seconds_until(const std::string& date) {
  std::tm parsed{};
  const char* end = strptime(date.c_str(), "%a, %d %b %Y %H:%M:%S", &parsed);
  if (!end) return 0;
  return std::max<int64_t>(0, static_cast<int64_t>(timegm(&parsed)) - static_cast<int64_t>(std::time(nullptr)));
}

}  // namespace

milliseconds retry_after(const HttpReply& response) {
  std::string text = header_value(response.headers, "Retry-After");
  if (text.empty() && response.status == 429) {  // the hub's own way: RateLimit: "api";r=0;t=55
    const std::string limit = header_value(response.headers, "RateLimit");
    if (const size_t at = limit.find(";t="); at != limit.npos) {
      text = limit.substr(at + 3, limit.find(';', at + 3) - at - 3);
    }
  }
  if (text.empty()) return milliseconds{0};
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc::result_out_of_range) return kLongestRetryAfter;
  if (error != std::errc{} || end != text.data() + text.size()) seconds = seconds_until(text);
  return std::min(milliseconds{std::clamp<int64_t>(seconds, 0, 1'000'000) * 1000}, kLongestRetryAfter);
}

std::string asked_wait(const HttpReply& response) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(retry_after(response)).count();
  return seconds > 0 ? fmt::format(" and asks to wait {} s", seconds) : "";
}

bool is_worth_retrying(const HttpReply& response) {
  if (response.cancelled) return false;
  if (!response.failure.empty()) return response.transient;
  const int s = response.status;
  return s == 408 || s == 425 || s == 429 || s == 500 || s == 502 || s == 503 || s == 504;
}

bool Backoff::next(const HttpReply& response, milliseconds& wait) {
  if (++used_ >= tries_) return false;
  static thread_local std::minstd_rand random{std::random_device{}()};
  const auto longest = std::min(kFirstWait * (1 << std::min(used_ - 1, 10)), kLongestWait);
  wait = longest / 2 + longest * (random() % 1000) / 2000;
  const milliseconds asked = retry_after(response);
  asked_ += asked;
  wait = std::max(wait, asked);
  return asked_ <= kLongestAskedWait;
}

bool wait_for(milliseconds time, const std::function<bool()>& cancelled) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!(cancelled && cancelled())) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= end) return true;
    std::this_thread::sleep_for(
        std::min(milliseconds{50}, std::chrono::duration_cast<milliseconds>(end - now) + milliseconds{1}));
  }
  return false;
}

}  // namespace mlxk

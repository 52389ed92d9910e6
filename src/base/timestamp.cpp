#include "base/timestamp.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <ctime>

namespace mlxk {

namespace {

/// The number formed by `count` digits at `at`; -1 if other characters are there.
int digits(const std::string& text, size_t at, size_t count) {
  if (at + count > text.size()) return -1;
  int number = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    number = 10 * number + (text[i] - '0');
  }
  return number;
}

/// The offset from UTC, in seconds, of the zone at `at`: "Z", "+01:00", "-0530" or nothing.
std::optional<int> parse_zone(const std::string& text, size_t at) {
  if (at == text.size() || ((text[at] == 'Z' || text[at] == 'z') && at + 1 == text.size())) return 0;
  if (text[at] != '+' && text[at] != '-') return std::nullopt;
  const bool colon = at + 3 < text.size() && text[at + 3] == ':';
  const int hours = digits(text, at + 1, 2), minutes = digits(text, at + (colon ? 4 : 3), 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || text.size() != at + (colon ? 6 : 5))
    return std::nullopt;
  return (text[at] == '-' ? -60 : 60) * (60 * hours + minutes);
}

}  // namespace

double unix_time_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::string iso_timestamp(double unix_time) {
  const auto milliseconds = static_cast<int64_t>(std::llround(unix_time * 1000));
  const auto whole = static_cast<std::time_t>(milliseconds / 1000);
  std::tm parts{};
  gmtime_r(&whole, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, milliseconds % 1000);
}

std::optional<double> parse_timestamp(const std::string& text) {
  std::tm parts{};
  const int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const int hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  const bool separated = text.size() >= 19 && text[4] == '-' && text[7] == '-' &&
                         (text[10] == 'T' || text[10] == 't' || text[10] == ' ') && text[13] == ':' && text[16] == ':';
  const bool ranges = year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour >= 0 && hour <= 23 &&
                      minute >= 0 && minute <= 59 && second >= 0 && second <= 60;
  if (!separated || !ranges) return std::nullopt;
  size_t at = 19;
  double fraction = 0;
  if (at < text.size() && text[at] == '.') {
    double scale = 0.1;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10)
      fraction += scale * (text[at] - '0');
    if (at == 20) return std::nullopt;
  }
  const auto zone = parse_zone(text, at);
  if (!zone) return std::nullopt;
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_mday = day;
  parts.tm_hour = hour;
  parts.tm_min = minute;
  parts.tm_sec = second;
  const std::time_t whole = timegm(&parts);
  if (parts.tm_mday != day) return std::nullopt;  // such as 30 February
  return static_cast<double>(whole) + fraction - *zone;
}

}  // namespace mlxk

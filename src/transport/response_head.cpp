#include "transport/response_head.h"

#include <fmt/format.h>

#include <boost/beast/http/status.hpp>
#include <ctime>

namespace mlxk {
namespace {

// The Date header's value, made once a second.
const std::string& http_date() {
  thread_local time_t second = 0;
  thread_local std::string text;
  const time_t now = time(nullptr);
  if (now != second) {
    tm utc{};
    gmtime_r(&now, &utc);
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    text = fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[utc.tm_wday], utc.tm_mday, kMonths[utc.tm_mon],
                       utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
    second = now;
  }
  return text;
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  for (const std::string_view part : {name, std::string_view(": "), value}) {
    for (const char c : part) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  out += "\r\n";
}

}  // namespace

bool may_have_body(int status) { return status >= 200 && status != 204 && status != 304; }

std::string response_head(const HttpResponse& response, const AnswerFormat& format, Framing framing, uint64_t length) {
  namespace http = boost::beast::http;
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status)));
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", response.status, std::string_view(reason.data(), reason.size()));
  append_header(out, "Date", http_date());
  append_header(out, "X-Request-ID", format.request_id);
  if (framing != Framing::none && !response.content_type.empty()) {
    append_header(out, "Content-Type", response.content_type);
  }
  if (framing == Framing::length) append_header(out, "Content-Length", fmt::to_string(length));
  if (framing == Framing::chunked) append_header(out, "Transfer-Encoding", "chunked");
  if (!format.keep_alive)
    append_header(out, "Connection", "close");
  else if (format.http10)
    append_header(out, "Connection", "keep-alive");
  for (const auto& [name, value] : response.headers.fields()) append_header(out, name, value);
  out += "\r\n";
  return out;
}

std::string chunk(std::string_view bytes) {
  std::string out = fmt::format("{:x}\r\n", bytes.size());
  out.reserve(out.size() + bytes.size() + 2);
  out += bytes;
  out += "\r\n";
  return out;
}

}  // namespace mlxk

#include "transport/request_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <functional>
#include <utility>

#include "base/error.h"
#include "transport/request_id.h"
#include "transport/target.h"

namespace mlxk {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using http::field;

constexpr size_t kMaxHeaders = 100;
constexpr size_t kCollectAtOnce = 1 << 20;  // a length that is only announced reserves at most this

Refusal body_too_large(uint64_t limit) { return {413, fmt::format("[body] may have {} bytes, got more", limit)}; }

// A body reader for Beast's parser: passes the bytes to a BodyTarget.
struct TargetBody {
  using value_type = BodyTarget*;

  class reader {
   public:
    template <bool kRequest, class Fields>
    reader(http::header<kRequest, Fields>&, value_type& target) : target_(target) {}
    void init(const boost::optional<uint64_t>& length, beast::error_code& ec) {
      ec = {};
      if (length && target_->collected) {
        target_->collected->reserve(std::min<uint64_t>({*length, target_->limit, kCollectAtOnce}));
      }
    }
    template <class Buffers>
    size_t put(const Buffers& buffers, beast::error_code& ec) {
      size_t used = 0;
      for (auto it = boost::asio::buffer_sequence_begin(buffers); it != boost::asio::buffer_sequence_end(buffers);
           ++it) {
        const boost::asio::const_buffer piece = *it;
        if (!take({static_cast<const char*>(piece.data()), piece.size()})) {
          ec = http::error::body_limit;
          return used;
        }
        used += piece.size();
      }
      ec = {};
      return used;
    }
    void finish(beast::error_code& ec) { ec = {}; }

   private:
    bool take(std::string_view bytes) {
      target_->size += bytes.size();
      if (target_->size > target_->limit) {
        target_->refusal = body_too_large(target_->limit);
        return false;
      }
      try {
        if (target_->sink)
          target_->sink->take(bytes);
        else if (target_->collected)
          collect(bytes);
      } catch (const Error& error) {
        target_->refusal = {error_kind_info(error.kind()).http_status, error.what()};
      } catch (const std::exception& error) {
        target_->refusal = {500, error.what()};
      }
      return !target_->refusal;
    }

    void collect(std::string_view bytes) {
      if (target_->room && bytes.size() > *target_->room) {
        target_->refusal = {503, "[body] too many large requests at once"};
        return;
      }
      target_->collected->append(bytes);
      if (target_->room) *target_->room -= bytes.size();
    }

    value_type& target_;  // set after this reader is made
  };
};

std::string text(beast::string_view view) { return {view.data(), view.size()}; }

// The number of headers called `name`.
size_t count(const HeaderList& headers, beast::string_view name) {
  return std::count_if(headers.fields().begin(), headers.fields().end(), [&](const auto& header) {
    return beast::iequals(beast::string_view(header.first.data(), header.first.size()), name);
  });
}

bool equals(std::string_view value, std::string_view lower) {
  return beast::iequals({value.data(), value.size()}, {lower.data(), lower.size()});
}

Refusal bad(std::string message) { return {400, std::move(message)}; }

// Headers that decide what a request may do or how its body is read: if they occur twice, readers could disagree.
constexpr const char* kOnce[] = {"Content-Length", "Transfer-Encoding", "Host",   "Content-Type",
                                 "Authorization",  "X-API-Key",         "Origin", "Content-Encoding"};

// Ambiguities that Beast accepts: there must be one length, one encoding, one host.
Refusal check_framing(const HeaderList& headers, bool http10) {
  for (const char* name : kOnce) {
    if (count(headers, name) > 1) return bad(fmt::format("[{}] occurs twice", name));
  }
  const auto length = headers.find("Content-Length");
  if (length && length->find_first_not_of("0123456789") != std::string_view::npos) {
    return bad("[Content-Length] must be a number");
  }
  if (const auto coding = headers.find("Transfer-Encoding")) {
    if (length) return bad("[Transfer-Encoding] must not be combined with Content-Length");
    if (http10) return bad("[Transfer-Encoding] is not allowed in HTTP/1.0");
    if (!equals(*coding, "chunked")) return {501, "[Transfer-Encoding] must be chunked"};
  }
  if (!headers.find("Host") && !http10) return bad("[Host] is missing");
  return {};
}

Refusal check_extensions(const HeaderList& headers, const Target& target) {
  if (const auto coding = headers.find("Content-Encoding");
      coding && !coding->empty() && !equals(*coding, "identity")) {
    return {415, "[Content-Encoding] compressed bodies are not accepted"};
  }
  if (const auto expect = headers.find("Expect"); expect && !equals(*expect, "100-continue")) {
    return {417, "[Expect] must be 100-continue"};
  }
  if (!target.authority.empty()) {
    const auto host = headers.find("Host");
    if (host && *host != target.authority) return bad("[request target] names another host than Host does");
  }
  return {};
}

}  // namespace

HeadEnd find_head_end(std::string_view bytes, size_t seen) {
  HeadEnd end;
  if (bytes.empty()) return end;
  if (bytes[0] < 'A' || bytes[0] > 'z' || (bytes[0] > 'Z' && bytes[0] < 'a')) {
    end.problem = "[request line] must begin with a method";
    return end;
  }
  for (size_t i = seen; i < bytes.size(); ++i) {
    if (bytes[i] == '\0') {
      end.problem = "[head] must not contain NUL";
      return end;
    }
    if (i > 0 && bytes[i - 1] == '\n' && (bytes[i] == ' ' || bytes[i] == '\t')) {
      end.problem = "[head] headers must not be folded";
      return end;
    }
    if (bytes[i] != '\n') continue;
    if (i == 0 || bytes[i - 1] != '\r') {
      end.problem = "[head] lines must end with CR LF";
      return end;
    }
    if (i >= 3 && bytes[i - 2] == '\n') {
      end.size = i + 1;
      return end;
    }
  }
  return end;
}

struct RequestParser::Impl {
  http::request_parser<TargetBody> parser;
  BodyTarget* target = nullptr;
  Refusal refusal;
  // A chunk that is too large is refused by its size, before its bytes arrive.
  std::function<void(uint64_t, beast::string_view, beast::error_code&)> on_chunk_size =
      [this](uint64_t bytes, beast::string_view, beast::error_code& ec) {
        if (target->size <= target->limit && bytes <= target->limit - target->size) return;
        target->refusal = body_too_large(target->limit);
        ec = http::error::body_limit;
      };
};

RequestParser::RequestParser() : impl_(std::make_unique<Impl>()) {}
RequestParser::~RequestParser() = default;

RequestHead RequestParser::read_head(std::string_view head) {
  auto& parser = impl_->parser;
  parser.header_limit(static_cast<uint32_t>(std::min<size_t>(head.size() + 1, UINT32_MAX)));
  parser.body_limit(UINT64_MAX);  // the target has its own; in Boost 1.74 zero does not mean no limit
  beast::error_code ec;
  parser.put({head.data(), head.size()}, ec);
  RequestHead result;
  HttpRequest& request = result.request;
  const auto& message = parser.get();
  if (ec || !parser.is_header_done()) {
    request.id = make_request_id();
    const bool version = ec == http::error::bad_version;
    result.refusal = {version ? 505 : 400, version ? "[request line] must end with HTTP/1.1 or HTTP/1.0"
                                                   : "[head] is not HTTP: " + ec.message()};
    return result;
  }
  request.method = text(message.method_string());
  for (const auto& header : message) {
    request.headers.add(text(header.name_string()), text(header.value()));
  }
  const auto id = request.headers.find("X-Request-ID");
  request.id = id && is_request_id(*id) ? std::string(*id) : make_request_id();
  result.http10 = message.version() < 11;
  Target target = parse_target({message.target().data(), message.target().size()});
  if (!target.problem.empty()) {
    result.refusal = bad(target.problem);
  } else if (target.path == "*" && request.method != "OPTIONS") {
    result.refusal = bad("[request target] is '*' only for OPTIONS");
  } else if (request.headers.fields().size() > kMaxHeaders) {
    result.refusal = {431,
                      fmt::format("[head] may have {} headers, got {}", kMaxHeaders, request.headers.fields().size())};
  } else if (!(result.refusal = check_framing(request.headers, result.http10))) {
    result.refusal = check_extensions(request.headers, target);
  }
  request.path = std::move(target.path);
  request.query = std::move(target.query);
  result.keep_alive = message.keep_alive();
  result.expects_continue = !result.http10 && request.headers.find("Expect").has_value();
  result.has_body = !parser.is_done();
  if (result.has_body && !parser.chunked()) result.content_length = *parser.content_length();
  return result;
}

void RequestParser::set_target(BodyTarget* target) {
  impl_->target = target;
  impl_->parser.get().body() = target;
  impl_->parser.eager(true);
  impl_->parser.on_chunk_header(impl_->on_chunk_size);
}

size_t RequestParser::read_body(std::string_view bytes) {
  if (bytes.empty() || done()) return 0;
  beast::error_code ec;
  const size_t used = impl_->parser.put({bytes.data(), bytes.size()}, ec);
  if (impl_->target->refusal) {
    impl_->refusal = impl_->target->refusal;
  } else if (ec && ec != http::error::need_more) {
    impl_->refusal = bad("[body] is broken: " + ec.message());
  }
  return used;
}

bool RequestParser::done() const { return impl_->parser.is_done(); }
const Refusal& RequestParser::refusal() const { return impl_->refusal; }

}  // namespace mlxk

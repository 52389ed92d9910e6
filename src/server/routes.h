#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "server/context.h"
#include "server/guard.h"
#include "server/upload_form.h"

namespace mlxk {

/// Answers at once, on the I/O thread: must not block.
struct Immediate {
  HttpResponse (*answer)(ServerContext& context, const ApiCall& call);
};
/// Answers with a whole document on a thread for short tasks.
struct Prepared {
  HttpResponse (*answer)(ServerContext& context, const ApiCall& call);
};
/// Answers with a whole document on a thread that may wait for loads.
struct Waiting {
  HttpResponse (*answer)(ServerContext& context, const ApiCall& call);
};
/// Begins on a preparation thread and answers the exchange itself.
struct Streamed {
  void (*begin)(ServerContext& context, ApiCall call);
};
/// Takes a form with a recording; begins on a preparation thread and answers the exchange itself.
struct Uploaded {
  void (*begin)(ServerContext& context, ApiCall call, std::shared_ptr<UploadForm> form);
};
/// Opens a WebSocket, on the I/O thread: must not block.
struct Socketed {
  void (*open)(ServerContext& context, ApiCall call);
};
/// A known route that is not built in: 501 with the reason.
struct Unbuilt {
  const char* reason;
};

/// One row of the table of routes.
struct ApiRoute {
  const char* method;
  const char* pattern;  // "/v1/models/{id}": a last {…} matches the rest of the path, slashes too
  Scope scope;
  size_t body_limit;  // bytes; 0: no body. Of a form without its file
  std::variant<Immediate, Prepared, Waiting, Streamed, Uploaded, Socketed, Unbuilt> handler;
  ErrorStyle error_style = openai_error;
};

/// Every route of the server.
std::span<const ApiRoute> routes();

/// The route of a path.
struct RouteMatch {
  const ApiRoute* route = nullptr;  // null: no such path, or not with that method
  std::string name;                 // the value of {…}
  std::string allowed;              // the methods of the path, "GET, HEAD, POST"; empty: no such path
};

/// Finds the route of a request; HEAD counts as GET.
RouteMatch match_route(std::string_view method, std::string_view path);

/// Finds the path of a route that resembles `path`, also without its /v1 or with more behind it; empty: none.
std::string similar_path(std::string_view path);

}  // namespace mlxk

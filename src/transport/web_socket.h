#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "transport/exchange.h"

namespace mlxk {

/// What is wrong with a request for a WebSocket (RFC 6455); empty: nothing.
std::string websocket_problem(const HttpRequest& head);

/// Whether a request asks for a WebSocket, rightly or not.
bool asks_for_websocket(const HttpRequest& head);

/// The subprotocols that the client offers, in its order.
std::vector<std::string_view> offered_protocols(const HttpRequest& head);

}  // namespace mlxk

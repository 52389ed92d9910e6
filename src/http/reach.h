#pragma once

#include <string>

struct sockaddr;

namespace mlxk {

/// How far an address reaches: this machine (127.0.0.0/8, ::1, and the unspecified address, which means it), this link
/// (169.254.0.0/16, fe80::/10; cloud machines answer there with their credentials), or further.
enum class Reach { loopback, link_local, further };

Reach reach_of(const sockaddr& address);

/// Whether an address is one of the public internet: not of this machine, its link, a private or shared network, nor
/// for documentation, benchmarks, multicast or the future.
bool is_public(const sockaddr& address);

/// The reach of a host that is written as an address, in any form that the resolver accepts, or as "localhost";
/// `further` for every other name: names are not looked up.
Reach reach_of_host(std::string host);

}  // namespace mlxk

#include "http/reach.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>

namespace mlxk {

namespace {

Reach reach_of_v4(uint32_t address) {  // in the machine's order of bytes
  if (address >> 24 == 127 || address == 0) return Reach::loopback;
  return address >> 16 == 0xA9FE ? Reach::link_local : Reach::further;
}

}  // namespace

Reach reach_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    return reach_of_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return Reach::further;
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof(v6));
  if (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) return Reach::loopback;
  if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) return Reach::link_local;
  if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return Reach::further;
  uint32_t v4;
  std::memcpy(&v4, v6.sin6_addr.s6_addr + 12, sizeof(v4));
  return reach_of_v4(ntohl(v4));
}

Reach reach_of_host(std::string host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  while (host.ends_with('.')) host.pop_back();
  if (host == "localhost" || host.ends_with(".localhost")) return Reach::loopback;
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_NUMERICHOST;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || !found) return Reach::further;
  const Reach reach = reach_of(*found->ai_addr);
  freeaddrinfo(found);
  return reach;
}

}  // namespace mlxk

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

struct V4Block {
  uint32_t first;
  int bits;
};
// https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast and the reserved addresses after it.
constexpr V4Block kSpecialV4[] = {
    {0x00000000, 8},  {0x0A000000, 8},  {0x64400000, 10}, {0x7F000000, 8},  {0xA9FE0000, 16},
    {0xAC100000, 12}, {0xC0000000, 24}, {0xC0000200, 24}, {0xC0586300, 24}, {0xC0A80000, 16},
    {0xC6120000, 15}, {0xC6336400, 24}, {0xCB007100, 24}, {0xE0000000, 4},  {0xF0000000, 4},
};

bool is_public_v4(uint32_t address) {
  for (const V4Block& block : kSpecialV4) {
    if (address >> (32 - block.bits) == block.first >> (32 - block.bits)) return false;
  }
  return true;
}

uint32_t v4_at(const uint8_t* bytes) {
  uint32_t v4;
  std::memcpy(&v4, bytes, sizeof(v4));
  return ntohl(v4);
}

}  // namespace

bool is_public(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    return is_public_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof(v6));
  const uint8_t* bytes = v6.sin6_addr.s6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return is_public_v4(v4_at(bytes + 12));
  constexpr uint8_t kNat64[12] = {0x00, 0x64, 0xff, 0x9b};
  if (std::memcmp(bytes, kNat64, sizeof(kNat64)) == 0) return is_public_v4(v4_at(bytes + 12));
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return is_public_v4(v4_at(bytes + 2));  // 6to4
  if (bytes[0] == 0x20 && bytes[1] == 0x01 && (bytes[2] < 2 || (bytes[2] == 0x0d && bytes[3] == 0xb8))) return false;
  return (bytes[0] & 0xE0) == 0x20;  // 2000::/3, the allocated addresses
}

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

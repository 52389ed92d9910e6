#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <string>

#include "http/reach.h"

namespace mlxk {
namespace {

bool is_public_text(const std::string& text) {
  sockaddr_storage storage{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    return is_public(reinterpret_cast<const sockaddr&>(v4));
  }
  EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr), 1) << text;
  v6.sin6_family = AF_INET6;
  // is_public() takes the address in the socket's form, whose length exceeds that of sockaddr.
  return is_public(reinterpret_cast<const sockaddr&>(storage));
}

TEST(Public, KnowsTheNetworksThatAreNot) {
  for (const char* text : {"0.0.0.0",         "10.1.2.3",        "100.64.0.1",      "127.0.0.1",    "169.254.169.254",
                           "172.16.0.1",      "172.31.255.255",  "192.0.0.8",       "192.168.1.1",  "198.18.0.1",
                           "203.0.113.9",     "224.0.0.1",       "255.255.255.255", "::",           "::1",
                           "fe80::1",         "fc00::1",         "fd12::1",         "ff02::1",      "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",   "2002:a00:1::", "2001:db8::1",
                           "2001::1"}) {
    EXPECT_FALSE(is_public_text(text)) << text;
  }
  for (const char* text : {"1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1",
                           "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2001:4860::8888", "::ffff:8.8.8.8"}) {
    EXPECT_TRUE(is_public_text(text)) << text;
  }
}

}  // namespace
}  // namespace mlxk

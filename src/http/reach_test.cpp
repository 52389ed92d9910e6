#include "http/reach.h"

#include <gtest/gtest.h>

namespace mlxk {
namespace {

TEST(Reach, OfThisMachineAndThisLink) {
  for (const char* host : {"127.0.0.1", "127.9.9.9", "0.0.0.0", "[::1]", "::1", "[::]", "[::ffff:127.0.0.1]",
                           "localhost", "localhost.", "a.localhost", "2130706433", "0x7f.1", "0177.0.0.1"}) {
    EXPECT_EQ(reach_of_host(host), Reach::loopback) << host;
  }
  for (const char* host : {"169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166"}) {
    EXPECT_EQ(reach_of_host(host), Reach::link_local) << host;
  }
  for (const char* host :
       {"hub.example", "10.0.0.1", "192.168.1.1", "8.8.8.8", "[2001:db8::1]", "128.0.0.1", "localhost.example", ""}) {
    EXPECT_EQ(reach_of_host(host), Reach::further) << host;
  }
}

}  // namespace
}  // namespace mlxk

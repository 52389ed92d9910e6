#include "serve/service_unit.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxk {
namespace {

Service service() {
  Service made;
  made.program = "/opt/mlx knife/mlxk";
  made.arguments = {"serve", "--model", "a\"b $HOME %h"};
  made.environment = {{"HF_HOME", "/data/$hf %x"}};
  made.writable = {"/var/cache/mlxk"};
  return made;
}

TEST(ServiceUnit, WordsReachTheProgramAsTheyAre) {
  const std::string unit = systemd_unit(service());
  EXPECT_NE(unit.find(R"(ExecStart="/opt/mlx knife/mlxk" "serve" "--model" "a\"b $$HOME %%h")"), std::string::npos)
      << unit;
  EXPECT_NE(unit.find(R"(Environment="HF_HOME=/data/$hf %%x")"), std::string::npos) << unit;
  EXPECT_NE(unit.find(R"(ReadWritePaths="-/var/cache/mlxk")"), std::string::npos) << unit;
}

TEST(ServiceUnit, IsHardened) {
  Service made = service();
  for (const bool system : {false, true}) {
    made.system = system;
    const std::string unit = systemd_unit(made);
    for (const char* line :
         {"NoNewPrivileges=yes\n", "ProtectSystem=strict\n", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n"}) {
      EXPECT_NE(unit.find(line), std::string::npos) << line;
    }
    EXPECT_EQ(unit.find("CapabilityBoundingSet=\n") != std::string::npos, system);
    EXPECT_NE(unit.find(system ? "WantedBy=multi-user.target" : "WantedBy=default.target"), std::string::npos);
  }
  EXPECT_NE(systemd_unit(made).find("DynamicUser=yes\n"), std::string::npos);
  made.user = "ann";
  EXPECT_NE(systemd_unit(made).find("User=ann\n"), std::string::npos);
}

TEST(ServiceUnit, APropertyListIsEscaped) {
  Service made = service();
  made.arguments = {"serve", "<&>"};
  const std::string list = launchd_plist(made);
  EXPECT_NE(list.find("<string>/opt/mlx knife/mlxk</string>"), std::string::npos);
  EXPECT_NE(list.find("<string>&lt;&amp;&gt;</string>"), std::string::npos);
}

TEST(ServiceUnit, ALineCannotBeForged) {
  Service made = service();
  made.arguments.push_back("x\nExecStartPre=/bin/evil");
  EXPECT_THROW(systemd_unit(made), Error);
  EXPECT_THROW(launchd_plist(made), Error);
}

}  // namespace
}  // namespace mlxk

#include "base/cores.h"

#include <gtest/gtest.h>

#include <fstream>

namespace mlxk {
namespace {

namespace fs = std::filesystem;

class Cores : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  fs::path root_;
};

TEST_F(Cores, WithoutAQuotaAreThoseOfTheAffinity) {
  EXPECT_EQ(cgroup_cores(root_), 0);
  write("proc/self/cgroup", "0::/a\n");
  write("sys/fs/cgroup/a/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_cores(root_), 0);
  EXPECT_GE(usable_cores(root_), 1);
}

TEST_F(Cores, AreHeldToTheTightestQuotaAbove) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
  EXPECT_EQ(cgroup_cores(root_), 2);
  write("sys/fs/cgroup/cpu.max", "10000 100000\n");
  EXPECT_EQ(cgroup_cores(root_), 1);
  EXPECT_EQ(usable_cores(root_), 1);
}

TEST_F(Cores, KnowTheFirstVersionOfCgroups) {
  write("proc/self/cgroup", "5:cpuset:/x\n4:cpu,cpuacct:/a\n");
  write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_cores(root_), 3);
  write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(cgroup_cores(root_), 0);
}

TEST_F(Cores, SurviveNonsense) {
  write("proc/self/cgroup", "::\n0::\nnothing\n0::/../../..\n");
  write("sys/fs/cgroup/cpu.max", "0 0\n");
  EXPECT_EQ(cgroup_cores(root_), 0);
}

}  // namespace
}  // namespace mlxk

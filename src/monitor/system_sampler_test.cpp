#ifndef __APPLE__
#include "monitor/system_sampler.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "monitor/proc_file.h"
#include "monitor/process_tree.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

/// Files of /proc and /sys as written by kernel 6.1.
class SamplerTree : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mlxk_sampler_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    write("proc/meminfo",
          "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n"
          "Buffers:          123456 kB\nSwapCached:            0 kB\nSwapTotal:       2097152 kB\nSwapFree:        "
          "1572864 kB\n");
    write("proc/loadavg", "0.50 1.25 2.00 3/456 7890\n");
    write("proc/stat", "cpu  1000 0 500 8000 100 0 0 0 0 0\ncpu0 1000 0 500 8000 100 0 0 0 0 0\nintr 1 2 3\n");
    write(
        "proc/pressure/memory",
        "some avg10=1.50 avg60=0.40 avg300=0.10 total=2500000\nfull avg10=0.75 avg60=0.20 avg300=0.05 total=1000000\n");
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& content) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << content;
  }
  MemorySample sample() {
    MemorySample now;
    SystemSampler(root_).read(now);
    return now;
  }
  fs::path root_;
};

TEST_F(SamplerTree, ReadsMemorySwapLoadAndPressure) {
  const MemorySample now = sample();
  EXPECT_DOUBLE_EQ(now.ram_total_gb, 16);
  EXPECT_DOUBLE_EQ(now.ram_free_gb, 8);
  EXPECT_DOUBLE_EQ(now.ram_used_gb, 8);
  EXPECT_DOUBLE_EQ(now.ram_percent, 50);
  EXPECT_DOUBLE_EQ(now.ram_unused_gb, 1);
  EXPECT_DOUBLE_EQ(now.swap_used_mb, 512);
  EXPECT_DOUBLE_EQ(now.swap_percent, 25);
  EXPECT_DOUBLE_EQ(now.load_1, 0.5);
  EXPECT_DOUBLE_EQ(now.load_15, 2);
  EXPECT_DOUBLE_EQ(now.psi_some_avg10, 1.5);
  EXPECT_DOUBLE_EQ(now.psi_full_avg10, 0.75);
  EXPECT_DOUBLE_EQ(now.psi_some_total_s, 2.5);
  EXPECT_DOUBLE_EQ(now.memory_pressure, 1);
  EXPECT_DOUBLE_EQ(now.vm_pressure, 0);
  EXPECT_TRUE(std::isnan(now.cgroup_used_gb));
}

TEST_F(SamplerTree, ProcessorsAreMeasuredFromOneSampleToTheNext) {
  SystemSampler sampler(root_);
  MemorySample first, second, third;
  sampler.read(first);
  EXPECT_EQ(first.cpu_user + first.cpu_sys + first.cpu_idle, 0);  // nothing to compare with
  write("proc/stat", "cpu  1030 0 510 8050 110 0 0 0 0 0\n");
  sampler.read(second);
  EXPECT_DOUBLE_EQ(second.cpu_user, 30);
  EXPECT_DOUBLE_EQ(second.cpu_sys, 10);
  EXPECT_DOUBLE_EQ(second.cpu_idle, 60);
  sampler.read(third);  // no tick has passed
  EXPECT_DOUBLE_EQ(third.cpu_user, 30);
}

TEST_F(SamplerTree, WithoutPsiThePressureIsUnknown) {
  fs::remove_all(root_ / "proc/pressure");
  const MemorySample now = sample();
  EXPECT_TRUE(std::isnan(now.memory_pressure));
  EXPECT_NE(sample_line(now).find("\"memory_pressure\":null,\"vm_pressure\":null"), std::string::npos);
}

TEST_F(SamplerTree, ReadsTheCgroupsLimitsAndEvents) {
  write("proc/self/cgroup", "0::/box\n");
  write("sys/fs/cgroup/box/memory.current", "3221225472\n");
  write("sys/fs/cgroup/box/memory.max", "4294967296\n");
  write("sys/fs/cgroup/box/memory.high", "max\n");
  write("sys/fs/cgroup/box/memory.stat", "anon 1\ninactive_file 1073741824\n");
  write("sys/fs/cgroup/box/memory.events", "low 0\nhigh 7\nmax 11\noom 1\noom_kill 2\noom_group_kill 0\n");
  write("sys/fs/cgroup/box/memory.pressure",
        "some avg10=40.00 avg60=0.00 avg300=0.00 total=9000000\nfull avg10=12.00 avg60=0.00 avg300=0.00 total=1\n");
  const MemorySample now = sample();
  EXPECT_DOUBLE_EQ(now.ram_total_gb, 4);  // the limit, not the machine
  EXPECT_DOUBLE_EQ(now.ram_free_gb, 2);   // includes the page cache, which can be reclaimed
  EXPECT_DOUBLE_EQ(now.cgroup_used_gb, 3);
  EXPECT_DOUBLE_EQ(now.cgroup_limit_gb, 4);
  EXPECT_TRUE(std::isnan(now.cgroup_high_gb));  // "max"
  EXPECT_EQ(now.cgroup_events_high, 7);
  EXPECT_EQ(now.cgroup_events_max, 11);
  EXPECT_EQ(now.cgroup_events_oom, 1);
  EXPECT_EQ(now.cgroup_events_oom_kill, 2);
  EXPECT_EQ(now.memory_pressure, 4);  // the cgroup's is worse than the machine's
  EXPECT_EQ(now.vm_pressure, 4);
}

TEST_F(SamplerTree, NothingAtAllIsNoFailure) {
  fs::remove_all(root_ / "proc");
  EXPECT_TRUE(std::isnan(sample().ram_free_gb));
}

TEST(PressureLevel, FollowsTheStalls) {
  EXPECT_EQ(pressure_level(0, 0), 1);
  EXPECT_EQ(pressure_level(10, 9.9), 2);
  EXPECT_EQ(pressure_level(50, 10), 4);
  EXPECT_EQ(pressure_level(10, kUnknown), 2);
  EXPECT_TRUE(std::isnan(pressure_level(kUnknown, kUnknown)));
}

TEST(ProcField, FindsWholeKeys) {
  EXPECT_EQ(proc_field("xMemFree: 1\nMemFree:  2 kB\n", "MemFree:"), 2);
  EXPECT_EQ(proc_field("some avg10=1.25 total=7\n", "total="), 7);
  EXPECT_TRUE(std::isnan(proc_field("a 1\n", "b ")));
  EXPECT_TRUE(std::isnan(proc_field("MemFree:", "MemFree:")));
  EXPECT_TRUE(std::isnan(proc_field("max\n", "")));
}

TEST(ProcessTree, SumsTheDescendants) {
  constexpr size_t kBytes = size_t{48} << 20;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (fork() == 0) {  // a grandchild holds the memory
      auto* memory = static_cast<volatile char*>(std::malloc(kBytes));
      for (size_t i = 0; i < kBytes; i += 4096) memory[i] = 1;
      [[maybe_unused]] const auto told = write(ready[1], "x", 1);
      while (getppid() != 1) pause();
      _exit(0);
    }
    while (true) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ProcessTree tree(getpid());
  MemorySample now;
  now.elapsed_s = 0;
  tree.read(now);
  EXPECT_EQ(now.process_count, 2);
  EXPECT_GT(now.process_rss_gb, static_cast<double>(kBytes) / kBytesPerGb);
  EXPECT_GT(now.process_pss_gb, static_cast<double>(kBytes) / kBytesPerGb);
  EXPECT_GE(now.process_read_mb, 0);
  MemorySample soon;
  soon.elapsed_s = 0.2;
  tree.read(soon);
  EXPECT_TRUE(std::isnan(soon.process_pss_gb));  // too soon
  const std::string children =
      read_proc_file("/proc/" + std::to_string(child) + "/task/" + std::to_string(child) + "/children");
  kill(std::atoi(children.c_str()), SIGKILL);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  MemorySample after;
  after.elapsed_s = 5;
  tree.read(after);
  EXPECT_EQ(after.process_count, 0);
}

}  // namespace
}  // namespace mlxk
#endif

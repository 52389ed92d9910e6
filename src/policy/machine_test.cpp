#include "policy/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kKiB = 1024;

class MachineTree : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mlxk_machine_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    write("proc/meminfo", "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     600 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& content) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << content;
  }
  Machine machine() { return read_machine({root_, std::nullopt, std::nullopt}); }
  fs::path root_;
};

TEST_F(MachineTree, WithoutALimitTheRamCounts) {
  EXPECT_EQ(machine().memory_bytes, 1000 * kKiB);
  EXPECT_EQ(machine().free_bytes, 600 * kKiB);
  EXPECT_EQ(machine().device, "system");
}

TEST_F(MachineTree, WithoutAnyFileNothingIsKnown) {
  fs::remove_all(root_ / "proc");
  EXPECT_EQ(machine().memory_bytes, 0u);
  EXPECT_EQ(machine().free_bytes, 0u);
}

TEST_F(MachineTree, ANestedCgroupIsHeldToItsParentsLimit) {
  write("proc/self/cgroup", "0::/a/b/c\n");
  write("sys/fs/cgroup/a/memory.max", "409600\n");
  write("sys/fs/cgroup/a/memory.current", "204800\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file_x 7\ninactive_file 102400\n");
  write("sys/fs/cgroup/a/b/memory.max", "819200\n");
  write("sys/fs/cgroup/a/b/c/memory.max", "max\n");
  EXPECT_EQ(machine().memory_bytes, 400 * kKiB);
  EXPECT_EQ(machine().free_bytes, 300 * kKiB);  // reclaimable page cache is room
}

TEST_F(MachineTree, ACgroupAtTheNamespacesRootCounts) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "204800\n");
  EXPECT_EQ(machine().memory_bytes, 200 * kKiB);
  EXPECT_EQ(machine().free_bytes, 600 * kKiB);
  // A container that sees its host's path, and a process outside its namespace.
  for (const char* path : {"0::/docker/abc\n", "0::/../..\n"}) {
    write("proc/self/cgroup", path);
    EXPECT_EQ(machine().memory_bytes, 200 * kKiB) << path;
  }
}

TEST_F(MachineTree, CgroupVersion1Counts) {
  write("proc/self/cgroup", "4:cpu,memory:/p/q\n3:memory_not:/x\n0::/\nrubbish\n");
  write("sys/fs/cgroup/memory/p/q/memory.limit_in_bytes", "307200\n");
  write("sys/fs/cgroup/memory/p/q/memory.usage_in_bytes", "307200\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(machine().memory_bytes, 300 * kKiB);
  EXPECT_EQ(machine().free_bytes, 1u);  // full, which is not the same as unknown
}

TEST_F(MachineTree, TheVariableOverridesTheSize) {
  const Machine m = read_machine({root_, std::nullopt, "4096"});
  EXPECT_EQ(m.memory_bytes, 4096u);
  EXPECT_EQ(m.free_bytes, 4096u);
  EXPECT_EQ(read_machine({root_, std::nullopt, "999999999"}).free_bytes, 600 * kKiB);
}

TEST_F(MachineTree, ABadVariableIsAUsageError) {
  for (const char* text : {"", "0", "-1", "8GB", "1e9", " 5", "5 ", "99999999999999999999", "0x10"}) {
    try {
      read_machine({root_, std::nullopt, text});
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), ::testing::HasSubstr(
                                std::string("MLXK_MEMORY_LIMIT must be a number of bytes above 0, got '") + text));
    }
  }
}

TEST_F(MachineTree, AGpusMemoryReplacesTheSystems) {
  const Machine m = read_machine({root_, Memory{5000, 4000}, std::nullopt});
  EXPECT_EQ(m.memory_bytes, 5000u);
  EXPECT_EQ(m.free_bytes, 4000u);
  EXPECT_EQ(m.device, "GPU");
}

TEST(Machine, ThisOneHasMemory) {
  const Machine m = this_machine();
  EXPECT_GT(m.memory_bytes, uint64_t{64} << 20);
  EXPECT_GT(m.free_bytes, 0u);
  EXPECT_LE(m.free_bytes, m.memory_bytes);
}

}  // namespace
}  // namespace mlxk

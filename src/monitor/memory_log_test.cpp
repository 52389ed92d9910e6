#include "monitor/memory_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "json/json.h"

namespace mlxk {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class LogOnDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mlxk_log_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  MemoryLog read(const std::string& content) {
    std::ofstream(folder_ / "mem.jsonl") << content;
    return read_memory_log(folder_ / "mem.jsonl");
  }
  static std::string line(double ts, double elapsed, double free = 4) {
    MemorySample sample;
    sample.ts = ts;
    sample.elapsed_s = elapsed;
    sample.ram_free_gb = free;
    sample.ram_total_gb = 16;
    return sample_line(sample) + "\n";
  }
  fs::path folder_;
};

TEST_F(LogOnDisk, WhatIsWrittenIsRead) {
  MemorySample sample;
  sample.ts = 1700000000.125;
  sample.elapsed_s = 0.2;
  sample.ram_free_gb = 3.25;
  sample.gpu_device_util = 40;
  sample.process_pss_gb = 1.5;
  sample.gpus = {{40, 12, 1.5, 80}, {}};
  const std::string text = sample_line(sample);
  const Json json = Json::parse(text);
  EXPECT_EQ(json["gpu_active"], true);
  EXPECT_EQ(json["memory_pressure"], nullptr);
  EXPECT_EQ(json["gpus"][0]["memory_used_gb"], 1.5);
  EXPECT_EQ(json["gpus"][1]["util"], nullptr);
  EXPECT_FALSE(json.contains("process_rss_gb"));
  const MemoryLog log = read(text + "\n{\"summary\":{\"command\":\"mlxk serve\"}}\n");
  ASSERT_EQ(log.samples.size(), 1u);
  EXPECT_DOUBLE_EQ(log.samples[0].ts, 1700000000.125);
  EXPECT_DOUBLE_EQ(log.samples[0].ram_free_gb, 3.25);
  EXPECT_DOUBLE_EQ(log.samples[0].process_pss_gb, 1.5);
  EXPECT_TRUE(std::isnan(log.samples[0].process_rss_gb));
  EXPECT_EQ(log.command, "mlxk serve");
  EXPECT_TRUE(log.warnings.empty());
}

TEST_F(LogOnDisk, BrokenLinesCostNothingElse) {
  const MemoryLog log = read(line(100, 0) + "{\"ts\": 1,\n\n[1]\n{\"outcome\": \"passed\"}\n" + line(101, 1) +
                             line(102, 2).substr(0, 40));
  ASSERT_EQ(log.samples.size(), 2u);
  EXPECT_THAT(log.warnings, ElementsAre(HasSubstr("mem.jsonl:2: invalid JSON at byte"),
                                        HasSubstr("mem.jsonl:4: not a sample of memmon"),
                                        HasSubstr("mem.jsonl:5: not a sample of memmon"),
                                        HasSubstr("mem.jsonl:7: the last line is cut off")));
}

TEST_F(LogOnDisk, ManyWarningsAreCounted) {
  std::string text = line(100, 0);
  for (int i = 0; i < 1000; ++i) text += "x\n";
  const MemoryLog log = read(text);
  ASSERT_EQ(log.warnings.size(), 11u);
  EXPECT_THAT(log.warnings.back(), HasSubstr("mem.jsonl: 990 warnings more, the last at line 1001"));
}

TEST_F(LogOnDisk, NoSampleIsAnError) {
  for (const char* text : {"", "\n\n", "x\n", "{\"summary\":{}}\n"}) {
    EXPECT_THROW(read(text), Error) << text;
  }
  try {
    read("");
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("mem.jsonl contains no samples of memmon"));
    EXPECT_EQ(error.hint(), "The file is empty.");
  }
}

TEST_F(LogOnDisk, TheAxisFollowsTheClockThatDoesNotJump) {
  // The system's clock goes back by an hour after the second sample.
  const MemoryLog log = read(line(10000, 0) + line(10001, 1) + line(6402, 2) + line(6403, 3));
  EXPECT_DOUBLE_EQ(log.samples.back().elapsed_s, 3);
  EXPECT_THAT(
      log.warnings,
      ElementsAre(HasSubstr("mem.jsonl:3: the system's clock jumped by -3600.0 s; the axis follows elapsed_s")));
  // A test's times are converted with the samples nearest to them.
  EXPECT_DOUBLE_EQ(log.elapsed_at(10000.5), 0.5);
  EXPECT_DOUBLE_EQ(log.elapsed_at(6402.5), 2.5);
}

TEST_F(LogOnDisk, ASecondRunFollowsTheFirst) {
  const MemoryLog log = read(line(100, 0) + line(101, 1) + line(160, 0) + line(161, 1));
  EXPECT_DOUBLE_EQ(log.samples[2].elapsed_s, 60);
  EXPECT_DOUBLE_EQ(log.samples[3].elapsed_s, 61);
  EXPECT_THAT(log.warnings, ElementsAre(HasSubstr("mem.jsonl:3: elapsed_s goes back: another run begins")));
}

TEST_F(LogOnDisk, SamplesWithoutElapsedGoByTs) {
  const MemoryLog log =
      read("{\"ts\":100,\"ram_free_gb\":1}\n{\"ts\":101.5,\"ram_free_gb\":1}\n{\"ts\":50,\"ram_free_gb\":1}\n");
  EXPECT_DOUBLE_EQ(log.samples[1].elapsed_s, 1.5);
  EXPECT_GE(log.samples[2].elapsed_s, 1.5);
  EXPECT_THAT(log.warnings, ElementsAre(HasSubstr("mem.jsonl:3: ts goes back")));
  EXPECT_THAT(read("{\"ram_free_gb\":1}\n" + line(1, 0)).warnings, ElementsAre(HasSubstr(":1: a sample without ts")));
}

TEST(MemorySummaryTest, HasTheFieldsOfMemmon) {
  MemorySummary summary;
  MemorySample sample;
  for (const double free : {4.0, 2.0, 3.0}) {
    sample.ram_free_gb = free;
    sample.swap_used_mb = free;
    summary.add(sample);
  }
  const Json json = summary.json();
  EXPECT_EQ(json["samples"], 3);
  EXPECT_EQ(json["ram_free_min_gb"], 2.0);
  EXPECT_EQ(json["ram_free_max_gb"], 4.0);
  EXPECT_EQ(json["ram_free_avg_gb"], 3.0);
  EXPECT_EQ(json["gpu_device_max"], 0.0);
  EXPECT_EQ(json["load_max"], nullptr);
}

}  // namespace
}  // namespace mlxk

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include "base/error.h"
#include "plot/decimate.h"
#include "plot/memory_timeline.h"
#include "plot/ticks.h"
#include "plot/timeline.h"

namespace mlxk {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

MemoryLog make_log(size_t count, double step = 0.2) {
  MemoryLog log;
  for (size_t i = 0; i < count; ++i) {
    MemorySample sample;
    sample.elapsed_s = static_cast<double>(i) * step;
    sample.ts = 1700000000 + sample.elapsed_s;
    sample.ram_free_gb = 8 + 4 * std::sin(static_cast<double>(i) / 50);
    sample.swap_used_mb = 0;
    sample.cpu_user = 10;
    log.clock.emplace_back(sample.ts, log.samples.size());
    log.samples.push_back(sample);
  }
  log.ram_total_gb = 16;
  return log;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Decimate, KeepsFirstLastSmallestAndLargestOfEveryColumn) {
  std::vector<double> time, values;
  for (int i = 0; i < 100'000; ++i) {
    time.push_back(i);
    values.push_back(std::sin(i * 0.7) + i * 1e-5);
  }
  values[54'321] = 100;  // one point among many
  values[12'345] = -100;
  const auto kept = decimate(time, values, 500);
  EXPECT_LE(kept.size(), 4u * 501);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
  const std::set<uint32_t> set(kept.begin(), kept.end());
  EXPECT_EQ(set.size(), kept.size());
  EXPECT_TRUE(set.count(54'321) && set.count(12'345) && set.count(0) && set.count(99'999));
  for (size_t column = 0; column < 499; ++column) {
    const auto begin = static_cast<size_t>(std::ceil(static_cast<double>(column) * 99'999 / 500));
    const auto end = static_cast<size_t>(std::ceil(static_cast<double>(column + 1) * 99'999 / 500));
    const auto from = values.begin() + static_cast<long>(begin), to = values.begin() + static_cast<long>(end);
    for (const auto it : {std::min_element(from, to), std::max_element(from, to)}) {
      EXPECT_TRUE(set.count(static_cast<uint32_t>(it - values.begin()))) << column;
    }
  }
}

TEST(Decimate, FewPointsAndGapsStay) {
  const std::vector<double> time = {0, 1, 2}, values = {1, std::nan(""), 3};
  EXPECT_THAT(decimate(time, values, 10), ElementsAre(0u, 1u, 2u));
  std::vector<double> long_time, gappy;
  for (int i = 0; i < 1000; ++i) {
    long_time.push_back(i);
    gappy.push_back(i >= 500 && i < 600 ? std::nan("") : 1);
  }
  const auto kept = decimate(long_time, gappy, 10);
  EXPECT_TRUE(std::any_of(kept.begin(), kept.end(), [&](uint32_t i) { return std::isnan(gappy[i]); }));
  EXPECT_THAT(decimate({}, {}, 10), ElementsAre());
  const std::vector<double> still(100, 5.0);  // a clock that does not advance
  EXPECT_FALSE(decimate(still, still, 10).empty());
}

TEST(Ticks, AreRound) {
  EXPECT_THAT(axis_ticks(16).values, ElementsAre(0, 5, 10, 15, 20));
  EXPECT_THAT(axis_ticks(0).values,
              ElementsAre(0, ::testing::DoubleEq(0.2), 0.4, ::testing::DoubleNear(0.6, 1e-9), 0.8, 1));
  EXPECT_THAT(range_ticks(0.5, 10), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  EXPECT_THAT(range_ticks(3, 3), ElementsAre(3));
}

TEST(MemoryTimeline, ColoursFollowSharesOfTheMachinesMemory) {
  const Timeline timeline = memory_timeline(make_log(100), {}, "");
  ASSERT_EQ(timeline.rows.size(), 2u);  // no GPU
  const auto& levels = timeline.rows[0].series[0].levels;
  ASSERT_EQ(levels.size(), 3u);
  EXPECT_EQ(levels[0], std::pair(4.0, PlotColour::red));
  EXPECT_EQ(levels[1], std::pair(8.0, PlotColour::orange));
  EXPECT_EQ(levels[2].second, PlotColour::green);
}

TEST(MemoryTimeline, RowsThatAreZeroThroughoutAreLeftOut) {
  MemoryLog log = make_log(10);
  for (auto& sample : log.samples) sample.cpu_user = 0;
  EXPECT_EQ(memory_timeline(log, {}, "").rows.size(), 1u);
  log.samples[3].gpu_device_util = log.samples[3].gpu_renderer_util = 50;
  log.samples[3].gpu_tiler_util = 50.5;
  Timeline timeline = memory_timeline(log, {}, "");
  ASSERT_EQ(timeline.rows.size(), 2u);
  EXPECT_EQ(timeline.rows[1].series.size(), 1u);  // renderer and tiler are the same within 1
  log.samples[3].gpu_tiler_util = 40;
  timeline = memory_timeline(log, {}, "");
  EXPECT_EQ(timeline.rows[1].series.back().label, "tiler");
  EXPECT_EQ(timeline.rows[0].series.size(), 1u);  // no swap
  log.samples[4].swap_used_mb = 7;
  EXPECT_EQ(memory_timeline(log, {}, "").rows[0].second_axis, "swap, MB");
}

TEST(MemoryTimeline, DrawsPressureAndTests) {
  MemoryLog log = make_log(100);  // 20 s
  for (size_t i = 0; i < 100; ++i) log.samples[i].memory_pressure = i >= 40 && i < 60 ? 2 : i >= 60 && i < 65 ? 4 : 1;
  TestLog tests;
  tests.tests = {{"a/b.py::test_with_a_name_that_is_much_too_long[model]", "passed", "org/a-model-of-a-very-long-name",
                  1700000002, 1700000004},
                 {"b", "passed", "", 1700000005, 1700000006},
                 {"c", "skipped", "", 1700000007, 1700000008},
                 {"d", "failed", "org/m", 1700000009, 1700000010},
                 {"before", "passed", "", 1600000000, 1600000001}};
  const Timeline timeline = memory_timeline(log, tests, "A & <B>");
  ASSERT_EQ(timeline.spans.size(), 5u);
  EXPECT_EQ(timeline.spans[0].colour, PlotColour::grey);
  EXPECT_NEAR(timeline.spans[0].from * 60, 2, 1e-6);
  EXPECT_EQ(timeline.spans[0].label, "test_with_a_name_that_is_much… · a-model-of-a-very-l…");
  EXPECT_EQ(timeline.spans[1].colour, PlotColour::light_blue);
  EXPECT_EQ(timeline.spans[2].colour, PlotColour::light_red);
  EXPECT_EQ(timeline.spans[3].kind, "WARN pressure");
  EXPECT_NEAR(timeline.spans[3].to * 60, 12, 1e-6);
  EXPECT_EQ(timeline.spans[4].kind, "CRITICAL pressure");
  const std::string svg = timeline_svg(timeline);
  EXPECT_THAT(svg, HasSubstr("A &amp; &lt;B&gt;"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_EQ(count_of(svg, "opacity=\".22\""), 5 * timeline.rows.size());
  const std::string html = timeline_html(timeline);
  EXPECT_THAT(html, Not(HasSubstr("<B>")));
  EXPECT_THAT(html, HasSubstr("CRITICAL pressure"));
}

TEST(TimelineHtml, HalfAMillionSamplesAreDecimatedWithTheirExtremes) {
  MemoryLog log = make_log(500'000);
  log.samples[314'159].ram_free_gb = 15.75;
  log.samples[271'828].ram_free_gb = 0.03;
  const Timeline timeline = memory_timeline(log, {}, "");
  const std::string html = timeline_html(timeline);
  EXPECT_LT(html.size(), 10u << 20);
  EXPECT_THAT(html, HasSubstr(",15.75,"));
  EXPECT_THAT(html, HasSubstr(",0.03,"));
  EXPECT_LT(timeline_svg(timeline).size(), 200u << 10);
}

TEST(TestLogTest, ReadsEverySchemaAndNamesBadLines) {
  std::string name = (fs::temp_directory_path() / "mlxk_bench_XXXXXX").string();
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  std::ofstream(name + "/b.jsonl")
      << R"({"schema_version":"0.1.0","timestamp":"2023-11-14T22:13:20Z","mlx_knife_version":"2.0.1","test":"t","outcome":"passed","duration":10})"
         "\n"
      << R"({"schema_version":"0.2.2","timestamp":"2023-11-14T22:13:20Z","test":"u","outcome":"failed","test_start_ts":5,"test_end_ts":6.5,"model":{"id":"o/m"},"system":{"ram_total_gb":64}})"
         "\n"
      << R"({"schema_version":"9.0.0","timestamp":"2023-11-14T22:13:20Z","test":"v","outcome":"passed"})"
         "\n"
      << R"({"schema_version":"0.2.2","timestamp":"noon","test":"w","outcome":"passed"})"
         "\n"
      << R"({"schema_version":"0.2.2"})"
         "\n"
      << R"({"schema_version":"0.2.2","timest)";
  const TestLog log = read_test_log(name + "/b.jsonl");
  fs::remove_all(name);
  ASSERT_EQ(log.tests.size(), 3u);
  EXPECT_DOUBLE_EQ(log.tests[0].start_ts, 1700000000 - 10);
  EXPECT_DOUBLE_EQ(log.tests[1].end_ts, 6.5);
  EXPECT_EQ(log.tests[1].model, "o/m");
  EXPECT_EQ(log.ram_total_gb, 64);
  EXPECT_THAT(log.warnings,
              ElementsAre(HasSubstr("b.jsonl:3: schema_version '9.0.0' is not known"),
                          HasSubstr("b.jsonl:4: timestamp: not an ISO 8601 date and time: 'noon'"),
                          HasSubstr("b.jsonl:5: not a test record"), HasSubstr("b.jsonl:6: the last line is cut off")));
}

}  // namespace
}  // namespace mlxk

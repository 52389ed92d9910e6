#include <gtest/gtest.h>

#include "base/error.h"
#include "bench/bench_plot.h"
#include "bench/bench_run.h"
#include "bench/machine_facts.h"
#include "worker/testing/fake_backend.h"

namespace mlxk {
namespace {

class BenchTest : public ::testing::Test {
 protected:
  std::shared_ptr<testing::FakeCounters> counters_ = std::make_shared<testing::FakeCounters>();
  Worker worker_{[this] { return std::make_unique<testing::FakeBackend>(counters_); }};
  std::shared_ptr<const ModelHandle> model_ = worker_.load(ModelKind::text, "present");
};

TEST_F(BenchTest, MeasuresEveryRequestOfABatch) {
  const BenchRun run = run_point(worker_, model_, {.batch = 3, .prompt = 50, .generate = 20}, [] { return false; });
  EXPECT_GT(run.prefill, 0);
  EXPECT_GT(run.decode, 0);
  EXPECT_GT(run.first_token_s, 0);
  EXPECT_LT(run.first_token_s, 10);
}

TEST_F(BenchTest, StopsWhenAsked) {
  const BenchPoint endless{.batch = 2, .prompt = 1, .generate = 1 << 28};
  try {
    run_point(worker_, model_, endless, [] { return true; });
    FAIL() << "was not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
}

TEST(Figure, IsMedianAndSpread) {
  EXPECT_DOUBLE_EQ(figure_of({3, 1, 2}).median, 2);
  EXPECT_DOUBLE_EQ(figure_of({4, 1, 2, 3}).median, 2.5);
  EXPECT_DOUBLE_EQ(figure_of({3, 1, 2}).spread, 1);
  EXPECT_DOUBLE_EQ(figure_of({7}).spread, 0);
}

TEST(BarChart, EscapesNamesAndScalesToTheLargest) {
  const std::string svg = bar_chart_svg("a<b & c", {{"speed", {{"x", 10, 9, 11}, {"y", 22, 22, 22}}}});
  EXPECT_NE(svg.find("a&lt;b &amp; c"), std::string::npos);
  EXPECT_NE(svg.find("width=\"440.0\""), std::string::npos);
  EXPECT_NE(svg.find("width=\"200.0\""), std::string::npos);
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
}

TEST(MachineFacts, MeasuresMemory) {
  EXPECT_GT(read_bandwidth(2, uint64_t{16} << 20), 1e8);
  EXPECT_GT(peak_memory(), uint64_t{1} << 20);
  EXPECT_GE(machine_facts().cores, 1);
}

}  // namespace
}  // namespace mlxk

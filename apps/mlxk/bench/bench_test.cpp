#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "bench/bench_run.h"
#include "bench/drawn_image.h"
#include "bench/serve_load.h"
#include "bench/serve_stream.h"
#include "media/image.h"
#include "report/bar_chart.h"
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

TEST(AnswerStream, IsReadHoweverItIsCut) {
  const std::string text =
      ": comment\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
      "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"so\"}}]}\r\n\r\n"
      "data:{\"choices\":[{\"text\":\"a\"}]}\n\n"
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}\n\ndata: [DONE]\n\n";
  for (const size_t size : {size_t{1}, size_t{7}, text.size()}) {
    AnswerStream stream;
    for (size_t at = 0; at < text.size(); at += size) {
      stream.take(std::string_view(text).substr(at, size), AnswerStream::Clock::now());
    }
    EXPECT_EQ(stream.pieces().size(), 2U);
    EXPECT_TRUE(stream.is_done());
    EXPECT_EQ(stream.prompt_tokens(), 7);
    EXPECT_EQ(stream.completion_tokens(), 9);
    EXPECT_EQ(stream.error(), "");
  }
}

TEST(AnswerStream, TellsOfErrors) {
  AnswerStream stream;
  stream.take("data: {\"error\":{\"message\":\"too much\"}}\n\n", AnswerStream::Clock::now());
  EXPECT_EQ(stream.error(), "too much");
  EXPECT_FALSE(stream.is_done());
  AnswerStream broken;
  broken.take("data: {oops\n\n", AnswerStream::Clock::now());
  EXPECT_NE(broken.error().find("invalid JSON"), std::string::npos);
}

TEST(Percentiles, LieBetweenValues) {
  EXPECT_FALSE(percentiles_of({}));
  const auto one = percentiles_of({5});
  EXPECT_EQ(one->p50, 5);
  EXPECT_EQ(one->p99, 5);
  const auto many = percentiles_of({4, 1, 3, 2, 5});
  EXPECT_EQ(many->mean, 3);
  EXPECT_EQ(many->p50, 3);
  EXPECT_DOUBLE_EQ(many->p95, 4.8);  // numpy.percentile([1, 2, 3, 4, 5], 95)
}

TEST(Load, CountsWhatIsGood) {
  std::vector<LoadAnswer> answers(3);
  answers[0] = {
      .scheduled = 1, .sent = 1.5, .first = 2, .last = 4, .gaps = {1, 1}, .prompt_tokens = 8, .completion_tokens = 3};
  answers[1] = answers[0];
  answers[1].last = 6;
  answers[2].failure = "gone";
  const LoadResult result = evaluate({.rate = 1}, answers, 10, read_goodput("ttft:1000,e2el:4000"));
  EXPECT_EQ(result.requests, 3U);
  EXPECT_EQ(result.failed, 1U);
  EXPECT_EQ(result.failures.at("gone"), 1U);
  EXPECT_EQ(result.completion_tokens, 6);
  EXPECT_DOUBLE_EQ(result.tokens_per_s(), 0.6);
  EXPECT_DOUBLE_EQ(result.first_token_s->p50, 1);  // from when it was due
  EXPECT_DOUBLE_EQ(result.per_token_s->mean, 1.5);
  EXPECT_DOUBLE_EQ(result.good_per_s.value(), 0.1);
}

TEST(Load, PromptsAreAsLongAsAskedAndTheSame) {
  const auto fixed = make_prompts(3, read_lengths("5:7"), 1);
  EXPECT_EQ(std::count(fixed[1].text.begin(), fixed[1].text.end(), ' '), 4);
  EXPECT_EQ(fixed[1].max_tokens, 7);
  EXPECT_NE(fixed[1].text, fixed[0].text);
  const auto varied = make_prompts(2000, read_lengths("sharegpt"), 1);
  EXPECT_EQ(varied[7].text, make_prompts(8, read_lengths("sharegpt"), 1)[7].text);
  std::vector<double> answers;
  for (const auto& prompt : varied) answers.push_back(static_cast<double>(prompt.max_tokens));
  EXPECT_NEAR(percentiles_of(answers)->p50, 130, 15);
}

TEST(DrawnImage, IsAnImage) {
  const std::string file = drawn_image(33);
  const DecodedImage decoded = decode_image({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "drawn");
  EXPECT_EQ(decoded.image.width, 33);
  EXPECT_EQ(decoded.image.height, 33);
}

}  // namespace
}  // namespace mlxk

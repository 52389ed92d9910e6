// The order in which requests run: limits, the queue, deadlines, loads during requests, and the status.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/request.h"
#include "worker/testing/fake_backend.h"
#include "worker/testing/recorder.h"

namespace mlxk {
namespace {

using std::chrono::steady_clock;
using testing::ask;
using ::testing::ElementsAre;
using testing::FakeBackend;
using testing::FakeCounters;
using ::testing::HasSubstr;
using testing::reason_of;
using testing::Recorder;
using testing::while_held;
using namespace std::chrono_literals;

GenerateRequest ask_for(const std::string& scope, int32_t how = 1, int64_t max_tokens = 2) {
  GenerateRequest request = ask(how, max_tokens);
  request.cache_scope = scope;
  return request;
}

class Scheduling : public ::testing::Test {
 protected:
  void TearDown() override {
    model_.reset();
    worker_.reset();
    EXPECT_EQ(counters_->models, 0);
    EXPECT_EQ(counters_->sequences, 0);
    EXPECT_EQ(counters_->wrong_thread, 0);
  }
  void begin(const WorkerLimits& limits) {
    const auto make = [counters = counters_] { return std::make_unique<FakeBackend>(counters); };
    worker_ = std::make_unique<Worker>(make, limits);
    model_ = worker_->load(ModelKind::text, "m");
  }
  Ticket submit(Recorder& recorder, GenerateRequest request) {
    return worker_->submit(model_, std::move(request), recorder.sink());
  }
  /// Submits a request that names itself in `order` as it begins.
  void submit_named(Recorder& recorder, GenerateRequest request, const std::string& name) {
    worker_->submit(model_, std::move(request), [this, name, sink = recorder.sink()](const Event& event) {
      if (std::holds_alternative<PrefillEvent>(event)) order_.push_back(name);
      sink(event);
    });
  }

  std::shared_ptr<FakeCounters> counters_ = std::make_shared<FakeCounters>();
  std::unique_ptr<Worker> worker_;
  std::shared_ptr<const ModelHandle> model_;
  std::vector<std::string> order_;  // written on the worker thread; read once the last of them has ended
};

TEST_F(Scheduling, NoMoreRunAtOnceThanTheLimitSaysAndTheOthersFollow) {
  begin({.max_running = 2});
  std::vector<Recorder> recorders(7);
  while_held(*worker_, [&] {
    for (auto& recorder : recorders) submit(recorder, ask(1));
  });
  for (auto& recorder : recorders) EXPECT_EQ(reason_of(recorder.last()), FinishReason::length);
  EXPECT_EQ(counters_->max_batch, 2);
}

TEST_F(Scheduling, ALimitIsOfEachModelAlone) {
  begin({.max_running = 1});
  const auto other = worker_->load(ModelKind::text, "n");
  Recorder endless, elsewhere;
  const Ticket ticket = submit(endless, ask(testing::kEndless));
  endless.wait_for_tokens(1);
  worker_->submit(other, ask(1), elsewhere.sink());
  EXPECT_EQ(reason_of(elsewhere.last()), FinishReason::length);
}

TEST_F(Scheduling, NothingCanRunWhereNoneMay) { EXPECT_THROW(begin({.max_running = 0}), Error); }

TEST_F(Scheduling, ScopesTakeTurnsAndWithinOneTheOrderOfArrivalHolds) {
  begin({.max_running = 1});
  std::vector<Recorder> recorders(7);
  while_held(*worker_, [&] {
    for (size_t i = 0; i < 4; ++i) submit_named(recorders[i], ask_for("many"), "many " + std::to_string(i));
    for (size_t i = 4; i < 6; ++i) submit_named(recorders[i], ask_for("few"), "few " + std::to_string(i));
    submit_named(recorders[6], ask_for("one"), "one");
  });
  for (auto& recorder : recorders) recorder.last();
  EXPECT_THAT(order_, ElementsAre("many 0", "few 4", "one", "many 1", "few 5", "many 2", "many 3"));
}

TEST_F(Scheduling, AFullLineRefusesWithATimeToComeAgain) {
  begin({.max_running = 1, .max_waiting = 2});
  Recorder running;
  submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  std::vector<Recorder> recorders(3);
  for (auto& recorder : recorders) submit(recorder, ask(1));
  const auto failed = std::get<FailedEvent>(recorders[2].last());
  EXPECT_EQ(failed.kind, ErrorKind::unavailable);
  EXPECT_EQ(failed.message, "2 requests are already waiting");
  EXPECT_GE(failed.retry_after_s, 1);
  EXPECT_EQ(recorders[0].count() + recorders[1].count(), 0U);
  worker_->device();  // that turn is over
  EXPECT_EQ(worker_->status().refused, 1U);
}

TEST_F(Scheduling, TheTimeToComeAgainGoesByHowLongRequestsTake) {
  begin({.max_running = 1, .max_waiting = 100});
  Recorder first, running;
  submit(first, ask(testing::kSlow, 20));  // twenty milliseconds and more
  first.last();
  submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  std::vector<Recorder> line(101);
  for (auto& one : line) submit(one, ask(1));
  EXPECT_GE(std::get<FailedEvent>(line.back().last()).retry_after_s, 2);
}

TEST_F(Scheduling, NoneMayWaitWhereTheLineIsOfNoLength) {
  begin({.max_running = 1, .max_waiting = 0});
  Recorder running, refused;
  const Ticket ticket = submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  submit(refused, ask(1));
  EXPECT_EQ(std::get<FailedEvent>(refused.last()).kind, ErrorKind::unavailable);
}

TEST_F(Scheduling, AScopeThatFillsTheLineMakesRoomForAnother) {
  begin({.max_running = 1, .max_waiting = 3});
  Recorder running, newcomer;
  submit(running, ask_for("many", testing::kEndless));
  running.wait_for_tokens(1);
  std::vector<Recorder> recorders(3);
  for (auto& recorder : recorders) submit(recorder, ask_for("many"));
  submit(newcomer, ask_for("few", testing::kEndless));
  EXPECT_EQ(std::get<FailedEvent>(recorders[2].last()).kind, ErrorKind::unavailable);
  EXPECT_EQ(recorders[0].count() + recorders[1].count() + newcomer.count(), 0U);
}

TEST_F(Scheduling, WhatNeverFitsIsRefusedAtOnceWithTheNumbers) {
  begin({.kv_bytes = 100});
  Recorder recorder;
  submit(recorder, ask(1, 98));  // three tokens of prompt, a byte a token
  const auto failed = std::get<FailedEvent>(recorder.last());
  EXPECT_EQ(failed.kind, ErrorKind::invalid);
  EXPECT_EQ(failed.message,
            "3 prompt tokens and up to 98 of the answer need 101 bytes of keys and values; 100 are set aside for all "
            "requests");
  Recorder fits;
  submit(fits, ask(1, 97));
  EXPECT_EQ(reason_of(fits.last()), FinishReason::length);
}

TEST_F(Scheduling, ABigRequestWaitsForMemoryAndSmallOnesDoNotOvertakeIt) {
  begin({.kv_bytes = 100});
  std::vector<Recorder> recorders(5);
  while_held(*worker_, [&] {
    submit_named(recorders[0], ask_for("a", 1, 50), "half");
    submit_named(recorders[1], ask_for("b", 1, 90), "big");
    submit_named(recorders[2], ask_for("c", 1, 2), "small");  // would fit beside "half"
    submit_named(recorders[3], ask_for("a", 1, 2), "small again");
    submit_named(recorders[4], ask_for("a", 1, 2), "small once more");
  });
  for (auto& recorder : recorders) EXPECT_EQ(reason_of(recorder.last()), FinishReason::length);
  EXPECT_THAT(order_, ElementsAre("half", "big", "small", "small again", "small once more"));
}

TEST_F(Scheduling, EnormousLengthsAreRefusedNotWrapped) {
  begin({.kv_bytes = 100});
  Recorder recorder;
  submit(recorder, ask(1, std::numeric_limits<int64_t>::max()));
  EXPECT_EQ(std::get<FailedEvent>(recorder.last()).kind, ErrorKind::invalid);
}

TEST_F(Scheduling, ABadRequestHearsItBeforeItsTurn) {
  begin({.max_running = 1});
  Recorder running, bad;
  submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  submit(bad, ask(1, 0));
  EXPECT_EQ(std::get<FailedEvent>(bad.last()).kind, ErrorKind::invalid);
}

TEST_F(Scheduling, AWaitingRequestHearsThatItIsCancelled) {
  begin({.max_running = 1});
  Recorder running, waiting;
  submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  Ticket ticket = submit(waiting, ask(testing::kEndless));
  ticket.cancel();
  const auto done = std::get<DoneEvent>(waiting.last());
  EXPECT_EQ(done.reason, FinishReason::cancelled);
  EXPECT_EQ(done.usage.prompt_tokens, 3);
  EXPECT_EQ(done.usage.completion_tokens, 0);
  EXPECT_EQ(waiting.count(), 1U);
  EXPECT_EQ(counters_->sequences, 1);
}

TEST_F(Scheduling, ADeadlineEndsWaiting) {
  begin({.max_running = 1});
  Recorder running, waiting;
  submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  GenerateRequest request = ask(1);
  request.deadline = steady_clock::now() + 20ms;
  submit(waiting, std::move(request));
  const auto late = std::get<FailedEvent>(waiting.last());
  EXPECT_EQ(late.kind, ErrorKind::deadline);
  EXPECT_THAT(late.message, HasSubstr("the deadline passed; the request had waited"));
  EXPECT_EQ(waiting.count(), 1U);
}

TEST_F(Scheduling, ADeadlineEndsDecoding) {
  begin({});
  for (auto patience = 10ms;; patience *= 2) {  // until it suffices for a token
    Recorder running;
    GenerateRequest endless = ask(testing::kEndless);
    endless.deadline = steady_clock::now() + patience;
    submit(running, std::move(endless));
    const auto cut = std::get<FailedEvent>(running.last());
    EXPECT_EQ(cut.kind, ErrorKind::deadline);
    if (running.tokens().empty()) continue;
    const auto tokens = std::to_string(running.tokens().size());
    EXPECT_EQ(cut.message, "the deadline passed; after " + tokens + " tokens of the answer");
    break;
  }
}

TEST_F(Scheduling, ADeadlineEndsPrefill) {
  begin({});
  Recorder recorder;
  GenerateRequest request = ask(testing::kSlow);
  request.prompt.resize(512 * 1000);  // a second and more
  request.deadline = steady_clock::now() + 20ms;
  submit(recorder, std::move(request));
  const auto failed = std::get<FailedEvent>(recorder.last());
  EXPECT_EQ(failed.kind, ErrorKind::deadline);
  EXPECT_EQ(recorder.tokens().size(), 0U);
}

TEST_F(Scheduling, ADeadlineThatHasPassedFailsBeforeAnythingBegins) {
  begin({});
  Recorder recorder;
  GenerateRequest request = ask(1);
  request.deadline = steady_clock::now() - 1s;
  submit(recorder, std::move(request));
  EXPECT_EQ(std::get<FailedEvent>(recorder.last()).kind, ErrorKind::deadline);
  EXPECT_EQ(recorder.count(), 1U);
}

TEST_F(Scheduling, ADeadlineThatCannotBeMetIsRefusedOnceTheModelsPaceIsKnown) {
  begin({});
  GenerateRequest hopeless = ask(testing::kSlow, 1'000'000);  // a thousand seconds and more
  hopeless.deadline = steady_clock::now() + 60s;
  Recorder unknown;
  Ticket ticket = submit(unknown, hopeless);
  unknown.wait_for_tokens(3);  // nothing is known: it is not refused
  ticket.cancel();
  unknown.last();
  Recorder refused;
  submit(refused, hopeless);
  const auto failed = std::get<FailedEvent>(refused.last());
  EXPECT_EQ(failed.kind, ErrorKind::deadline);
  EXPECT_EQ(refused.count(), 1U);
  EXPECT_THAT(failed.message, ::testing::MatchesRegex("the request would take [0-9]+ s \\(1000000 answer tokens at "
                                                      "[0-9.]+ a second\\), its deadline is in [0-9]+ s"));
  // A number of tokens that nobody named says nothing of the answer's length, and a short answer is in time.
  Recorder unnamed, shorter;
  hopeless.max_tokens_named = false;
  ticket = submit(unnamed, hopeless);
  unnamed.wait_for_tokens(1);
  ticket.cancel();
  hopeless.max_tokens_named = true;
  hopeless.max_tokens = 3;
  submit(shorter, hopeless);
  EXPECT_EQ(reason_of(shorter.last()), FinishReason::length);
}

TEST_F(Scheduling, APromptThatCannotBeReadInTimeIsRefused) {
  begin({});
  GenerateRequest long_prompt = ask(testing::kSlow, 1);
  long_prompt.prompt.resize(512 * 3);
  Recorder measured, refused;
  submit(measured, long_prompt);
  measured.last();
  long_prompt.prompt.resize(512 * 4000);  // four seconds and more
  long_prompt.deadline = steady_clock::now() + 2s;
  submit(refused, std::move(long_prompt));
  EXPECT_THAT(std::get<FailedEvent>(refused.last()).message, HasSubstr("2048000 prompt tokens at"));
}

TEST_F(Scheduling, TheTimeInTheLineIsPartOfTheEstimate) {
  begin({.max_running = 1});
  Recorder first, running;
  submit(first, ask(testing::kSlow, 20));  // twenty milliseconds and more
  first.last();
  submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  std::vector<Recorder> line(1000);
  for (auto& one : line) submit(one, ask(1));
  Recorder refused;
  GenerateRequest request = ask(1, 1);
  request.deadline = steady_clock::now() + 10s;
  submit(refused, std::move(request));
  EXPECT_THAT(std::get<FailedEvent>(refused.last()).message, HasSubstr("s of waiting"));
}

TEST_F(Scheduling, TheTimeInTheLineIsTold) {
  begin({.max_running = 1});
  Recorder before, after;
  while_held(*worker_, [&] {
    submit(before, ask(testing::kSlow, 10));
    submit(after, ask(1));
  });
  before.last();
  EXPECT_GE(std::get<DoneEvent>(after.last()).timings.queued_s, 0.010);
}

TEST_F(Scheduling, AFailedStepLeavesThoseThatWaitToRunNext) {
  begin({.max_running = 2});
  Recorder endless, broken, waiting;
  while_held(*worker_, [&] {
    submit(endless, ask(testing::kEndless));
    submit(broken, ask(testing::kFailAtThirdStep));
    submit(waiting, ask(1));
  });
  EXPECT_EQ(std::get<FailedEvent>(endless.last()).kind, ErrorKind::memory);
  EXPECT_EQ(reason_of(waiting.last()), FinishReason::length);
}

TEST_F(Scheduling, TheDestructorCancelsWhatWaits) {
  begin({.max_running = 1});
  Recorder running, waiting;
  submit(running, ask(testing::kEndless));
  submit(waiting, ask(testing::kEndless));
  running.wait_for_tokens(1);
  worker_.reset();
  EXPECT_EQ(reason_of(running.last()), FinishReason::cancelled);
  EXPECT_EQ(reason_of(waiting.last()), FinishReason::cancelled);
}

TEST_F(Scheduling, RequestsGoOnWhileAModelIsLoaded) {
  begin({});
  Recorder running;
  submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  std::vector<size_t> tokens;
  Recorder joining;
  bool joined = false;
  const auto other = worker_->load(ModelKind::text, "pieces", [&](const std::string&, int64_t done, int64_t) {
    tokens.push_back(running.tokens().size());
    if (done == 2) submit(joining, ask(1, 1));
    joined = joining.count() > 0;  // requests join meanwhile, too
  });
  EXPECT_TRUE(joined);
  ASSERT_EQ(tokens.size(), 5U);
  for (size_t i = 1; i < tokens.size(); ++i) EXPECT_GT(tokens[i], tokens[i - 1]);
}

TEST_F(Scheduling, AFailedLoadLeavesTheOthersServing) {
  begin({});
  Recorder running;
  submit(running, ask(testing::kEndless));
  running.wait_for_tokens(1);
  EXPECT_THROW(worker_->load(ModelKind::text, "broken"), Error);
  EXPECT_FALSE(worker_->status().loading);
  running.wait_for_tokens(running.tokens().size() + 3);
  EXPECT_EQ(counters_->models, 1);
}

TEST_F(Scheduling, WhatWasLetGoOfIsUnloadedBeforeTheNextLoad) {
  begin({});
  for (int round = 0; round < 50; ++round) {
    Recorder recorder;
    submit(recorder, ask(1, 1));
    model_.reset();  // the request alone holds it, until its last event
    recorder.last();
    model_ = worker_->load(ModelKind::text, "next");
    ASSERT_EQ(counters_->models_at_load, 0) << "round " << round;
  }
}

TEST_F(Scheduling, StatusIsToldAtOnceWhileTheWorkerLoads) {
  begin({.max_running = 1});
  Recorder first, second;
  while_held(*worker_, [&] {
    submit(first, ask(1));
    submit(second, ask(1));
    const WorkerStatus status = worker_->status();  // the worker does not run
    ASSERT_TRUE(status.loading);
    EXPECT_EQ(status.loading->path, "held");
    EXPECT_EQ(status.loading->done, 1);
    EXPECT_EQ(status.loading->total, 1);
    EXPECT_EQ(status.waiting, 2U);
    EXPECT_GT(status.busy_s, 0);
    const double since = worker_->status().since_turn_s;
    EXPECT_GT(worker_->status().since_turn_s, since);  // a heart that does not beat
  });
  first.last();
  second.last();
}

TEST_F(Scheduling, StatusCountsWhatRunsWaitsAndWasMade) {
  begin({.max_running = 1});
  Recorder done, running, waiting;
  submit(done, ask(1, 7));
  done.last();
  submit(running, ask(testing::kEndless, 40));
  running.wait_for_tokens(1);
  submit(waiting, ask(1));
  worker_->device();  // it has been looked at now
  const size_t tokens = running.tokens().size();
  running.wait_for_tokens(tokens + 3);
  const WorkerStatus status = worker_->status();
  EXPECT_EQ(status.running, 1U);
  EXPECT_EQ(status.waiting, 1U);
  EXPECT_GE(status.tokens, 7 + tokens);
  EXPECT_GT(status.tokens_per_s, 0);
  EXPECT_EQ(status.ended, 1U);
  EXPECT_EQ(status.prompt_tokens, 3U);
  EXPECT_GT(status.busy_s, 0);
  ASSERT_EQ(status.models.size(), 1U);
  EXPECT_EQ(status.models[0].id, model_->id());
  EXPECT_EQ(status.models[0].running, 1U);
  EXPECT_EQ(status.models[0].waiting, 1U);
  EXPECT_EQ(status.models[0].kv_bytes, 43U);
  EXPECT_GT(status.models[0].decode_tokens_per_s, 0);
  EXPECT_EQ(status.models[0].cache.kv_bytes, 1U);
}

TEST_F(Scheduling, StatusRestsWithTheWorker) {
  begin({});
  Recorder recorder;
  submit(recorder, ask(1));
  recorder.last();
  while (worker_->status().busy_s > 0) std::this_thread::yield();  // forever, if it never rests
  const WorkerStatus status = worker_->status();
  EXPECT_EQ(status.since_turn_s, 0);
  EXPECT_EQ(status.running, 0U);
  EXPECT_EQ(status.models.at(0).cache.kv_bytes, 0U);
}

TEST_F(Scheduling, AStormOfCancelledRequestsGetsOneLastEventEach) {
  begin({.max_running = 4, .max_waiting = 50, .kv_bytes = 200});
  constexpr int kThreads = 8, kEach = 125;
  std::vector<std::atomic<int>> ends(kThreads * kEach);
  std::atomic<int> ended{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        GenerateRequest request = ask_for(std::to_string(t % 3), i % 2 == 0 ? testing::kEndless : 1, 1 + i % 60);
        if (i % 5 == 0) request.deadline = steady_clock::now() + std::chrono::microseconds(100 * (i % 7));
        const auto number = static_cast<size_t>(t * kEach + i);
        Ticket ticket = worker_->submit(model_, std::move(request), [&, number](const Event& event) {
          if (!std::holds_alternative<DoneEvent>(event) && !std::holds_alternative<FailedEvent>(event)) {
            if (ends[number] != 0) ended = -1'000'000;  // an event after the last
            return;
          }
          ++ends[number];
          ++ended;
        });
        if (i % 3 == 0) std::this_thread::yield();
        ticket.cancel();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  while (ended >= 0 && ended < kThreads * kEach) worker_->device();  // forever, if one never ends
  worker_->device();                                                 // that turn is over
  for (const auto& one : ends) EXPECT_EQ(one, 1);
  EXPECT_EQ(worker_->status().running + worker_->status().waiting, 0U);
}

}  // namespace
}  // namespace mlxk

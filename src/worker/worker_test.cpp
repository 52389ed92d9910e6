#include "worker/worker.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "worker/testing/fake_backend.h"
#include "worker/testing/recorder.h"

// Also the room's tsan suite: no test here needs the engine. An exception_ptr counts its holders inside libstdc++,
// which is not instrumented: tsan cannot see that the last of two threads to let go frees it.
extern "C" const char* __tsan_default_suppressions() { return "race:std::__exception_ptr::exception_ptr::_M_release"; }

namespace mlxk {
namespace {

using testing::ask;
using testing::FakeBackend;
using testing::FakeCounters;
using testing::reason_of;
using testing::Recorder;
using testing::while_held;

class WorkerTest : public ::testing::Test {
 protected:
  WorkerTest() : worker_(make_worker()) {}
  void TearDown() override {
    worker_.reset();
    EXPECT_EQ(counters_->models, 0);
    EXPECT_EQ(counters_->sequences, 0);
    EXPECT_EQ(counters_->wrong_thread, 0);
  }
  std::unique_ptr<Worker> make_worker() {
    return std::make_unique<Worker>([counters = counters_] { return std::make_unique<FakeBackend>(counters); });
  }

  std::shared_ptr<FakeCounters> counters_ = std::make_shared<FakeCounters>();
  std::unique_ptr<Worker> worker_;
};

TEST_F(WorkerTest, AnswersWithPrefillTokensAndDoneInOrder) {
  const auto model = worker_->load(ModelKind::text, "somewhere");
  EXPECT_EQ(model->facts().vocab_size, 100);
  Recorder recorder;
  worker_->submit(model, ask(7), recorder.sink());
  const auto done = std::get<DoneEvent>(recorder.last());
  EXPECT_EQ(done.reason, FinishReason::length);
  EXPECT_EQ(done.usage.prompt_tokens, 3);
  EXPECT_EQ(done.usage.completion_tokens, 5);
  EXPECT_EQ(recorder.tokens(), (std::vector<int32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(recorder.count(), 7);
}

TEST_F(WorkerTest, GivesAVectorForEachText) {
  const auto model = worker_->load(ModelKind::embedding, "somewhere");
  EXPECT_EQ(model->facts().embedding->dimensions, 4);
  EmbedRequest request;
  for (const size_t length : {3, 5}) request.texts.push_back({.ids = std::vector<int32_t>(length, 'b')});
  Recorder recorder;
  worker_->submit(model, request, recorder.sink());
  const auto done = std::get<DoneEvent>(recorder.last());
  EXPECT_EQ(done.usage.prompt_tokens, 8);
  EXPECT_EQ(recorder.vectors(), (std::map<size_t, std::vector<float>>{{0, {3, 'b', 0, 0}}, {1, {5, 'b', 0, 0}}}));
}

TEST_F(WorkerTest, RefusesTextsForAModelThatGeneratesAndTheOtherWayRound) {
  const auto expect_refused = [](Recorder& recorder, const char* message) {
    const auto failed = std::get<FailedEvent>(recorder.last());
    EXPECT_EQ(failed.kind, ErrorKind::invalid);
    EXPECT_EQ(failed.message, message);
  };
  Recorder embed, generate;
  worker_->submit(worker_->load(ModelKind::text, "m"), EmbedRequest{.texts = {{.ids = {1}}}}, embed.sink());
  expect_refused(embed, "the model gives no vectors");
  worker_->submit(worker_->load(ModelKind::embedding, "m"), ask(7), generate.sink());
  expect_refused(generate, "this model does not generate text");
}

TEST_F(WorkerTest, AChatGoesOnBesideManyTexts) {
  const auto chats = worker_->load(ModelKind::text, "chats"), vectors = worker_->load(ModelKind::embedding, "vectors");
  constexpr size_t kTexts = 200, kTokens = 20;
  EmbedRequest request;
  request.texts.assign(kTexts, {.ids = std::vector<int32_t>(3, 'b')});
  std::string order;  // written by the worker alone: a vector, a token, the end of either
  Recorder texts, chat;
  const auto noted = [&order](const EventSink& sink, char step, char end) {
    return [&order, sink, step, end](const Event& event) {
      const bool is_step = std::holds_alternative<VectorEvent>(event) || std::holds_alternative<TokenEvent>(event);
      if (is_step) order += step;
      if (std::holds_alternative<DoneEvent>(event)) order += end;
      sink(event);
    };
  };
  while_held(*worker_, [&] {
    worker_->submit(vectors, request, noted(texts.sink(), 'v', 'V'));
    worker_->submit(chats, ask(7, kTokens), noted(chat.sink(), 't', 'T'));
  });
  chat.last();
  texts.last();
  worker_->device();  // the last event's sink has returned
  EXPECT_EQ(std::count(order.begin(), order.end(), 't'), kTokens);
  EXPECT_EQ(std::count(order.begin(), order.end(), 'v'), kTexts);
  EXPECT_LT(order.find('T'), order.find('V')) << order;
  EXPECT_EQ(order.substr(order.find('t'), order.find('T')).find("vv"), std::string::npos)
      << "more than one step of texts between two tokens: " << order;
}

TEST_F(WorkerTest, EndsTextsThatNobodyWaitsFor) {
  const auto model = worker_->load(ModelKind::embedding, "m");
  EncodedText endless;
  for (const char letter : std::string("x!endless ")) endless.ids.push_back(letter);
  Recorder recorder;
  Ticket ticket = worker_->submit(model, EmbedRequest{.texts = {endless}}, recorder.sink());
  ticket.cancel();
  EXPECT_EQ(reason_of(recorder.last()), FinishReason::cancelled);
}

TEST_F(WorkerTest, HandsTheBackendsErrorsToTheCaller) {
  try {
    worker_->load(ModelKind::text, "absent");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::not_found);
    EXPECT_EQ(e.hint(), "look elsewhere");
  }
  EXPECT_EQ(worker_->device().name, "fake");  // it goes on
  EXPECT_EQ(worker_->convert({.source = "a.gguf"}).model_type, "a.gguf");
}

TEST(Worker, ThrowsWhatMakingTheBackendThrows) {
  EXPECT_THROW(Worker([]() -> std::unique_ptr<Backend> { throw Error(ErrorKind::unsupported, "no engine"); }), Error);
}

TEST_F(WorkerTest, ARequestThatCannotStartFailsAlone) {
  const auto model = worker_->load(ModelKind::text, "m");
  Recorder bad, good;
  worker_->submit(model, ask(testing::kFailToStart), bad.sink());
  worker_->submit(model, ask(1), good.sink());
  const auto failed = std::get<FailedEvent>(bad.last());
  EXPECT_EQ(failed.kind, ErrorKind::invalid);
  EXPECT_EQ(failed.message, "a bad prompt");
  EXPECT_EQ(bad.count(), 1);
  EXPECT_EQ(reason_of(good.last()), FinishReason::length);
}

TEST_F(WorkerTest, ACancelledRequestEndsWhileOthersGoOn) {
  const auto model = worker_->load(ModelKind::text, "m");
  Recorder endless, other;
  Ticket ticket = worker_->submit(model, ask(testing::kEndless), endless.sink());
  worker_->submit(model, ask(testing::kEndless), other.sink());
  endless.wait_for_tokens(3);
  ticket.cancel();
  const auto done = std::get<DoneEvent>(endless.last());
  EXPECT_EQ(done.reason, FinishReason::cancelled);
  EXPECT_EQ(done.usage.completion_tokens, static_cast<int64_t>(endless.tokens().size()));
  other.wait_for_tokens(other.tokens().size() + 3);
  EXPECT_EQ(counters_->sequences, 1);
}

TEST_F(WorkerTest, AFailedStepFailsAllOnThatModelAndDropsThem) {
  const auto model = worker_->load(ModelKind::text, "m");
  const auto untouched = worker_->load(ModelKind::text, "n");
  Recorder endless, elsewhere, broken;
  worker_->submit(model, ask(testing::kEndless), endless.sink());
  worker_->submit(untouched, ask(testing::kEndless), elsewhere.sink());
  endless.wait_for_tokens(1);
  worker_->submit(model, ask(testing::kFailAtThirdStep), broken.sink());
  EXPECT_EQ(std::get<FailedEvent>(broken.last()).message, "the device is full");
  EXPECT_EQ(std::get<FailedEvent>(endless.last()).kind, ErrorKind::memory);
  elsewhere.wait_for_tokens(elsewhere.tokens().size() + 3);
  EXPECT_EQ(counters_->sequences, 1);
  // The model itself stays usable.
  Recorder next;
  worker_->submit(model, ask(1), next.sink());
  EXPECT_EQ(reason_of(next.last()), FinishReason::length);
}

TEST_F(WorkerTest, AFailedEventEndsThatRequestOnly) {
  const auto model = worker_->load(ModelKind::text, "m");
  Recorder alone, other;
  worker_->submit(model, ask(testing::kEndless), other.sink());
  worker_->submit(model, ask(testing::kFailAlone), alone.sink());
  EXPECT_EQ(std::get<FailedEvent>(alone.last()).message, "NaN logits");
  other.wait_for_tokens(other.tokens().size() + 3);
}

TEST_F(WorkerTest, AModelsRequestsAreSteppedTogetherAndJoinAndLeaveWithoutDisturbingEachOther) {
  const auto model = worker_->load(ModelKind::text, "m");
  std::vector<Recorder> recorders(6);
  std::vector<Ticket> tickets;
  while_held(*worker_, [&] {
    for (int i = 0; i < 4; ++i) tickets.push_back(worker_->submit(model, ask(testing::kEndless), recorders[i].sink()));
  });
  recorders[3].wait_for_tokens(2);
  EXPECT_EQ(counters_->max_batch, 4);
  tickets[1].cancel();
  for (int i = 4; i < 6; ++i) tickets.push_back(worker_->submit(model, ask(1, 3 + i), recorders[i].sink()));
  EXPECT_EQ(reason_of(recorders[1].last()), FinishReason::cancelled);
  EXPECT_EQ(reason_of(recorders[4].last()), FinishReason::length);
  EXPECT_EQ(reason_of(recorders[5].last()), FinishReason::length);
  for (int i : {0, 2, 3}) tickets[i].cancel();
  for (auto& recorder : recorders) {
    recorder.last();
    const auto tokens = recorder.tokens();
    for (size_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(tokens[i], static_cast<int32_t>(i));
  }
}

TEST_F(WorkerTest, ARequestThatEndsInAStepThatThenFailsHasEndedOnce) {
  const auto model = worker_->load(ModelKind::text, "m");
  Recorder before, broken, behind;
  while_held(*worker_, [&] {
    worker_->submit(model, ask(1, 2), before.sink());  // Done in the third step, as the next one fails
    worker_->submit(model, ask(testing::kFailAtThirdStep), broken.sink());
    worker_->submit(model, ask(1, 2), behind.sink());
  });
  EXPECT_EQ(std::get<FailedEvent>(broken.last()).kind, ErrorKind::memory);
  EXPECT_EQ(std::get<FailedEvent>(behind.last()).kind, ErrorKind::memory);
  EXPECT_EQ(reason_of(before.last()), FinishReason::length);
  EXPECT_EQ(before.count(), 4);  // prefill, two tokens, Done
}

TEST_F(WorkerTest, CancellingAllOfThemAtOnceLeavesNone) {
  const auto model = worker_->load(ModelKind::text, "m");
  std::vector<Recorder> recorders(5);
  std::vector<Ticket> tickets;
  for (auto& recorder : recorders) tickets.push_back(worker_->submit(model, ask(testing::kEndless), recorder.sink()));
  for (auto& recorder : recorders) recorder.wait_for_tokens(1);
  for (auto& ticket : tickets) ticket.cancel();
  for (auto& recorder : recorders) EXPECT_EQ(reason_of(recorder.last()), FinishReason::cancelled);
  worker_->device();
  worker_->device();
  EXPECT_EQ(counters_->sequences, 0);
}

TEST_F(WorkerTest, TheDestructorCancelsWhatRuns) {
  const auto model = worker_->load(ModelKind::text, "m");
  Recorder running, queued;
  worker_->submit(model, ask(testing::kEndless), running.sink());
  running.wait_for_tokens(2);
  worker_->submit(model, ask(testing::kEndless), queued.sink());
  worker_.reset();
  EXPECT_EQ(reason_of(running.last()), FinishReason::cancelled);
  EXPECT_EQ(reason_of(queued.last()), FinishReason::cancelled);
}

TEST_F(WorkerTest, AModelIsUnloadedOnceItsLastHandleAndRequestAreGone) {
  auto model = worker_->load(ModelKind::text, "m");
  Recorder recorder;
  Ticket ticket = worker_->submit(model, ask(testing::kEndless), recorder.sink());
  recorder.wait_for_tokens(1);
  model.reset();
  recorder.wait_for_tokens(recorder.tokens().size() + 3);  // the request holds it
  EXPECT_EQ(counters_->models, 1);
  ticket.cancel();
  recorder.last();
  worker_->device();  // tasks posted before this have run now, the unloading at the latest with the next
  worker_->device();
  EXPECT_EQ(counters_->models, 0);
}

TEST_F(WorkerTest, AHandleMayOutliveTheWorker) {
  const auto model = worker_->load(ModelKind::text, "m");
  worker_.reset();
  EXPECT_EQ(model->facts().model_type, "fake");
  EXPECT_EQ(counters_->models, 0);
}

TEST_F(WorkerTest, RestsOnceWhenNothingIsAskedForAndNotWhileItWorks) {
  worker_ = std::make_unique<Worker>([counters = counters_] { return std::make_unique<FakeBackend>(counters); },
                                     WorkerLimits{.rest_after = std::chrono::milliseconds(1)});
  const auto rests = [&](int count) {
    while (counters_->rests < count) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  rests(1);
  const auto model = worker_->load(ModelKind::text, "m");
  rests(2);
  Recorder recorder;
  Ticket ticket = worker_->submit(model, ask(testing::kEndless), recorder.sink());
  recorder.wait_for_tokens(1);
  EXPECT_EQ(counters_->rests, 2);
  recorder.wait_for_tokens(1000);
  EXPECT_EQ(counters_->rests, 2);
  ticket.cancel();
  recorder.last();
  rests(3);
}

TEST_F(WorkerTest, ManyThreadsLoadSubmitAndCancel) {
  std::vector<std::thread> threads;
  std::atomic<int> answered{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 30; ++i) {
        const auto model = worker_->load(ModelKind::text, "m");  // each with an address that was another's a moment ago
        Recorder full, cancelled;
        worker_->submit(model, ask(t, 4), full.sink());
        Ticket ticket = worker_->submit(model, ask(testing::kEndless), cancelled.sink());
        ticket.cancel();
        const Event done = full.last(), ended = cancelled.last();
        if (std::holds_alternative<DoneEvent>(done) && full.tokens() == std::vector<int32_t>{0, 1, 2, 3} &&
            std::holds_alternative<DoneEvent>(ended) && reason_of(ended) == FinishReason::cancelled) {
          ++answered;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(answered, 8 * 30);
}

}  // namespace
}  // namespace mlxk

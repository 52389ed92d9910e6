#include "run/chat_session.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {
namespace {

/// Feeds `input` to a session whose model answers "reply N" after "thoughts".
struct Talk {
  std::string out, err;
  std::vector<Json> asked;
  int code = -1;

  explicit Talk(const std::string& input, const std::string& system = "", int fail_at = -1,
                const Error& failure = Error(ErrorKind::invalid, "too long")) {
    std::istringstream stream(input);
    const auto lines = make_plain_lines(stream);
    ChatIo io{*lines, [&](const std::string& text) { out += text; }, [&](const std::string& text) { err += text; },
              [&](const Json& messages) {
                asked.push_back(messages);
                const int number = static_cast<int>(asked.size());
                if (number == fail_at) throw failure;
                GeneratedAnswer answer;
                answer.answer = "reply " + std::to_string(number);
                answer.reasoning = "thoughts";
                answer.usage = {.prompt_tokens = 10, .completion_tokens = 5};
                return answer;
              }};
    code = ChatSession(std::move(io), system).run();
  }
};

TEST(ChatSession, KeepsTheConversationAndEndsAtEndOfInput) {
  const Talk talk("one\n\ntwo\n", "be brief");
  EXPECT_EQ(talk.code, 0);
  ASSERT_EQ(talk.asked.size(), 2u);
  EXPECT_EQ(talk.asked[1], Json::parse(R"([{"role":"system","content":"be brief"},{"role":"user","content":"one"},
      {"role":"assistant","content":"reply 1"},{"role":"user","content":"two"}])"));
  EXPECT_NE(talk.out.find("Starting interactive chat. Type 'exit' or 'quit' to end.\n/help lists the commands.\n\n"),
            std::string::npos);
  EXPECT_NE(talk.out.find("Goodbye!"), std::string::npos);
}

TEST(ChatSession, LeavesAtAFarewell) {
  for (const char* word : {"exit", "QUIT", "q", "/exit"}) {
    const Talk talk(std::string(word) + "\nmore\n");
    EXPECT_EQ(talk.asked.size(), 0u) << word;
    EXPECT_NE(talk.out.find("Goodbye!"), std::string::npos);
  }
}

TEST(ChatSession, ReadsMessagesOfSeveralLines) {
  const Talk talk("first \\\nsecond\n\"\"\"\na\n\nb\n\"\"\"\n//etc is a path\n");
  ASSERT_EQ(talk.asked.size(), 3u);
  EXPECT_EQ(talk.asked[0].back()["content"], "first \nsecond");
  EXPECT_EQ(talk.asked[1].back()["content"], "a\n\nb");
  EXPECT_EQ(talk.asked[2].back()["content"], "/etc is a path");
}

TEST(ChatSession, GoesOnAfterAnError) {
  const Talk talk("one\ntwo\n/nonsense\n\xFF\nthree\n", "", 1);
  EXPECT_NE(talk.err.find("[ERROR] too long"), std::string::npos);
  EXPECT_NE(talk.err.find("[ERROR] unknown command /nonsense"), std::string::npos);
  EXPECT_NE(talk.err.find("[ERROR] the message is not UTF-8 text"), std::string::npos);
  ASSERT_EQ(talk.asked.size(), 3u);
  EXPECT_EQ(talk.asked[1].size(), 1u) << "a message without an answer stays in the conversation";
  EXPECT_EQ(talk.asked[2].back()["content"], "three");
}

TEST(ChatSession, GoesOnAfterAnInterruptBeforeTheAnswer) {
  const Talk talk("one\ntwo\n", "", 1, Error(ErrorKind::cancelled, "interrupted"));
  EXPECT_EQ(talk.err, "[Generation interrupted by user]\n");
  ASSERT_EQ(talk.asked.size(), 2u);
  EXPECT_EQ(talk.asked[1].size(), 1u);
}

TEST(ChatSession, RegeneratesClearsAndSetsTheSystemPrompt) {
  const Talk talk("one\n/regenerate\n/system be kind\n/clear\ntwo\n/stats\n/help\n/regenerate now\n");
  ASSERT_EQ(talk.asked.size(), 4u);
  EXPECT_EQ(talk.asked[1], talk.asked[0]);
  EXPECT_EQ(talk.asked[2], Json::parse(R"([{"role":"system","content":"be kind"},{"role":"user","content":"two"}])"));
  EXPECT_NE(talk.out.find("3 answers, 30 prompt tokens, 15 answer tokens"), std::string::npos);
  EXPECT_NE(talk.out.find("/regenerate"), std::string::npos);
  EXPECT_NE(Talk("/regenerate\n").err.find("no message"), std::string::npos);
}

TEST(ChatSession, KeepsTheOldAnswerWhenRegeneratingFails) {
  const Talk talk("one\n/regenerate\ntwo\n", "", 2);
  ASSERT_EQ(talk.asked.size(), 3u);
  EXPECT_EQ(talk.asked[2], Json::parse(R"([{"role":"user","content":"one"},{"role":"assistant","content":"reply 1"},
      {"role":"user","content":"two"}])"));
}

TEST(ChatSession, SavesTheConversationOnce) {
  const fs::path file = fs::temp_directory_path() / "mlxk_chat_test.md";
  fs::remove(file);
  const Talk talk("one\n/save " + file.string() + "\n/save " + file.string() + "\n/save\n");
  EXPECT_EQ(read_file(file), "## User\n\none\n\n## Assistant\n\nreply 1\n\n");
  EXPECT_NE(talk.err.find("exists"), std::string::npos);
  EXPECT_NE(talk.err.find("/save needs a file name"), std::string::npos);
  fs::remove(file);
}

/// Key presses of a person, one after the other.
struct Keys : LineSource {
  std::vector<std::pair<Result, std::string>> keys;
  std::vector<std::string> remembered;
  size_t at = 0;
  Result read(const std::string&, std::string& line) override {
    if (at == keys.size()) return Result::end;
    line = keys[at].second;
    return keys[at++].first;
  }
  void remember(const std::string& message) override { remembered.push_back(message); }
};

struct Typed {
  Keys keys;
  std::string out;
  std::vector<std::string> asked;
  int code = -1;

  explicit Typed(std::vector<std::pair<LineSource::Result, std::string>> all) {
    keys.keys = std::move(all);
    ChatIo io{keys, [&](const std::string& text) { out += text; }, [](const std::string&) {},
              [&](const Json& messages) {
                asked.push_back(messages.back()["content"]);
                return GeneratedAnswer{};
              }};
    code = ChatSession(std::move(io), "").run();
  }
};

using Result = LineSource::Result;

TEST(ChatSession, ALineThatWasClearedIsForgotten) {
  const Typed typed({{Result::cleared, ""}, {Result::line, "a \\"}, {Result::interrupted, ""}, {Result::line, "b"}});
  EXPECT_EQ(typed.asked, std::vector<std::string>{"b"});
  EXPECT_EQ(typed.code, 0);
}

TEST(ChatSession, LeavesAtTheSecondInterruptOfAnEmptyLine) {
  const Typed once({{Result::interrupted, ""},
                    {Result::line, "a"},
                    {Result::interrupted, ""},
                    {Result::cleared, ""},
                    {Result::interrupted, ""},
                    {Result::line, "b"}});
  EXPECT_EQ(once.asked, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(once.code, 0);
  EXPECT_NE(once.out.find("Press Ctrl-C again to leave."), std::string::npos);
  const Typed twice({{Result::interrupted, ""}, {Result::interrupted, ""}, {Result::line, "never"}});
  EXPECT_TRUE(twice.asked.empty());
  EXPECT_EQ(twice.code, 130);
}

TEST(ChatSession, RemembersAMessageOfSeveralLinesAsOne) {
  const Typed typed({{Result::line, "a \\"},
                     {Result::line, "b"},
                     {Result::line, "\"\"\"c"},
                     {Result::line, "d\"\"\""},
                     {Result::line, "/stats"}});
  EXPECT_EQ(typed.keys.remembered, (std::vector<std::string>{"a \nb", "c\nd", "/stats"}));
}

TEST(ChatSession, HelpIsNoWiderThanATerminal) {
  const Talk talk("/help\n");
  for (size_t at = 0; at < talk.out.size();) {
    const size_t end = std::min(talk.out.find('\n', at), talk.out.size());
    EXPECT_LE(end - at, 79u) << talk.out.substr(at, end - at);
    at = end + 1;
  }
}

TEST(HistoryPath, FollowsTheStateFolder) {
  setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(history_path(), "/state/mlxk/history");
  unsetenv("XDG_STATE_HOME");
  setenv("HOME", "/home/x", 1);
  EXPECT_EQ(history_path(), "/home/x/.local/state/mlxk/history");
}

}  // namespace
}  // namespace mlxk

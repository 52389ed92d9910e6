#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing/test_paths.h"
#include "server/openai/audio_params.h"
#include "server/testing/test_server.h"
#include "tokenizer/base64.h"

namespace mlxk {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

std::string number(uint32_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xFF);
  return text;
}

/// So many seconds of speech, 16-bit PCM at 16 kHz. (A tone is taken for noise.)
std::string wave(double seconds = 1) {
  static const std::string speech =
      read_file(std::string(test_tree::kSourceDir) + "/tests/data/speech/jfk.wav").substr(44);
  const auto size = static_cast<uint32_t>(seconds * 32000);
  std::string samples;
  while (samples.size() < size) samples += speech;
  samples.resize(size);
  return "RIFF" + number(size + 36, 4) + "WAVEfmt " + number(16, 4) + number(1, 2) + number(1, 2) + number(16000, 4) +
         number(32000, 4) + number(2, 2) + number(16, 2) + "data" + number(size, 4) + samples;
}

constexpr const char* kForm = "multipart/form-data; boundary=XX";

std::string part(const std::string& name, const std::string& value, const std::string& more = {}) {
  return "--XX\r\nContent-Disposition: form-data; name=\"" + name + "\"" + more + "\r\n\r\n" + value + "\r\n";
}

std::string form(const Fields& fields, const std::string& file = wave(), const std::string& name = "a.wav") {
  std::string body;
  for (const auto& [field, value] : fields) body += part(field, value);
  return body + part("file", file, "; filename=\"" + name + "\"") + "--XX--\r\n";
}

/// The model "ears" next to the others; one server for all tests, because reading its vocabulary takes a while.
struct AudioTest : ::testing::Test {
  struct Fixture {
    Fixture() {
      testing::write_tiny_whisper(models.home() / "workspaces" / "ears");
      testing::write_tiny_whisper(models.home() / "workspaces" / "whisper-large-v3-turbo");
    }
    testing::TinyModels models;
    testing::TestServer server;
  };
  static void SetUpTestSuite() { fixture = std::make_unique<Fixture>(); }
  static void TearDownTestSuite() { fixture.reset(); }

  std::shared_ptr<testing::FakeExchange> ask(const std::string& body,
                                             const std::string& path = "/v1/audio/transcriptions") {
    return server.ask("POST", path, body, kForm);
  }
  Json transcript(const Fields& fields, const std::string& file = wave()) {
    Fields all = {{"model", "ears"}};
    all.insert(all.end(), fields.begin(), fields.end());
    const auto exchange = ask(form(all, file));
    EXPECT_EQ(exchange->status(), 200) << exchange->body();
    return Json::parse(exchange->body());
  }
  /// Status and field at fault.
  std::string refused(const std::string& body, const std::string& path = "/v1/audio/transcriptions") {
    const auto exchange = ask(body, path);
    const Json error = Json::parse(exchange->body())["error"];
    return std::to_string(exchange->status()) + " " + error["param"].dump();
  }

  inline static std::unique_ptr<Fixture> fixture;
  testing::TestServer& server = fixture->server;
};

TEST_F(AudioTest, AnswersInEveryFormat) {
  EXPECT_EQ(transcript({}), Json::parse(R"({"text":"heard","usage":{"type":"duration","seconds":1}})"));
  const Json verbose = transcript({{"response_format", "verbose_json"}});
  EXPECT_EQ(verbose["task"], "transcribe");
  EXPECT_EQ(verbose["language"], "english");
  EXPECT_EQ(verbose["duration"], 1.0);
  ASSERT_EQ(verbose["segments"].size(), 1u);
  EXPECT_EQ(verbose["segments"][0]["text"], " heard");
  EXPECT_FALSE(verbose.contains("words"));
  for (const char* format : {"text", "srt", "vtt", "tsv", "lrc"}) {
    const auto exchange = ask(form({{"model", "ears"}, {"response_format", format}}));
    EXPECT_EQ(exchange->status(), 200);
    EXPECT_EQ(exchange->head().content_type, "text/plain; charset=utf-8");
    EXPECT_NE(exchange->body().find("heard"), std::string::npos) << exchange->body();
  }
}

TEST_F(AudioTest, GivesTheTimesThatAreAskedFor) {
  const Json words = transcript({{"response_format", "verbose_json"}, {"timestamp_granularities[]", "word"}}, wave(3));
  ASSERT_EQ(words["words"].size(), 1u) << words;
  EXPECT_EQ(words["words"][0]["word"], "heard");
  EXPECT_FALSE(words.contains("segments"));
  const Json both = transcript({{"response_format", "verbose_json"},
                                {"timestamp_granularities[]", "word"},
                                {"timestamp_granularities[]", "segment"}},
                               wave(3));
  EXPECT_TRUE(both.contains("words") && both.contains("segments"));
}

TEST_F(AudioTest, FieldsMayFollowTheFile) {
  const std::string body = part("file", wave(), "; filename=\"a.wav\"") + part("model", "ears") + "--XX--\r\n";
  EXPECT_EQ(ask(body)->status(), 200);
}

TEST_F(AudioTest, ARecordingLargerThanTheMemoryOfASpoolIsReadFromItsFile) {
  EXPECT_EQ(transcript({{"response_format", "verbose_json"}}, wave(40))["duration"], 40.0);
}

TEST_F(AudioTest, TranslatesOnlyWhereTheModelCan) {
  const auto exchange = ask(form({{"model", "ears"}, {"response_format", "verbose_json"}}), "/v1/audio/translations");
  EXPECT_EQ(Json::parse(exchange->body())["task"], "translate");
  EXPECT_EQ(refused(form({{"model", "whisper-large-v3-turbo"}}), "/v1/audio/translations"), "422 \"model\"");
}

TEST_F(AudioTest, TheListTellsWhatAModelCanDo) {
  const auto speech = [&](const std::string& model) {
    return Json::parse(server.ask("GET", "/v1/models/" + model)->body())["speech"];
  };
  const Json ears = speech("ears");
  ASSERT_EQ(ears["languages"].size(), 99U);
  EXPECT_EQ(ears["languages"][1], "zh");
  EXPECT_EQ(ears["segment_times"], true);
  EXPECT_EQ(ears["word_times"], true);
  EXPECT_EQ(ears["translation"], true);
  EXPECT_EQ(ears["diarization"], false);
  EXPECT_EQ(speech("whisper-large-v3-turbo")["translation"], false);
}

TEST_F(AudioTest, StreamsWhatItHears) {
  const auto exchange = ask(form({{"model", "ears"}, {"stream", "true"}}));
  EXPECT_EQ(exchange->head().content_type, "text/event-stream; charset=utf-8");
  const std::string body = exchange->body();
  EXPECT_EQ(body.find(R"(data: {"type":"transcript.text.delta","delta":"heard"})"), 0u) << body;
  EXPECT_NE(
      body.find(R"(data: {"type":"transcript.text.done","text":"heard","usage":{"type":"tokens","input_tokens":50,)"),
      std::string::npos);
  EXPECT_TRUE(body.ends_with("data: [DONE]\n\n"));
  const auto timed = ask(form({{"model", "ears"}, {"stream", "true"}, {"response_format", "verbose_json"}}));
  EXPECT_NE(timed->body().find(R"({"type":"transcript.text.segment","id":"seg_0","start":0.0,"end":)"),
            std::string::npos)
      << timed->body();
}

TEST_F(AudioTest, RefusesByName) {
  const Fields model = {{"model", "ears"}};
  const auto with = [&](const std::string& name, const std::string& value) {
    return refused(form({{"model", "ears"}, {name, value}}));
  };
  EXPECT_EQ(refused(form({})), "400 \"model\"");
  EXPECT_EQ(refused(part("model", "ears") + "--XX--\r\n"), "400 \"file\"");
  EXPECT_EQ(refused(form(model, "")), "400 \"file\"");
  EXPECT_EQ(refused(form({{"model", "nobody/nothing"}})), "404 null");
  EXPECT_EQ(refused(form({{"model", "tiny"}})), "400 \"model\"");
  EXPECT_EQ(with("model", "ears"), "400 \"model\"");
  EXPECT_EQ(with("response_format", "docx"), "400 \"response_format\"");
  EXPECT_EQ(with("temperature", "1.5"), "400 \"temperature\"");
  EXPECT_EQ(with("temperature", "nan"), "400 \"temperature\"");
  EXPECT_EQ(with("language", "klingon"), "400 \"language\"");
  EXPECT_EQ(with("languages[]", "klingon"), "400 \"languages\"");
  EXPECT_EQ(with("to_language", "klingon"), "400 \"to_language\"");
  EXPECT_EQ(with("to_language", "de"), "400 \"to_language\"");  // a Whisper's translations are English
  EXPECT_EQ(with("beam_size", "65"), "400 \"beam_size\"");
  EXPECT_EQ(with("stream", "maybe"), "400 \"stream\"");
  EXPECT_EQ(with("include[]", "logprobs"), "400 \"include\"");
  EXPECT_EQ(with("chunking_strategy", "sometimes"), "400 \"chunking_strategy\"");
  EXPECT_EQ(with("chunking_strategy[type]", "semantic"), "400 \"chunking_strategy.type\"");
  EXPECT_EQ(with("chunking_strategy[threshold]", "0.5"), "400 \"chunking_strategy.type\"");
  EXPECT_EQ(with("n", "2"), "400 \"n\"");
  EXPECT_EQ(with("use_beam_search", "true"), "400 \"use_beam_search\"");
  EXPECT_EQ(with("known_speaker_names[]", "Ann"), "400 \"known_speaker_names\"");
  EXPECT_EQ(with("clip_timestamps", "1,x"), "400 \"clip_timestamps\"");
  EXPECT_EQ(with("timestamp_granularities[]", "word"), "400 \"timestamp_granularities\"");
  EXPECT_EQ(refused(form({{"model", "ears"}, {"stream", "true"}, {"response_format", "srt"}})), "400 \"stream\"");
  EXPECT_EQ(server.ask("POST", "/v1/audio/transcriptions", "{}")->status(), 415);
  EXPECT_EQ(server.ask("POST", "/v1/audio/transcriptions", "x", "multipart/form-data")->status(), 400);
  EXPECT_EQ(server.post("/v1/chat/completions", {{"model", "ears"}, {"messages", testing::user("hello")}},
                        400)["error"]["type"],
            "validation_error");
}

TEST_F(AudioTest, TakesWhatClientsSend) {
  const auto status = [&](const Fields& more) {
    Fields fields = {{"model", "ears"}};
    fields.insert(fields.end(), more.begin(), more.end());
    return ask(form(fields))->status();
  };
  EXPECT_EQ(status({{"chunking_strategy", "auto"}}), 200);
  EXPECT_EQ(status({{"chunking_strategy", R"({"type":"server_vad","threshold":0.5})"}}), 200);
  EXPECT_EQ(status({{"chunking_strategy[type]", "server_vad"},
                    {"chunking_strategy[prefix_padding_ms]", "300"},
                    {"chunking_strategy[threshold]", "0.5"}}),
            200);
  EXPECT_EQ(status({{"n", "1"}, {"use_beam_search", "False"}, {"top_k", "-1"}, {"repetition_penalty", "1.0"}}), 200);
  const std::string file = part("file", wave(), "; filename=\"/home/me/talk.wav\"");
  EXPECT_EQ(ask(part("model", "ears") + file + "--XX--\r\n")->status(), 200);
}

TEST_F(AudioTest, BrokenFormsAndRecordingsAreTheRequestsFault) {
  const std::string model = part("model", "ears");
  const std::string file = part("file", wave(), "; filename=\"a.wav\"");
  EXPECT_EQ(refused("nothing of a form"), "400 null");
  EXPECT_EQ(refused(""), "400 null");
  EXPECT_EQ(refused(model + file), "400 null") << "cut off";
  EXPECT_EQ(refused(model + file + file + "--XX--\r\n"), "400 \"file\"");
  EXPECT_EQ(refused(model + part("other", wave(), "; filename=\"a.wav\"") + "--XX--\r\n"), "400 \"other\"");
  std::string many;
  for (int i = 0; i < 100; ++i) many += part("x", "y");
  EXPECT_EQ(refused(many + file + "--XX--\r\n"), "400 null");
  EXPECT_EQ(refused(part("prompt", std::string(300'000, 'x')) + model + file + "--XX--\r\n"), "400 \"prompt\"");
  const std::string whole = wave();
  for (const std::string& broken :
       {whole.substr(0, 30), whole.substr(0, 2000), whole.substr(0, 44), std::string(5000, 'x')}) {
    EXPECT_EQ(refused(form({{"model", "ears"}}, broken)), "400 \"file\"");
  }
  std::string lying = whole;  // as recorders do that write into a pipe
  lying.replace(40, 4, number(0x7FFFFFF0, 4));
  EXPECT_EQ(ask(form({{"model", "ears"}}, lying))->status(), 200);
}

TEST_F(AudioTest, AChatWithARecordingIsAnsweredWithItsTranscript) {
  const auto chat = [](const std::string& data, const Json& more = Json::object()) {
    Json body = {{"model", "ears"},
                 {"messages",
                  {{{"role", "system"}, {"content", "You hear."}},
                   {{"role", "user"},
                    {"content",
                     {{{"type", "text"}, {"text", "Names."}},
                      {{"type", "input_audio"}, {"input_audio", {{"data", data}, {"format", "wav"}}}}}}}}}};
    body.update(more);
    return body;
  };
  const std::string sound = base64_encode(wave());
  const Json answer = server.post("/v1/chat/completions", chat(sound));
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "heard");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_GT(answer["usage"]["prompt_tokens"], 50) << "the sound's and the text's";
  const auto exchange = server.ask("POST", "/v1/chat/completions", dump_json(chat(sound, {{"stream", true}})));
  const auto choices = testing::assemble(exchange->body());
  ASSERT_EQ(choices.size(), 1u);
  EXPECT_EQ(choices[0].content, "heard");
  EXPECT_EQ(choices[0].finish_reason, "stop");
  const auto param = [&](const Json& body) {
    return server.post("/v1/chat/completions", body, 400)["error"]["param"].dump();
  };
  EXPECT_EQ(param(chat(sound, {{"n", 2}})), "\"n\"");
  EXPECT_EQ(param(chat(sound, {{"logprobs", true}})), "\"logprobs\"");
  EXPECT_EQ(param(chat(base64_encode("no sound"))), "\"messages[1].content[1].input_audio.data\"");
  EXPECT_EQ(param(chat(sound, {{"model", "tiny"}})), "null");
}

TEST(AudioLimits, AreToldByNumber) {
  testing::TinyModels models;
  testing::write_tiny_whisper(models.home() / "workspaces" / "ears");
  ServerOptions options;
  options.audio_limit = 20'000;
  testing::TestServer server({}, options);
  EXPECT_EQ(server.ask("POST", "/v1/audio/transcriptions", form({{"model", "ears"}}), kForm)->status(), 413);
  options = {};
  options.upload_room = 20'000;
  testing::TestServer small({}, options);
  const auto exchange = small.ask("POST", "/v1/audio/transcriptions", form({{"model", "ears"}}), kForm);
  EXPECT_EQ(exchange->status(), 503);
  EXPECT_TRUE(exchange->head().headers.find("retry-after"));
  EXPECT_EQ(small.ask("POST", "/v1/audio/transcriptions", form({{"model", "ears"}}, wave(0.5)), kForm)->status(), 200)
      << "it was given back";
}

TEST(AudioLimits, RecordingsThatWaitAreBounded) {
  testing::TinyModels models;
  testing::write_tiny_whisper(models.home() / "workspaces" / "ears");
  ServerOptions options;
  options.transcription_threads = 1;
  options.max_recordings = 1;
  testing::FakeEngineOptions engine;
  engine.step = std::chrono::milliseconds(50);
  testing::TestServer server(engine, options);
  std::vector<std::shared_ptr<testing::FakeExchange>> asked;
  for (int i = 0; i < 6; ++i)
    asked.push_back(server.start("POST", "/v1/audio/transcriptions", form({{"model", "ears"}}), kForm));
  int done = 0, refused = 0;
  for (const auto& exchange : asked) {
    ASSERT_TRUE(exchange->wait());
    done += exchange->status() == 200 ? 1 : 0;
    refused += exchange->status() == 429 && exchange->head().headers.find("retry-after") ? 1 : 0;
  }
  EXPECT_EQ(done + refused, 6);
  EXPECT_GE(done, 1);
  EXPECT_GE(refused, 3);
}

TEST(AudioLimits, AClientThatGoesAndADeadlineEndATranscription) {
  testing::TinyModels models;
  testing::write_tiny_whisper(models.home() / "workspaces" / "ears");
  ServerOptions options;
  options.transcription_threads = 1;
  testing::FakeEngineOptions engine;
  engine.step = std::chrono::milliseconds(50);
  testing::TestServer server(engine, options);
  const auto gone =
      server.start("POST", "/v1/audio/transcriptions", form({{"model", "ears"}, {"stream", "true"}}, wave(120)), kForm);
  ASSERT_TRUE(gone->wait_for_text("delta"));
  gone->disconnect();
  EXPECT_EQ(server.ask("POST", "/v1/audio/transcriptions", form({{"model", "ears"}}), kForm)->status(), 200);
  const auto late = server.ask("POST", "/v1/audio/transcriptions",
                               form({{"model", "ears"}, {"deadline_ms", "200"}}, wave(120)), kForm);
  EXPECT_EQ(late->status(), 504);
}

}  // namespace
}  // namespace mlxk

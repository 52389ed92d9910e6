#include "policy/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <ostream>
#include <tuple>

namespace mlxk {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kGiB = uint64_t{1} << 30;
const BuiltIn kBuilt({{ModelKind::text, "llama"},
                      {ModelKind::text, "qwen3"},
                      {ModelKind::vision, "seer"},
                      {ModelKind::audio, "seer"},
                      {ModelKind::audio, "listener"},
                      {ModelKind::speech, "whisper"},
                      {ModelKind::embedding, "bert"}});

ModelInfo text_model() {
  ModelInfo m;
  m.ref.name = "org/m";
  m.model_type = "llama";
  m.weight_bytes = kGiB;
  m.config_valid = m.healthy = true;
  m.text.ok = true;
  return m;
}
ModelInfo vision_model() {
  ModelInfo m = text_model();
  m.model_type = "seer";
  m.is_vision = m.vision.ok = true;
  return m;
}
ModelInfo speech_model() {
  ModelInfo m = text_model();
  m.model_type = "whisper";
  m.is_audio = m.audio.ok = true;
  m.audio_backend = AudioBackend::stt;
  m.text = {false, "speech"};
  return m;
}
ModelInfo encoder(EncoderTask task) {
  ModelInfo m = text_model();
  m.model_type = "bert";
  m.encoder_task = task;
  m.is_embedding = m.embedding.ok = true;
  m.text = {false, "the model generates no text"};
  return m;
}
ModelInfo hearing_vision_model() {
  ModelInfo m = vision_model();
  m.is_audio = m.audio.ok = true;
  m.audio_backend = AudioBackend::multimodal;
  return m;
}
ModelInfo hearing_model() {
  ModelInfo m = text_model();
  m.model_type = "listener";
  m.is_audio = m.audio.ok = true;
  m.audio_backend = AudioBackend::multimodal;
  return m;
}
ModelInfo with(ModelInfo model, const std::function<void(ModelInfo&)>& change) {
  change(model);
  return model;
}

const Machine kRoomy{16 * kGiB, 15 * kGiB, "system"};
const Machine kTight{kGiB, 0, "system"};  // 1 GiB is more than 70 % of it

struct Row {
  const char* name;  // the row of the table
  ModelInfo model;
  Machine machine;
  bool images, audio;
  Decision::Kind kind;
  Route route;
  int status;
  const char* type;
  const char* message;                   // on the CLI; a part of it
  const char* server_message = nullptr;  // where it differs
};

constexpr auto kAllow = Decision::Kind::allow, kWarn = Decision::Kind::warn, kBlock = Decision::Kind::block;

std::vector<Row> table() {
  const auto unbuilt = [](ModelInfo& m) { m.model_type = "novel"; };
  const auto broken = [](ModelInfo& m) { m.text = m.vision = m.audio = {false, "shards are missing"}; };
  return {
      {"0a_audio_to_text_model", text_model(), kRoomy, false, true, kBlock, Route::none, 400, "capability_mismatch",
       "Model 'org/m' does not support audio inputs (no audio capability detected)"},
      {"0a_audio_beside_images_is_not_dropped", vision_model(), kRoomy, true, true, kBlock, Route::none, 400,
       "capability_mismatch", "does not support audio inputs"},
      {"0b_speech_not_built_in", with(speech_model(), unbuilt), kRoomy, false, true, kBlock, Route::none, 501,
       "missing_dependency",
       "Speech model type 'novel' of 'org/m' is not built in; `mlxk list --architectures` lists what is."},
      {"0b_speech_broken", with(speech_model(), broken), kRoomy, false, true, kBlock, Route::none, 501,
       "runtime_incompatible", "Model 'org/m' is not compatible: shards are missing"},
      {"0c_speech", speech_model(), kRoomy, false, true, kAllow, Route::speech, 200, "", ""},
      {"0c_speech_too_large", speech_model(), kTight, false, true, kBlock, Route::none, 507, "insufficient_memory",
       "Model size (1.0 GB) exceeds 70% of system memory (1.0 GB). Speech models"},
      {"0d_unknown_audio", with(speech_model(), [](ModelInfo& m) { m.audio_backend = AudioBackend::unknown; }), kRoomy,
       false, true, kBlock, Route::none, 501, "unknown_audio_backend", "Unknown audio model type for 'org/m'"},
      {"0d_no_audio_backend", with(speech_model(), [](ModelInfo& m) { m.audio_backend = AudioBackend::none; }), kRoomy,
       false, true, kBlock, Route::none, 501, "unknown_audio_backend", "Unknown audio model type for 'org/m'"},
      {"1a_images_to_text_model", text_model(), kRoomy, true, false, kBlock, Route::none, 400, "capability_mismatch",
       "Model 'org/m' does not support vision inputs (no vision capability detected)"},
      {"1a_images_to_speech_model", speech_model(), kRoomy, true, false, kBlock, Route::none, 400,
       "capability_mismatch", "does not support vision inputs"},
      {"1a_images_and_audio_to_vision_speech_model",
       with(speech_model(), [](ModelInfo& m) { m.is_vision = m.vision.ok = true; }), kRoomy, true, true, kBlock,
       Route::none, 400, "capability_mismatch", "does not support images and audio in one request"},
      {"1c_vision_not_built_in", with(vision_model(), unbuilt), kRoomy, true, false, kBlock, Route::none, 501,
       "missing_dependency",
       "Vision model type 'novel' of 'org/m' is not built in; `mlxk list --architectures` lists what is."},
      {"1c_vision_broken", with(vision_model(), broken), kRoomy, true, false, kBlock, Route::none, 501,
       "runtime_incompatible", "Model 'org/m' is not compatible: shards are missing"},
      {"1d_vision_too_large", vision_model(), kTight, true, false, kBlock, Route::none, 507, "insufficient_memory",
       "Model size (1.0 GB) exceeds 70% of system memory (1.0 GB). Vision models crash"},
      {"1e_vision", vision_model(), kRoomy, true, false, kAllow, Route::vision, 200, "", ""},
      {"1e_audio_of_multimodal_model", hearing_vision_model(), kRoomy, false, true, kAllow, Route::vision, 200, "", ""},
      {"1e_audio", hearing_model(), kRoomy, false, true, kAllow, Route::vision, 200, "", ""},
      {"1c_audio_not_built_in", with(hearing_model(), unbuilt), kRoomy, false, true, kBlock, Route::none, 501,
       "missing_dependency",
       "Audio model type 'novel' of 'org/m' is not built in; `mlxk list --architectures` lists what is."},
      {"1c_audio_of_a_vision_model_not_built_in",
       with(hearing_vision_model(), [](ModelInfo& m) { m.audio = {false, "no audio"}; }), kRoomy, true, true, kBlock,
       Route::none, 501, "runtime_incompatible", "Model 'org/m' is not compatible: no audio"},
      {"1d_audio_too_large", hearing_model(), kTight, false, true, kBlock, Route::none, 507, "insufficient_memory",
       "Model size (1.0 GB) exceeds 70% of system memory (1.0 GB). Audio models need"},
      {"1a_images_to_audio_model", hearing_model(), kRoomy, true, true, kBlock, Route::none, 400, "capability_mismatch",
       "does not support vision inputs"},
      {"2_text_to_audio_model", hearing_model(), kTight, false, false, kWarn, Route::text, 200, "",
       "Expect extreme slowness"},
      {"1e_images_and_audio", hearing_vision_model(), kRoomy, true, true, kAllow, Route::vision, 200, "", ""},
      {"1e_without_text_engine", with(vision_model(), [](ModelInfo& m) { m.text = {false, "no"}; }), kRoomy, true,
       false, kAllow, Route::vision, 200, "", ""},
      {"2_text_to_vision_model_takes_text_engine", vision_model(), kTight, false, false, kWarn, Route::text, 200, "",
       "Expect extreme slowness"},
      {"2_text_to_vision_only_model", with(vision_model(), unbuilt), kRoomy, false, false, kBlock, Route::none, 501,
       "missing_dependency",
       "Text model type 'novel' of 'org/m' is not built in; `mlxk list --architectures` lists what is."},
      {"2_text_to_a_model_that_needs_an_image", with(vision_model(), [](ModelInfo& m) { m.needs_image = true; }),
       kTight, false, false, kBlock, Route::none, 400, "capability_mismatch",
       "Model 'org/m' needs an image. Use `--image FILE`.", "needs an image. Add an `image_url` part to a message."},
      {"2_text_not_built_in", with(text_model(), unbuilt), kRoomy, false, false, kBlock, Route::none, 501,
       "missing_dependency", "Text model type 'novel'"},
      {"3_text_broken", with(text_model(), broken), kRoomy, false, false, kBlock, Route::none, 501,
       "runtime_incompatible", "Model 'org/m' is not compatible: shards are missing"},
      {"3_files_broken",
       with(text_model(),
            [](ModelInfo& m) {
              m.healthy = false;
              m.text = {false, "model.safetensors: truncated"};
            }),
       kRoomy, false, false, kBlock, Route::none, 500, "runtime_incompatible",
       "Model 'org/m' is not compatible: model.safetensors: truncated"},
      {"3_no_model_type",
       with(text_model(),
            [](ModelInfo& m) {
              m.model_type = "";
              m.text = {false, "config.json missing model_type field"};
            }),
       kRoomy, false, false, kBlock, Route::none, 501, "runtime_incompatible", "config.json missing model_type field"},
      {"embedding_model_is_no_text_model", with(text_model(), [](ModelInfo& m) { m.is_embedding = true; }), kRoomy,
       false, false, kBlock, Route::none, 400, "capability_mismatch",
       "Model 'org/m' is an embedding model and generates no text. Use `mlxk embed`.", "Use /v1/embeddings."},
      {"reranker_is_no_text_model", encoder(EncoderTask::rerank), kRoomy, false, false, kBlock, Route::none, 400,
       "capability_mismatch", "is a reranker and generates no text. Use `mlxk rerank`.", "Use /v1/rerank."},
      {"text_to_speech_model", speech_model(), kRoomy, false, false, kBlock, Route::none, 400, "capability_mismatch",
       "is audio-only (STT). Use `--audio FILE` for transcription.", "Use /v1/audio/transcriptions"},
      {"4_text_too_large", text_model(), kTight, false, false, kWarn, Route::text, 200, "",
       "Model size (1.0 GB) exceeds 70% of system memory (1.0 GB). Expect extreme slowness due to swapping."},
      {"4_text_not_enough_free", text_model(), Machine{16 * kGiB, kGiB / 2, "GPU"}, false, false, kWarn, Route::text,
       200, "", "Model size (1.0 GB) exceeds the GPU memory that is free now (0.5 GB)."},
      {"5_text", text_model(), kRoomy, false, false, kAllow, Route::text, 200, "", ""},
  };
}

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class PolicyTable : public ::testing::TestWithParam<std::tuple<Row, Context>> {};

TEST_P(PolicyTable, Row) {
  const auto& [row, context] = GetParam();
  const Decision d = decide(row.model, row.machine, {context, row.images, row.audio}, kBuilt);
  EXPECT_EQ(d.kind, row.kind);
  EXPECT_EQ(d.route, row.route);
  EXPECT_EQ(d.http_status, row.status);
  EXPECT_EQ(d.error_type, row.type);
  const bool server = context == Context::server && row.server_message != nullptr;
  const std::string part = server ? row.server_message : row.message;
  EXPECT_THAT(d.message, HasSubstr(part));
  EXPECT_EQ(d.message.empty(), part.empty());
}

std::string row_name(const ::testing::TestParamInfo<std::tuple<Row, Context>>& info) {
  return std::string("row_") + std::get<Row>(info.param).name +
         (std::get<Context>(info.param) == Context::cli ? "_cli" : "_server");
}

INSTANTIATE_TEST_SUITE_P(Every, PolicyTable,
                         ::testing::Combine(::testing::ValuesIn(table()),
                                            ::testing::Values(Context::cli, Context::server)),
                         row_name);

TEST(Policy, SaysWhatAModelOfTextsGives) {
  constexpr auto kEmbed = EncoderTask::embed, kRerank = EncoderTask::rerank, kClassify = EncoderTask::classify;
  struct EncodingRow {
    ModelInfo model;
    EncoderTask asked;
    Machine machine;
    int status;
    const char* message;
  };
  const auto novel = [](ModelInfo& m) { m.model_type = "novel"; };
  const auto broken = [](ModelInfo& m) { m.embedding = {false, "module X is not built in"}; };
  const std::vector<EncodingRow> rows = {
      {encoder(kEmbed), kEmbed, kRoomy, 200, ""},
      {encoder(kRerank), kRerank, kRoomy, 200, ""},
      {encoder(kRerank), kClassify, kRoomy, 200, ""},
      {encoder(kClassify), kClassify, kRoomy, 200, ""},
      {text_model(), kEmbed, kRoomy, 400, "Model 'org/m' is not an embedding model (it generates text)."},
      {speech_model(), kRerank, kRoomy, 400, "Model 'org/m' is not a reranker (it is a speech model)."},
      {encoder(kEmbed), kRerank, kRoomy, 400, "Model 'org/m' is an embedding model. Use `mlxk embed`."},
      {encoder(kRerank), kEmbed, kRoomy, 400, "Model 'org/m' is a reranker. Use `mlxk rerank`."},
      {encoder(kClassify), kRerank, kRoomy, 400, "Model 'org/m' is a classifier. Use"},
      {with(encoder(kEmbed), novel), kEmbed, kRoomy, 501, "Embedding model type 'novel' of 'org/m' is not built in"},
      {with(encoder(kEmbed), broken), kEmbed, kRoomy, 501, "module X is not built in"},
      {encoder(kEmbed), kEmbed, kTight, 507, "Model size (1.0 GB) exceeds 70% of system memory (1.0 GB). Embedding"},
  };
  for (const EncodingRow& row : rows) {
    const Decision d = decide(row.model, row.machine, {.encodes = row.asked}, kBuilt);
    EXPECT_EQ(d.http_status, row.status) << d.message;
    EXPECT_EQ(d.route, row.status == 200 ? Route::embedding : Route::none) << d.message;
    EXPECT_THAT(d.message, HasSubstr(row.message));
  }
}

TEST(Policy, TheGateIsAboveSeventyPercentAndOffWhereASizeIsUnknown) {
  ModelInfo model = vision_model();
  const auto status = [&](uint64_t bytes, uint64_t memory) {
    model.weight_bytes = bytes;
    return decide(model, {memory, 0, "system"}, {Context::cli, true, false}, kBuilt).http_status;
  };
  EXPECT_EQ(status(70, 100), 200);
  EXPECT_EQ(status(71, 100), 507);
  EXPECT_EQ(status(71, 0), 200);
  EXPECT_EQ(status(0, 100), 200);
  model.size_bytes = 71;  // weights unknown: all files count
  EXPECT_EQ(status(0, 100), 507);
  EXPECT_EQ(status(~uint64_t{0}, ~uint64_t{0} / 2), 507);
}

}  // namespace
}  // namespace mlxk

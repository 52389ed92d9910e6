// The memory that admission expects for images against what libmlx allocates for them, for each family's tiny model.
#include "backend/media_memory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mlx/memory.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "backend/generation.h"
#include "backend/media_cache.h"
#include "backend/media_prompt.h"
#include "backend/testing/runs.h"
#include "models/load.h"
#include "models/testing/golden_model.h"
#include "models/testing/vision_prompt.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

const fs::path kCases = fs::path(test_tree::kTestData) / "vision_models";

std::unique_ptr<Model> load(const Json& json) {
  const fs::path folder = golden::write_case(json, golden::temp_folder("backend_media_memory"));
  auto model = load_multimodal_model(folder);
  fs::remove_all(folder);
  return model;
}

/// A recorded prompt, `times` over.
GenerateRequest recorded(const Json& json, size_t i, int times = 1) {
  GenerateRequest request = ask(1, 100, 12, 1);
  request.prompt.clear();
  const Json& prompt = json["prompts"][i];
  for (int time = 0; time < times; ++time) {
    const auto begin = static_cast<int64_t>(request.prompt.size());
    for (const int32_t id : prompt["ids"].get<std::vector<int32_t>>()) request.prompt.push_back(id);
    for (const Json& item : prompt["items"]) {
      Json image = json["images"][item["image"].get<size_t>()];
      image["name"] = fmt::format("{} {}", image["name"].get<std::string>(), time);
      request.media.push_back({begin + item["begin"].get<int64_t>(), begin + item["end"].get<int64_t>(),
                               item.value("placeholder", json["placeholder"].get<int32_t>()),
                               with_digest(golden::pixels(image))});
    }
  }
  return request;
}

/// The most bytes that libmlx had allocated at once while the request's images were encoded.
uint64_t allocated(const Model& model, const GenerateRequest& request) {
  mx::clear_cache();
  const size_t before = mx::get_active_memory();
  mx::reset_peak_memory();
  MediaPrompt prompt(model, request);
  MediaCache cache(uint64_t{1} << 30);
  while (prompt.encode_next(0, static_cast<int64_t>(request.prompt.size()), cache)) {
  }
  return mx::get_peak_memory() - std::min(before, mx::get_peak_memory());
}

class MediaMemoryOf : public testing::TestWithParam<std::string> {};

TEST_P(MediaMemoryOf, AFamilyIsWhatAdmissionExpects) {
  const Json json = read_json(kCases / (GetParam() + ".json"));
  const auto model = load(json);
  for (size_t i = 0; i < json["prompts"].size(); ++i) {
    const GenerateRequest request = recorded(json, i);
    allocated(*model, request);  // packs weights on first use
    const uint64_t expected = MediaMemory(*model).bytes(request), used = allocated(*model, request);
    fmt::print("{} prompt {}: {} of {} bytes\n", GetParam(), i, used, expected);
    EXPECT_GT(used, 0U);
    EXPECT_LE(used, expected) << "prompt " << i;
    EXPECT_LE(expected, 40 * used + media_workspace_bytes()) << "prompt " << i;
  }
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(kCases)) {
    if (file.path().extension() == ".json") names.push_back(file.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Tiny, MediaMemoryOf, testing::ValuesIn(case_names()),
                         [](const auto& info) { return info.param; });

TEST(MediaMemory, TwentyImagesAreWithinTheEstimate) {
  const Json json = read_json(kCases / "smolvlm.json");
  const auto model = load(json);
  const GenerateRequest one = recorded(json, 0), twenty = recorded(json, 0, 20);
  ASSERT_EQ(twenty.media.size(), 20 * one.media.size());
  allocated(*model, one);
  MediaMemory memory(*model);
  const uint64_t expected = memory.bytes(twenty);
  EXPECT_LE(allocated(*model, twenty), expected);
  EXPECT_GT(expected, memory.bytes(one));
  EXPECT_LT(expected, 20 * memory.bytes(one)) << "images are encoded one at a time";
}

TEST(MediaMemory, KeysAndValuesOfAttendedImagesCount) {
  const Json json = read_json(kCases / "mllama.json");
  const auto text = make_text_model(load(json));
  const auto kept = [&](const GenerateRequest& request) {
    auto sequence = text->start(request);
    Sequence* running = sequence.get();
    int tokens = 0;
    while (tokens == 0) {
      text->step({&running, 1},
                 [&](size_t, const Event& event) { tokens += std::holds_alternative<TokenEvent>(event); });
    }
    return text->cache_facts().kv_bytes;
  };
  const GenerateRequest seeing = recorded(json, 1);
  GenerateRequest plain = seeing;
  plain.media.clear();
  const uint64_t with = kept(seeing), without = kept(plain);
  EXPECT_GT(with, without);
  EXPECT_LE(with - without, text->media_bytes(seeing));
  EXPECT_EQ(text->media_bytes(plain), 0U);
}

}  // namespace
}  // namespace mlxk

// Tests against transformers and Pillow: tests/data/vision, made by tools/make_vision_goldens.py.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/digest.h"
#include "base/error.h"
#include "base/testing/test_paths.h"
#include "json/json.h"
#include "vision/processor.h"
#include "vision/resize.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(test_tree::kTestData) / "vision";
constexpr double kBound = 1.0 / 255;  // between pixels, in units of a byte's range

Image picture(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c)
        image.rgb.push_back(static_cast<uint8_t>(x * (3 + c) + y * (5 - c) + (x * y / 16) * (c + 1)));
  return image;
}

/// The largest difference from the samples of `golden`.
double difference(const Json& golden, const std::vector<float>& values) {
  double most = 0, sum = 0;
  const auto step = golden["step"].get<size_t>();
  const Json& samples = golden["samples"];
  for (size_t i = 0; i < samples.size(); ++i) {
    if (i * step >= values.size()) return 1e9;
    most = std::max(most, std::abs(values[i * step] - samples[i].get<double>()));
  }
  for (const float value : values) sum += value;
  return std::max(most, std::abs(sum / static_cast<double>(values.size()) - golden["mean"].get<double>()));
}

class ModelFolder {
 public:
  explicit ModelFolder(const Json& files)
      : path_(fs::path(testing::TempDir()) / fmt::format("mlxk_vision_{}", ::getpid())) {
    fs::create_directories(path_);
    for (const auto& [name, content] : files.items()) std::ofstream(path_ / name) << content.dump();
  }
  ~ModelFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class VisionFamily : public testing::TestWithParam<std::string> {};

TEST_P(VisionFamily, PreparesImagesAsTransformersDoes) {
  double most = 0;
  const Json goldens = read_json(kData / (GetParam() + ".json"));
  ASSERT_FALSE(goldens.empty());
  for (const Json& golden : goldens) {
    SCOPED_TRACE(golden["settings"].dump() +
                 fmt::format(" {} x {}", golden["width"].get<int>(), golden["height"].get<int>()));
    const ModelFolder folder(golden["settings"]);
    const auto processor = open_image_processor(folder.path());
    const ProcessedImage result = processor->process(picture(golden["width"], golden["height"]));
    EXPECT_EQ(result.text, golden["text"].get<std::string>());
    EXPECT_EQ(result.data->shape, golden["shape"].get<std::vector<int>>());
    EXPECT_EQ(result.data->grid, golden["grid"].get<std::vector<int>>());
    EXPECT_GT(result.tokens, 0);
    // A byte's range is at most 1 / 0.22 = 4.6 wide after normalisation.
    const double apart = difference(golden, result.data->values);
    EXPECT_LE(apart, kBound * 4.6);
    most = std::max(most, apart);
  }
  RecordProperty("largest_difference", fmt::format("{}", most));
  fmt::print("{}: at most {:.3g} apart\n", GetParam(), most);
}

INSTANTIATE_TEST_SUITE_P(, VisionFamily,
                         testing::Values("idefics3", "llava", "pixtral", "qwen_vl", "gemma3", "paligemma", "gemma3n",
                                         "gemma4", "internvl", "llava_next", "idefics2", "lfm2_vl", "mllama", "llama4",
                                         "glm4v", "minicpmv4_6", "kimi_vl", "phi3_v", "molmo", "deepseekocr",
                                         "florence2", "fastvlm"),
                         [](const auto& info) { return info.param; });

TEST(Florence2, WritesTheSentencesOfItsTasks) {
  const ModelFolder folder(Json{{"config.json", {{"model_type", "florence2"}}}});
  const auto processor = open_image_processor(folder.path());
  const Json goldens = read_json(kData / "florence2_prompts.json");
  ASSERT_GE(goldens.size(), 15U);
  for (const Json& golden : goldens) {
    EXPECT_EQ(processor->plain_prompt(golden["text"], 1), golden["prompt"].get<std::string>());
  }
  EXPECT_THROW(processor->plain_prompt("<OD> of a cat", 1), Error);
}

TEST(Florence2, TakesAnotherTokenForImagesWhereTheVocabularyHasNone) {
  const ModelFolder folder(
      Json{{"config.json", {{"model_type", "florence2"}, {"vision_config", {{"dim_embed", {128, 256, 512, 1024}}}}}}});
  EXPECT_EQ(open_image_processor(folder.path())->image_token(), "<pad>");
}

TEST(Resize, IsPillowsBitForBit) {
  for (const Json& golden : read_json(kData / "resize.json")) {
    const Image image = picture(golden["width"], golden["height"]);
    const Image result =
        resize(image, golden["to"][0], golden["to"][1], static_cast<Filter>(golden["filter"].get<int>()));
    Digest digest(Digest::Kind::sha256);
    digest.add({reinterpret_cast<const char*>(result.rgb.data()), result.rgb.size()});
    EXPECT_EQ(digest.hex(), golden["sha256"].get<std::string>()) << golden.dump();
  }
}

TEST(Resize, OfFloatsIsTorchs) {
  for (const Json& golden : read_json(kData / "float_resize.json")) {
    const Image image = picture(golden["width"], golden["height"]);
    FloatImage floats{image.width, image.height, {}};
    for (const uint8_t byte : image.rgb) floats.rgb.push_back(static_cast<float>(byte) / 255);
    const std::string kind = golden["kind"];
    const int width = golden["to"][0], height = golden["to"][1];
    const FloatImage result =
        kind == "torch"
            ? resize_bicubic(floats, width, height)
            : resize_antialias(floats, width, height, kind == "bicubic" ? Filter::bicubic : Filter::bilinear);
    EXPECT_LT(difference(golden, result.rgb), 1e-5) << golden.dump();
  }
}

TEST(Resize, RefusesSizesThatNoImageHas) {
  const Image image = picture(4, 4);
  EXPECT_THROW(resize(image, 0, 4, Filter::bilinear), Error);
  EXPECT_THROW(resize(image, 1 << 20, 1 << 20, Filter::bilinear), Error);
}

TEST(ImageProcessor, TakesOrRefusesImagesOfEveryShape) {
  for (const char* type :
       {"aya_vision", "deepseekocr", "florence2", "gemma3",    "gemma4", "glm4v",      "idefics2",    "idefics3",
        "internvl",   "kimi_vl",     "lfm2_vl",   "llama4",    "llava",  "llava_next", "llava_qwen2", "minicpmv4_6",
        "mistral3",   "mllama",      "molmo",     "paligemma", "phi3_v", "qwen2_vl",   "qwen3_vl"}) {
    SCOPED_TRACE(type);
    const ModelFolder folder(Json{{"config.json", {{"model_type", type}}}});
    const auto processor = open_image_processor(folder.path());
    for (const auto& [width, height] : {std::pair{1, 1}, {1, 3000}, {3000, 1}, {2, 300}}) {
      try {
        const ProcessedImage result = processor->process(Image{
            width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, 200)});
        EXPECT_GT(result.tokens, 0);
        EXPECT_LT(result.data->values.size(), size_t{1} << 28);
        for (const float value : result.data->values) ASSERT_TRUE(std::isfinite(value));
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::invalid) << error.what();
        EXPECT_THAT(error.what(), testing::HasSubstr("the image"));
      }
    }
  }
}

TEST(ImageProcessor, FinishesPromptsAsTheFamilyWantsThem) {
  const auto finished = [](const char* type, const std::string& prompt) {
    const ModelFolder folder(Json{{"config.json", {{"model_type", type}}}});
    return open_image_processor(folder.path())->finished(prompt);
  };
  EXPECT_EQ(finished("minicpmv4_6", "<image_id></image_id>a<image_id></image_id>b"),
            "<image_id>0</image_id>a<image_id>1</image_id>b");
  const std::string mark = "<fake_token_around_image>";
  EXPECT_EQ(finished("idefics2", mark + "<image>" + mark + mark + "<image>" + mark + "What"),
            mark + "<image>" + mark + "<image>" + mark + " What");
  EXPECT_EQ(finished("qwen2_vl", "as it is"), "as it is");
}

TEST(ImageProcessor, SaysWhichModelTypeItLacks) {
  const ModelFolder folder(Json{{"config.json", {{"model_type", "idefics"}}}});
  try {
    open_image_processor(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_THAT(error.what(), testing::HasSubstr("\"idefics\""));
  }
}

TEST(ImageProcessor, NamesFileAndKeyOfASettingThatMakesNoSense) {
  const ModelFolder folder(
      Json{{"config.json", {{"model_type", "qwen2_vl"}}}, {"preprocessor_config.json", {{"patch_size", 0}}}});
  try {
    open_image_processor(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_model);
    EXPECT_THAT(error.what(), testing::HasSubstr("preprocessor_config.json"));
    EXPECT_THAT(error.what(), testing::HasSubstr("patch_size"));
  }
}

TEST(ImageProcessor, ReadsTheSettingsInsideProcessorConfig) {
  const Json image{{"patch_size", 16}, {"size", {{"shortest_edge", 4096}, {"longest_edge", 60000}}}};
  const ModelFolder folder(
      Json{{"config.json", {{"model_type", "qwen3_vl"}}}, {"processor_config.json", {{"image_processor", image}}}});
  EXPECT_EQ(open_image_processor(folder.path())->process(picture(64, 64)).data->shape, (std::vector<int>{16, 768}));
}

}  // namespace
}  // namespace mlxk

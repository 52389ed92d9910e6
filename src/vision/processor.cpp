#include "vision/processor.h"

#include <fmt/format.h>

#include "base/error.h"
#include "vision/families.h"

namespace mlxk {

namespace {

using Maker = std::unique_ptr<ImageProcessor> (*)(const ProcessorFiles&);

struct Family {
  const char* model_type;
  Maker make;
};

constexpr Family kFamilies[] = {
    {"aya_vision", make_aya_vision},   {"cohere2_vision", make_aya_vision},
    {"deepseekocr", make_deepseekocr}, {"fastvlm", make_fastvlm},
    {"florence2", make_florence2},     {"gemma3", make_gemma3},
    {"gemma3n", make_gemma3},          {"gemma4", make_gemma4},
    {"glm4v", make_qwen_vl},           {"idefics2", make_idefics2},
    {"idefics3", make_idefics3},       {"internvl", make_internvl},
    {"internvl_chat", make_internvl},  {"kimi_vl", make_kimi_vl},
    {"lfm2-vl", make_lfm2_vl},         {"lfm2_vl", make_lfm2_vl},
    {"llama4", make_llama4},           {"llava", make_llava},
    {"llava_next", make_llava_next},   {"llava_qwen2", make_fastvlm},
    {"minicpmv4_6", make_minicpmv},    {"mistral3", make_pixtral},
    {"mllama", make_mllama},           {"molmo", make_molmo},
    {"paligemma", make_paligemma},     {"phi3_v", make_phi3_v},
    {"pixtral", make_pixtral},         {"qwen2_5_vl", make_qwen_vl},
    {"qwen2_vl", make_qwen_vl},        {"qwen3_5", make_qwen_vl},
    {"qwen3_5_moe", make_qwen_vl},     {"qwen3_vl", make_qwen_vl},
    {"qwen3_vl_moe", make_qwen_vl},    {"smolvlm", make_idefics3},
};

}  // namespace

ProcessedImage processed(MediaData data, std::string text, std::string_view token) {
  ProcessedImage result;
  for (size_t at = text.find(token); at != std::string::npos; at = text.find(token, at + token.size())) ++result.tokens;
  result.text = std::move(text);
  result.data = with_digest(std::move(data));
  return result;
}

std::unique_ptr<ImageProcessor> open_image_processor(const std::filesystem::path& dir) {
  const ProcessorFiles files(dir);
  const std::string type = files.config.text("model_type", "");
  for (const Family& family : kFamilies)
    if (type == family.model_type) return family.make(files);
  throw Error(ErrorKind::unsupported,
              fmt::format("[{}] there is no image processor for model_type \"{}\"", dir.string(), type));
}

}  // namespace mlxk

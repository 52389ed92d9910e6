#pragma once

#include <memory>

#include "vision/layout.h"
#include "vision/processor.h"
#include "vision/settings.h"

namespace mlxk {

/// The processors; each is made in the file named after its family.
std::unique_ptr<ImageProcessor> make_aya_vision(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_deepseekocr(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_fastvlm(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_florence2(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_gemma3(const ProcessorFiles& files);  // gemma3n too
std::unique_ptr<ImageProcessor> make_gemma4(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_idefics2(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_idefics3(const ProcessorFiles& files);  // smolvlm too
std::unique_ptr<ImageProcessor> make_internvl(const ProcessorFiles& files);  // internvl_chat too
std::unique_ptr<ImageProcessor> make_kimi_vl(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_lfm2_vl(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_llama4(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_llava(const ProcessorFiles& files);  // Pixtral under llava's name too
std::unique_ptr<ImageProcessor> make_llava_next(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_minicpmv(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_mllama(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_molmo(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_paligemma(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_phi3_v(const ProcessorFiles& files);
std::unique_ptr<ImageProcessor> make_pixtral(const ProcessorFiles& files);  // mistral3 too
std::unique_ptr<ImageProcessor> make_qwen_vl(const ProcessorFiles& files);  // qwen2_vl … qwen3_5_moe, glm4v

/// The image's size.
inline Size size_of(const Image& image) { return {image.width, image.height}; }

/// An image as its family's processor returns it: `text` has one `token` for each feature.
ProcessedImage processed(MediaData data, std::string text, std::string_view token);

}  // namespace mlxk

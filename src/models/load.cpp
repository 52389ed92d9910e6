#include "models/load.h"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/threads.h"
#include "json/json.h"
#include "models/embedding/encoder_registry.h"
#include "models/published_packing.h"
#include "models/registry.h"
#include "models/weight_files.h"
#include "probe/built_in.h"
#include "probe/config_reader.h"
#include "probe/limits.h"

namespace mlxk {

namespace {

constexpr size_t kReadAhead = size_t{64} << 20;  // between two reports
constexpr size_t kPiece = size_t{4} << 20;       // that a thread reads at a time

/// Reads the files into memory, one after the other, unless they are there already.
void read_ahead(const std::vector<std::shared_ptr<const MappedFile>>& files, const LoadProgress& progress) {
  size_t total = 0, done = 0;
  for (const auto& file : files) total += file->bytes().size();
  for (const auto& file : files) {
    for (auto rest = file->bytes(); !rest.empty();) {
      const auto part = rest.first(std::min(rest.size(), kReadAhead));
      parallel_for(static_cast<int64_t>((part.size() + kPiece - 1) / kPiece), 1, [&](int64_t begin, int64_t end, int) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
          file->fetch(part.subspan(i * kPiece, std::min(kPiece, part.size() - i * kPiece)));
        }
      });
      file->check();
      rest = rest.subspan(part.size());
      done += part.size();
      if (progress) progress(static_cast<int64_t>(done), static_cast<int64_t>(total));
    }
  }
}

/// The encoders of a model that accepts images and recordings.
class ImageAndAudioEncoder : public MediaEncoder {
 public:
  ImageAndAudioEncoder(std::unique_ptr<const MediaEncoder> images, std::unique_ptr<const MediaEncoder> recordings)
      : images_(std::move(images)), recordings_(std::move(recordings)) {}
  EncodedMedia encode(const MediaData& data) const override {
    return (data.kind == MediaKind::audio ? recordings_ : images_)->encode(data);
  }
  std::optional<MediaPositions> positions(std::span<const int32_t> prompt,
                                          std::span<const MediaItem> items) const override {
    return images_->positions(prompt, items);
  }
  std::vector<TokenTable> tokens() const override {
    std::vector<TokenTable> all = images_->tokens();
    for (const TokenTable& table : recordings_->tokens()) all.push_back(table);
    return all;
  }

 private:
  std::unique_ptr<const MediaEncoder> images_, recordings_;
};

/// The configuration of a model in `dir`; throws unsupported if `find` has no maker for its model_type.
template <class Net>
struct Opened {
  Opened(const std::filesystem::path& dir, Maker<Net> (*find)(std::string_view), ModelKind kind) {
    json = read_json(dir / "config.json");
    if (!json.is_object()) throw Error(ErrorKind::bad_model, "[config] config.json must be an object");
    check_config(json);
    Config(json, "config").text_or("model_type", "");  // throws for another type of value
    type = model_type_of(json);
    make = find(type);
    if (make) return;
    throw Error(ErrorKind::unsupported,
                fmt::format("[config] model_type '{}' {}", type, built_in().refusal(kind, type)));
  }

  Json json;
  std::string type;
  Maker<Net> make;
};

/// The model of `config`, with the weights in `dir` read into memory.
template <class Net>
std::unique_ptr<Net> make_with_weights(const std::filesystem::path& dir, const Config& config,
                                       const std::function<std::unique_ptr<Net>(const Config&, Weights&)>& make,
                                       const LoadProgress& progress) {
  QuantizationConfig quantization(config);
  auto [tensors, files] = open_weights(weight_files(dir));
  unpack_float8(tensors);
  Weights weights(std::move(tensors), std::move(quantization));
  auto model = make(config, weights);
  weights.check();
  weights.quantization().check();
  read_ahead(files, progress);
  const uint64_t bytes = weights.evaluate(files.empty() ? progress : LoadProgress());
  model->set_weights(bytes, std::move(files));
  return model;
}

}  // namespace

std::unique_ptr<Model> load_model(const std::filesystem::path& dir, const LoadProgress& progress) {
  Opened opened(dir, find_maker, ModelKind::text);
  return make_with_weights<Model>(dir, Config(std::move(opened.json), opened.type), opened.make, progress);
}

std::unique_ptr<Model> load_multimodal_model(const std::filesystem::path& dir, const LoadProgress& progress) {
  Opened opened(dir, find_maker, ModelKind::text);
  const auto vision = find_vision_maker(opened.type), audio = find_audio_maker(opened.type);
  if (!vision && !audio) Opened<MediaEncoder>(dir, find_vision_maker, ModelKind::vision);  // says so
  const auto make = [&](const Config& config, Weights& weights) {
    // The encoders come first: the language model drops other tensors.
    std::unique_ptr<const MediaEncoder> image_encoder, audio_encoder;
    if (vision && (!audio || config.has("vision_config"))) image_encoder = vision(config, weights);
    if (audio && (!vision || config.has("audio_config"))) audio_encoder = audio(config, weights);
    auto model = opened.make(config, weights);
    if (image_encoder && audio_encoder) {
      image_encoder = std::make_unique<ImageAndAudioEncoder>(std::move(image_encoder), std::move(audio_encoder));
    }
    model->set_media_encoder(std::move(image_encoder ? image_encoder : audio_encoder));
    return model;
  };
  return make_with_weights<Model>(dir, Config(std::move(opened.json), opened.type), make, progress);
}

std::unique_ptr<SpeechNet> load_speech_net(const std::filesystem::path& dir, const LoadProgress& progress) {
  Opened opened(dir, find_speech_maker, ModelKind::speech);
  // transformers' conversions keep this in a separate file.
  const auto generation = dir / "generation_config.json";
  if (!opened.json.contains("alignment_heads") && std::filesystem::exists(generation)) {
    const Json said = read_json(generation);
    if (said.is_object() && said.contains("alignment_heads")) opened.json["alignment_heads"] = said["alignment_heads"];
  }
  return make_with_weights<SpeechNet>(dir, Config(std::move(opened.json), opened.type), opened.make, progress);
}

std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& dir, const LoadProgress& progress) {
  Opened opened(dir, find_encoder_maker, ModelKind::embedding);
  const auto make = [&](const Config& config, Weights& weights) {
    // BGE-M3 keeps the heads of its token vectors in separate files.
    for (const std::string head : {"sparse_linear", "colbert_linear"}) {
      const auto file = dir / (head + ".pt");
      if (!same_type(opened.type, "xlm_roberta") || weights.has(head + ".weight") || !std::filesystem::exists(file))
        continue;
      for (auto& [name, tensor] : read_torch_weights(file)) weights.tensors().emplace(head + "." + name, tensor);
    }
    return opened.make(config, weights);
  };
  return make_with_weights<Encoder>(dir, Config(std::move(opened.json), opened.type), make, progress);
}

}  // namespace mlxk

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "models/audio/speech_net.h"
#include "models/embedding/encoder.h"
#include "models/model.h"

namespace mlxk {

/// Called while the weights are read: bytes in memory so far, total bytes.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

/// Reads config.json and the weight files in `dir`, after validating each header. Throws unsupported for an unknown
/// model_type (naming the most similar ones), bad_model naming key or tensor. On the worker thread. Of a multimodal
/// checkpoint only the language model is read.
std::unique_ptr<Model> load_model(const std::filesystem::path& dir, const LoadProgress& progress = {});

/// The same with the encoder of images and recordings; throws unsupported also if that is not built in.
std::unique_ptr<Model> load_multimodal_model(const std::filesystem::path& dir, const LoadProgress& progress = {});

/// The same for a speech model.
std::unique_ptr<SpeechNet> load_speech_net(const std::filesystem::path& dir, const LoadProgress& progress = {});

/// The same for a text encoder.
std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& dir, const LoadProgress& progress = {});

}  // namespace mlxk

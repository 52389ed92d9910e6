#include "serving/recordings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/stop.h"
#include "media/mel.h"
#include "media/raw_sound.h"

namespace mlxk {

namespace {
constexpr size_t kPiece = size_t{1} << 16;
constexpr int64_t kUnknownContext = 32768, kRoom = 512;  // tokens beside the recording
}  // namespace

double most_seconds(const AudioProcessor& processor, int64_t context) {
  if (context == 0) context = kUnknownContext;
  return processor.most_seconds(std::max(context - kRoom, context / 2));
}

std::vector<float> read_samples(SampleSource& source, const std::string& place, int rate, double most) {
  const int from = rate == kSpeechRate || source.use_rate(rate) ? rate : kSpeechRate;
  std::vector<float> samples;
  for (size_t count = 1; count > 0;) {
    check_stop();
    const size_t begin = samples.size();
    samples.resize(begin + kPiece);
    count = source.read(std::span(samples).subspan(begin));
    samples.resize(begin + count);
    if (static_cast<double>(samples.size()) > most * from) {
      throw Error(ErrorKind::invalid,
                  fmt::format("{}: the recording is longer than the {:g} seconds that the model takes", place, most));
    }
  }
  if (samples.empty()) throw Error(ErrorKind::invalid, fmt::format("{}: the recording holds no sound", place));
  return from == rate ? samples : resampled(samples, from, rate);
}

PromptAudio process_recordings(const AudioProcessor& processor, const std::vector<AudioFile>& files, int64_t context,
                               uint64_t limit) {
  PromptAudio audio{processor, {}};
  const double most = most_seconds(processor, context);
  for (const AudioFile& file : files) {
    const std::span bytes(reinterpret_cast<const uint8_t*>(file.bytes.data()), file.bytes.size());
    AudioSource source(memory_bytes(bytes), file.place, limit);
    const std::vector<float> samples = read_samples(source, file.place, processor.rate(), most);
    try {
      audio.recordings.push_back(processor.process(samples));
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::invalid) throw;
      throw Error(ErrorKind::invalid, file.place + ": " + e.what());
    }
  }
  return audio;
}

}  // namespace mlxk

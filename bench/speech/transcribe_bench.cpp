// transcribe_bench MODEL RUNS WAV…: the text of each 16 kHz recording (16-bit PCM, header of 44 bytes) in one warm process,
// greedily and in English, and the least seconds of its runs.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include "backend/mlx_backend.h"
#include "speech/transcribe.h"

namespace {

using namespace mlxk;

class File : public SampleSource {
 public:
  explicit File(const char* path) {
    std::ifstream file(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    for (size_t i = 44; i + 1 < bytes.size(); i += 2) {
      const auto low = static_cast<uint8_t>(bytes[i]);
      samples_.push_back(static_cast<float>(static_cast<int16_t>(low | static_cast<uint8_t>(bytes[i + 1]) << 8)) / 32768);
    }
  }
  size_t read(std::span<float> into) override {
    const size_t count = std::min(into.size(), samples_.size() - at_);
    std::copy_n(samples_.begin() + static_cast<int64_t>(at_), count, into.begin());
    at_ += count;
    return count;
  }
  bool rewind() override {
    at_ = 0;
    return true;
  }

 private:
  std::vector<float> samples_;
  size_t at_ = 0;
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: transcribe_bench MODEL RUNS WAV...\n", stderr);
    return 2;
  }
  const double start = now();
  Worker worker([] { return std::make_unique<MlxBackend>(); });
  auto model = worker.load_speech(argv[1]);
  const auto vocabulary = SpeechVocabulary::load(argv[1], model->facts().vocab_size);
  std::printf("loaded in %.3f s\n", now() - start);
  TranscribeOptions options;
  options.language = "en";
  options.temperatures = {0};
  options.condition_on_previous_text = false;
  for (int i = 3; i < argc; ++i) {
    double best = 1e9;
    Transcript text;
    for (int run = 0; run < std::stoi(argv[2]); ++run) {
      File source(argv[i]);
      const double begin = now();
      text = transcribe({worker, model, vocabulary}, source, options);
      best = std::min(best, now() - begin);
    }
    std::printf("%.3f s  %s %s\n", best, argv[i], text.text.c_str());
  }
}

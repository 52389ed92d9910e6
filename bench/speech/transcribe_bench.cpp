// transcribe_bench MODEL RUNS WAV…: the text of each 16 kHz recording (16-bit PCM, header of 44 bytes) in one warm process,
// greedily and in English, and the least seconds of its runs. RUNS 0: once with openai's defaults, and every segment.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include "backend/mlx_backend.h"
#include "speech/transcribe.h"

namespace {

using namespace mlxk;

/// Read as it is needed: long recordings show what the engine itself keeps.
class File : public SampleSource {
 public:
  explicit File(const char* path) : file_(path, std::ios::binary) { file_.seekg(44); }
  size_t read(std::span<float> into) override {
    std::vector<int16_t> samples(std::min<size_t>(into.size(), 65536));
    file_.read(reinterpret_cast<char*>(samples.data()), static_cast<std::streamsize>(samples.size() * 2));
    const auto count = static_cast<size_t>(file_.gcount()) / 2;
    for (size_t i = 0; i < count; ++i) into[i] = static_cast<float>(samples[i]) / 32768;
    return count;
  }
  bool rewind() override {
    file_.clear();
    file_.seekg(44);
    return true;
  }

 private:
  std::ifstream file_;
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
  const int runs = std::stoi(argv[2]);
  if (runs > 0) {
    options.temperatures = {0};
    options.condition_on_previous_text = false;
  }
  for (int i = 3; i < argc; ++i) {
    double best = 1e9;
    Transcript text;
    for (int run = 0; run < std::max(runs, 1); ++run) {
      File source(argv[i]);
      const double begin = now();
      text = transcribe({worker, model, vocabulary}, source, options);
      best = std::min(best, now() - begin);
    }
    for (const auto& segment : text.segments) {
      if (runs == 0) std::printf("%8.2f %8.2f %.1f %s\n", segment.start, segment.end, segment.temperature, segment.text.c_str());
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("%.3f s of %.1f s, peak %ld MB  %s %s\n", best, text.duration, usage.ru_maxrss / 1024, argv[i],
                runs == 0 ? "" : text.text.c_str());
  }
}

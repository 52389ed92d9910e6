// transcribe_bench MODEL RUNS [vad] FILE…: the text of each recording in one warm process, greedily and in English, and
// the least seconds of its runs. RUNS 0: once with openai's defaults, and every segment. vad: pauses are left out.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "backend/mlx_backend.h"
#include "media/audio.h"
#include "speech/transcribe.h"
#include "speech/vocabulary.h"
#include "worker/worker.h"

namespace {

using namespace mlxk;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: transcribe_bench MODEL RUNS [vad] FILE...\n", stderr);
    return 2;
  }
  const double start = now();
  Worker worker([] { return std::make_unique<MlxBackend>(); });
  auto model = worker.load(ModelKind::speech, argv[1]);
  const auto vocabulary = SpeechVocabulary::load(argv[1], model->facts().vocab_size);
  std::printf("loaded in %.3f s\n", now() - start);
  TranscribeOptions options;
  options.language = "en";
  const int runs = std::stoi(argv[2]);
  if (runs > 0) {
    options.temperatures = {0};
    options.condition_on_previous_text = false;
  }
  options.only_voice = std::string(argv[3]) == "vad";
  for (int i = options.only_voice ? 4 : 3; i < argc; ++i) {
    double best = 1e9;
    Transcript text;
    for (int run = 0; run < std::max(runs, 1); ++run) {
      const double begin = now();
      AudioSource source(open_bytes(argv[i]), argv[i], uint64_t{1} << 32);
      text = transcribe({worker, model, vocabulary}, source, options);
      best = std::min(best, now() - begin);
    }
    for (const auto& segment : text.segments) {
      if (runs == 0) {
        std::printf("%8.2f %8.2f T%.1f lp%.2f ns%.2f cr%.1f %s\n", segment.start, segment.end, segment.temperature,
                    segment.avg_logprob, segment.no_speech_prob, segment.compression_ratio, segment.text.c_str());
      }
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("%.3f s of %.1f s, peak %ld MB  %s %s\n", best, text.duration, usage.ru_maxrss / 1024, argv[i],
                runs == 0 ? "" : text.text.c_str());
  }
}

#include "selftest/speech_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <vector>

#include "base/elapsed.h"
#include "media/audio.h"
#include "selftest/run_checks.h"
#include "selftest/speech_clip.h"
#include "serving/recognizer.h"

namespace mlxk {

namespace {
constexpr uint64_t kSmallSpeechModel = 20'000'000;  // bytes; Whisper's smallest has 39 M parameters
constexpr double kMaxWrong = 0.25;

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte)) {
      words.back() += static_cast<char>(std::tolower(byte));
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

CheckFinding check_speech(Worker& worker, const ServedSpeech& model, const SelftestOptions& options) {
  AudioSource source(memory_bytes(speech_clip()), "the clip");
  TranscribeOptions how;
  how.temperatures = {0};
  TranscribeEvents events;
  events.cancelled = options.stop_wanted;
  const auto start = std::chrono::steady_clock::now();
  const Transcript heard = recognizer_of(worker, model)->transcribe(source, how, events);
  const double took = seconds_since(start);
  const double wrong = word_error_rate(kSpeechClipText, heard.text);
  if (wrong <= kMaxWrong) {
    return CheckFinding::passed(fmt::format("{:.0f} % of the words wrong, {:.1f} times as fast as speech", 100 * wrong,
                                            heard.duration / std::max(took, 1e-9)));
  }
  const uint64_t bytes = model.handle()->facts().weight_bytes;
  return wrong_answer(fmt::format("{:.0f} % of the words are wrong: \"{}\"", 100 * wrong, heard.text),
                      bytes < kSmallSpeechModel ? fmt::format("a model of {} MB", bytes / 1'000'000) : "", options);
}
}  // namespace

double word_error_rate(std::string_view expected, std::string_view heard) {
  const auto wanted = words_of(expected), got = words_of(heard);
  std::vector<size_t> row(got.size() + 1);  // edits from the first i expected words to the first j transcribed ones
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= wanted.size(); ++i) {
    size_t before = row[0];
    row[0] = i;
    for (size_t j = 1; j < row.size(); ++j) {
      const size_t replaced = before + (wanted[i - 1] == got[j - 1] ? 0 : 1);
      before = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return wanted.empty() ? 0 : static_cast<double>(row.back()) / static_cast<double>(wanted.size());
}

void check_speech_model(Worker& worker, const ServedSpeech& model, const SelftestOptions& options,
                        SelftestResult& result) {
  run_checks({{"speech", [&] { return check_speech(worker, model, options); }}}, options, result);
}

}  // namespace mlxk

// Guessing tokens against decoding without it, in turn: speculation_bench MODEL costs
//                                                       speculation_bench MODEL PROMPTS ROWS TOKENS [ROUNDS]
// PROMPTS: token ids, a prompt a line. The next ROWS of them go together, under every setting in turn; the best of the rounds
// counts.
#include <fmt/format.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "backend/generation.h"
#include "backend/mlx_backend.h"
#include "models/load.h"

namespace {

using namespace mlxk;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// What a step of more tokens costs, against a step of one.
void print_costs(const std::string& folder) {
  const auto model = load_model(folder, {});
  ModelCache cache = model->make_cache(1);
  const auto step = [&](int length) {
    std::vector<int32_t> ids(static_cast<size_t>(length), 100);
    const auto logits = model->forward({.ids = mx::array(ids.begin(), {1, length}, mx::int32)}, cache);
    mx::eval({logits});
    cache.trim(length);
  };
  const std::vector<int> lengths{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 24, 32};
  std::map<int, std::vector<double>> times;
  step(200);
  std::vector<int32_t> ids(200, 50);
  mx::eval({model->forward({.ids = mx::array(ids.begin(), {1, 200}, mx::int32)}, cache)});
  for (int round = 0; round < 20; ++round) {
    for (const int length : lengths) {
      const auto start = Clock::now();
      step(length);
      times[length].push_back(seconds_since(start));
    }
  }
  double one = 0;
  for (auto& [length, all] : times) {
    std::sort(all.begin(), all.end());
    const double median = all[all.size() / 2];
    if (length == 1) one = median;
    fmt::print("{} tokens: {:.2f} ms, {:.2f} of one\n", length, 1e3 * median, median / one);
  }
}

/// Tokens a second of all rows from the first token on, as of when they have all begun.
double run(TextModel& model, const std::vector<GenerateRequest>& requests, int64_t tokens) {
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<Sequence*> running;
  for (const auto& request : requests) {
    sequences.push_back(model.start(request));
    running.push_back(sequences.back().get());
  }
  std::vector<bool> begun(requests.size());
  std::vector<int64_t> left(requests.size(), tokens);
  std::optional<Clock::time_point> start;
  int64_t counted = 0;
  while (!running.empty()) {
    std::vector<Sequence*> ended;
    model.step(running, [&](size_t index, const Event& event) {
      const auto number = static_cast<size_t>(
          std::find_if(sequences.begin(), sequences.end(), [&](auto& one) { return one.get() == running[index]; }) -
          sequences.begin());
      if (std::holds_alternative<TokenEvent>(event)) {
        begun[number] = true;
        if (start) ++counted;
      }
      if (std::holds_alternative<DoneEvent>(event) || std::holds_alternative<FailedEvent>(event)) ended.push_back(running[index]);
    });
    if (!start && std::all_of(begun.begin(), begun.end(), [](bool b) { return b; })) start = Clock::now();
    for (Sequence* one : ended) running.erase(std::find(running.begin(), running.end(), one));
  }
  return static_cast<double>(counted) / seconds_since(*start);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  MlxBackend backend;
  if (std::string(argv[2]) == "costs") {
    print_costs(argv[1]);
    return 0;
  }
  std::vector<std::vector<int32_t>> prompts;
  std::ifstream file(argv[2]);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    prompts.emplace_back(std::istream_iterator<int32_t>(words), std::istream_iterator<int32_t>());
  }
  const size_t rows = static_cast<size_t>(std::atoi(argv[3]));
  const int64_t tokens = std::atoi(argv[4]);
  struct Setting {
    const char* name;
    TextModelOptions options;
    std::unique_ptr<TextModel> model = nullptr;
    std::vector<double> rates = {};
  };
  std::vector<Setting> settings;
  settings.push_back({"off", {}});
  if (!std::getenv("WITHOUT_ON")) settings.push_back({"on", {.prompt_lookup = PromptLookup::on}});
  settings.push_back({"auto", {.prompt_lookup = PromptLookup::automatic}});
  const int rounds = argc > 5 ? std::atoi(argv[5]) : 3;
  for (Setting& setting : settings) setting.model = backend.load_text(argv[1], setting.options, {});
  const float temperature = std::getenv("TEMPERATURE") ? std::strtof(std::getenv("TEMPERATURE"), nullptr) : 0.0F;
  for (size_t first = 0; first < prompts.size(); first += rows) {
    std::vector<GenerateRequest> requests;
    for (size_t i = 0; i < rows; ++i) {
      GenerateRequest request{.prompt = prompts[(first + i) % prompts.size()], .max_tokens = tokens};
      request.sampling.temperature = temperature;
      request.sampling.seed = i;
      requests.push_back(std::move(request));
    }
    for (Setting& setting : settings) setting.rates.push_back(0);
    for (int round = 0; round < rounds; ++round) {
      for (Setting& setting : settings) setting.rates.back() = std::max(setting.rates.back(), run(*setting.model, requests, tokens));
    }
    for (Setting& setting : settings) {
      fmt::print("{} {:.1f}/s {:.2f}  ", setting.name, setting.rates.back(), setting.rates.back() / settings[0].rates.back());
    }
    fmt::print("\n");
    std::fflush(stdout);
  }
  for (Setting& setting : settings) {
    std::vector<double> ratios;
    for (size_t i = 0; i < setting.rates.size(); ++i) ratios.push_back(setting.rates[i] / settings[0].rates[i]);
    std::sort(ratios.begin(), ratios.end());
    const CacheFacts facts = setting.model->cache_facts();
    fmt::print("{}: {:.3f} of off (median), {:.3f} at worst; {} of {} guesses right\n", setting.name, ratios[ratios.size() / 2],
               ratios.front(), facts.accepted_tokens, facts.drafted_tokens);
  }
}

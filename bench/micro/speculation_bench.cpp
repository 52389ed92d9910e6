// Guessing tokens against decoding without it: speculation_bench MODEL costs
//                                               speculation_bench MODEL PROMPTS ROWS TOKENS [ROUNDS]
// PROMPTS: token ids, a prompt a line. The next ROWS of them go together, under all settings at once: each in turn
// gives some tokens, so that what slows the machine slows all of them. `again` is `off` once more: what differs there
// is chance. SETTINGS names those to run (off,again,on,auto,draft,always), DRAFT the draft model's folder, TEMPERATURE,
// DRAFT_TOKENS and BURST (tokens of a turn) and REST_MS (between turns) say the rest.
#include <fmt/format.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>

#include "backend/generation.h"
#include "backend/mlx_backend.h"
#include "models/load.h"
#include "worker/request.h"

namespace {

using namespace mlxk;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The cost of a step of several tokens, compared with a step of one.
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

/// Requests with one setting, which can pause and resume.
class Run {
 public:
  Run(TextModel& model, const std::vector<GenerateRequest>& requests) : model_(model), begun_(requests.size()) {
    for (const auto& request : requests) {
      sequences_.push_back(model.start(request));
      running_.push_back(sequences_.back().get());
    }
    while (std::find(begun_.begin(), begun_.end(), false) != begun_.end()) step();
    tokens_ = 0;
    seconds_ = 0;
  }
  /// Continues until all rows together have generated the given number of tokens after all of them had begun.
  void advance(int64_t tokens) {
    const auto start = Clock::now();
    while (!running_.empty() && tokens_ < tokens) step();
    seconds_ += seconds_since(start);
  }
  bool ended() const { return running_.empty(); }
  double rate() const { return static_cast<double>(tokens_) / seconds_; }

 private:
  void step() {
    std::vector<Sequence*> ended;
    model_.step(running_, [&](size_t index, const Event& event) {
      const auto number = static_cast<size_t>(
          std::find_if(sequences_.begin(), sequences_.end(), [&](auto& one) { return one.get() == running_[index]; }) -
          sequences_.begin());
      if (std::holds_alternative<TokenEvent>(event)) {
        begun_[number] = true;
        ++tokens_;
      }
      if (std::holds_alternative<DoneEvent>(event) || std::holds_alternative<FailedEvent>(event))
        ended.push_back(running_[index]);
    });
    for (Sequence* one : ended) running_.erase(std::find(running_.begin(), running_.end(), one));
  }

  TextModel& model_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> running_;
  std::vector<bool> begun_;
  int64_t tokens_ = 0;
  double seconds_ = 0;
};

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
  const auto word = [](const char* name, const char* usual) {
    return std::string(std::getenv(name) ? std::getenv(name) : usual);
  };
  const std::string draft = word("DRAFT", ""), names = word("SETTINGS", "off,again,on,auto");
  const int draft_tokens = std::stoi(word("DRAFT_TOKENS", "4"));
  const int64_t burst = std::stoi(word("BURST", "32")), rest = std::stoi(word("REST_MS", "20"));
  const float temperature = std::stof(word("TEMPERATURE", "0"));
  const std::map<std::string, LoadOptions> known{
      {"off", {}},
      {"again", {}},
      {"on", {.prompt_lookup = PromptLookup::on}},
      {"auto", {.prompt_lookup = PromptLookup::automatic}},
      {"draft", {.draft_dir = draft, .draft_tokens = draft_tokens}},
      {"always", {.draft_dir = draft, .draft_tokens = draft_tokens, .draft_always = true}}};
  struct Setting {
    std::string name;
    std::unique_ptr<TextModel> model;
    double rate = 0;
    std::vector<double> ratios = {}, of_group = {};
  };
  std::vector<Setting> settings;
  std::istringstream list(names);
  for (std::string name; std::getline(list, name, ',');)
    settings.push_back({name, load_text(backend, argv[1], known.at(name))});
  const int rounds = argc > 5 ? std::atoi(argv[5]) : 3;
  const auto middle = [](std::vector<double>& all, double share) {
    std::sort(all.begin(), all.end());
    return all[static_cast<size_t>(share * static_cast<double>(all.size() - 1) + 0.5)];
  };
  for (size_t first = 0; first < prompts.size(); first += rows) {
    std::vector<GenerateRequest> requests;
    for (size_t i = 0; i < rows; ++i) {
      GenerateRequest request{.prompt = prompts[(first + i) % prompts.size()], .max_tokens = tokens};
      request.sampling.temperature = temperature;
      request.sampling.seed = i;
      requests.push_back(std::move(request));
    }
    for (Setting& setting : settings) setting.of_group.clear();
    for (int round = 0; round < rounds; ++round) {
      std::vector<std::unique_ptr<Run>> runs;
      for (Setting& setting : settings) runs.push_back(std::make_unique<Run>(*setting.model, requests));
      int64_t upto = 0;
      for (int turn = round; std::any_of(runs.begin(), runs.end(), [](auto& one) { return !one->ended(); }); ++turn) {
        upto += burst * static_cast<int64_t>(rows);
        for (size_t i = 0; i < runs.size(); ++i) {  // alternating directions
          // The step that the previous setting has started is done by then.
          std::this_thread::sleep_for(std::chrono::milliseconds(rest));
          runs[turn % 2 == 0 ? i : runs.size() - 1 - i]->advance(upto);
        }
      }
      for (size_t i = 0; i < runs.size(); ++i) settings[i].rate = runs[i]->rate();
      for (Setting& setting : settings) {
        setting.ratios.push_back(setting.rate / settings[0].rate);
        setting.of_group.push_back(setting.ratios.back());
      }
    }
    for (Setting& setting : settings)
      fmt::print("{} {:.1f}/s {:.3f}  ", setting.name, setting.rate, middle(setting.of_group, 0.5));
    fmt::print("\n");
    std::fflush(stdout);
  }
  for (Setting& setting : settings) {
    const CacheFacts facts = setting.model->cache_facts();
    fmt::print("{}: {:.3f} of off (median; half of the rounds {:.3f} to {:.3f}); {} of {} guesses right\n",
               setting.name, middle(setting.ratios, 0.5), middle(setting.ratios, 0.25), middle(setting.ratios, 0.75),
               facts.accepted_tokens, facts.drafted_tokens);
  }
}

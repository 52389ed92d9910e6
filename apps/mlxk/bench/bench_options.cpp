#include "bench/bench_options.h"

#include <fmt/format.h>

#include <locale>
#include <sstream>

#include "base/error.h"

namespace mlxk {

Option report_option() {
  return {.name = "--report",
          .kind = OptionKind::text,
          .metavar = "FILE",
          .help = "append a record of each point to FILE (JSON Lines, schema 0.2.2)"};
}

Option runs_option() {
  return {.name = "--runs",
          .kind = OptionKind::integer,
          .metavar = "N",
          .help = "measured runs of each point, after a warm-up",
          .default_value = "5",
          .min = 1,
          .max = 1000};
}

std::vector<int64_t> read_numbers(const Args& args, const char* option, int64_t most) {
  std::vector<int64_t> numbers;
  std::istringstream words(args.text(option) + ",");
  for (std::string word; std::getline(words, word, ',');) {
    const bool digits = !word.empty() && word.size() < 10 && word.find_first_not_of("0123456789") == std::string::npos;
    const int64_t number = digits ? std::stoll(word) : 0;
    if (number < 1 || number > most) {
      throw Error(ErrorKind::usage,
                  fmt::format("argument {}: must be numbers from 1 to {} separated by commas, got '{}'", option, most,
                              args.text(option)));
    }
    numbers.push_back(number);
  }
  return numbers;
}

std::vector<double> read_rates(const Args& args, const char* option) {
  std::vector<double> rates;
  std::istringstream words(args.text(option) + ",");
  for (std::string word; std::getline(words, word, ',');) {
    std::istringstream in(word);
    in.imbue(std::locale::classic());
    double rate = 0;
    if (!(in >> rate) || in.peek() != EOF || !(rate > 0) || rate > 100'000) {
      throw Error(ErrorKind::usage, fmt::format("argument {}: must be numbers above 0 separated by commas, got '{}'",
                                                option, args.text(option)));
    }
    rates.push_back(rate);
  }
  return rates;
}

}  // namespace mlxk

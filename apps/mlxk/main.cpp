// argv → command table. Every failure of a command ends here: printed once, as text or envelope, with its exit code.
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "base/out_of_memory.h"
#include "cli/help.h"
#include "cli/parser.h"
#include "json/api.h"
#include "terminal/output.h"

namespace mlxk {

namespace {
void print_version(bool json) {
  if (!json) {
    print_line(fmt::format("{} {}", program_name, MLXK_VERSION));
    return;
  }
  const auto memory = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
  print_json(success_envelope("version", {{"cli_version", MLXK_VERSION},
                                          {"json_api_spec_version", kJsonApiVersion},
                                          {"system", {{"memory_total_bytes", memory}}}}));
}

int dispatch(const CommandLine& line) {
  if (line.version) {
    print_version(line.json);
    return 0;
  }
  if (line.help || (!line.command && !line.json)) {
    const std::string text = help_text(line.command);
    print_line(text.substr(0, text.size() - 1));
    return line.help ? 0 : error_kind_info(ErrorKind::usage).exit_code;
  }
  if (!line.command) {  // exit 1, as clients expect: the command line itself is well-formed
    print_json(error_envelope("", "CommandError", "No command specified"));
    return 1;
  }
  return line.command->run(line.args);
}

int guarded(const std::vector<std::string>& words) {
  CommandLine line;
  try {
    line = parse_command_line(words);
  } catch (const Error& error) {
    const auto end_of_options = std::find(words.begin(), words.end(), "--");
    const auto first = std::find_if(words.begin(), words.end(), [](const auto& word) { return word[0] != '-'; });
    const Command* command = command_at(words, static_cast<size_t>(first - words.begin()));
    const bool json = std::find(words.begin(), end_of_options, "--json") != end_of_options;
    if (!json) fmt::print(stderr, "{}", usage_text(command));
    return report_error(error, command, json);
  }
  const bool json = line.json;
  try {
    const int code = dispatch(line);
    // A full disk may show only when the last bytes are written.
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw Error(ErrorKind::io, "cannot write to stdout");
    return code;
  } catch (const Error& error) {
    return report_error(error, line.command, json);
  } catch (const std::exception& error) {
    const bool memory = is_out_of_memory(error);
    return report_error(memory ? Error(ErrorKind::memory, fmt::format("out of memory or threads: {}", error.what()))
                               : Error(ErrorKind::internal, error.what()),
                        line.command, json);
  }
}
}  // namespace

}  // namespace mlxk

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 1);  // the engine's threads free memory of other threads: fragmentation in each thread's arena
#endif
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  if (argc > 0) mlxk::program_name = std::filesystem::path(argv[0]).filename().string();
  const bool version = !words.empty() && words[0] == "--version";  // options that run itself does not have
  if (mlxk::program_name == "mlx-run" && !version) words.insert(words.begin(), "run");
  if (mlxk::program_name == "memmon" && !version) words.insert(words.begin(), "memmon");
  return mlxk::guarded(words);
}

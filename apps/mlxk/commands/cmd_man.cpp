// `mlxk man`: the manual page, made from the same tables as the parser.
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "cli/help.h"
#include "terminal/output.h"

extern char** environ;  // missing in macOS's unistd.h

namespace mlxk {

namespace {
/// Text that troff does not interpret.
std::string roff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  if (!out.empty() && (out[0] == '.' || out[0] == '\'')) out.insert(0, "\\&");
  return out;
}

std::string item(const std::string& term, const std::string& text) {
  return fmt::format(".TP\n.B {}\n{}\n", roff(term), roff(text));
}

struct Example {
  const char *command, *text;
};
constexpr Example kExamples[] = {
    {"mlxk pull mlx-community/Qwen3-0.6B-4bit", "download a model into the cache"},
    {"mlxk run Qwen3-0.6B-4bit \"Name three rivers.\"", "ask it one question"},
    {"mlxk run Qwen3-0.6B-4bit", "chat with it; /help lists the commands of a chat"},
    {"git log -3 | mlxk run Qwen3-0.6B-4bit \"Summarise:\" -", "pipe a text into it"},
    {"mlxk run ./model.gguf \"Hello\"", "run a GGUF file, which is imported on first use"},
    {"mlxk run whisper-base --audio talk.mp3 --format srt", "transcribe a recording"},
    {"mlxk serve --model Qwen3-0.6B-4bit --port 8000", "serve it over an OpenAI-compatible API"},
    {"mlxk convert ./model ./model-4bit --quantize 4", "quantise a model into a new workspace"},
};
constexpr Example kFiles[] = {
    {"~/.cache/huggingface/hub", "the Hugging Face cache (HF_HUB_CACHE, HF_HOME)"},
    {"~/.cache/mlxk/gguf",
     "workspaces that GGUF files were imported into (XDG_CACHE_HOME); `mlxk prune` removes those "
     "whose file is gone"},
    {"~/.local/state/mlxk/history", "the messages typed in chats (XDG_STATE_HOME); only its owner may read it"},
    {"~/.editrc", "key bindings of the chat's line editor, as editrc(5) has them"},
    {".mlxk_workspace.json", "in a workspace: where it comes from, and the hash of its content"},
};

/// The variables of all commands and options, each once.
std::map<std::string, std::string> environment() {
  std::map<std::string, std::string> variables;
  for (const Command* command : command_table()) {
    for (const EnvVariable& variable : command->environment) {
      std::istringstream names(variable.name);  // "HF_HOME, HF_HUB_CACHE"
      for (std::string name; names >> name;) {
        if (name.ends_with(',')) name.pop_back();
        variables.emplace(name, variable.help);
      }
    }
    for (const Option& option : command->options) {
      if (!option.env.empty()) variables.emplace(option.env, fmt::format("default of {}", option.name));
    }
  }
  return variables;
}

/// Runs `words` on the terminal; returns whether it started and ended successfully.
bool run_program(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) return false;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// The help of all commands, for a machine without man(1).
std::string plain_page() {
  std::string text = help_text(nullptr);
  for (const Command* command : command_table()) {
    if (!command->hidden) text += "\n" + help_text(command);
  }
  return text;
}

/// Shows `page` with man(1), else the plain page with a pager.
void show(const std::string& page) {
  std::string folder = (fs::temp_directory_path() / "mlxk-man-XXXXXX").string();
  if (!mkdtemp(folder.data())) throw Error(ErrorKind::io, fmt::format("cannot write {}", folder));
  const fs::path file = fs::path(folder) / "mlxk.1";
  write_file_atomic(file, page);
  const char* pager = std::getenv("PAGER");
  bool shown = run_program({"man", file.string()});
  if (!shown) {
    write_file_atomic(file, plain_page());
    shown = run_program({pager && *pager ? pager : "less", file.string()}) || run_program({"more", file.string()});
  }
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  if (!shown) print_line(plain_page());
}

int run_man(const Args&) {
  const std::string page = man_page();
  if (isatty(STDOUT_FILENO)) {
    show(page);
  } else {
    print_line(std::string_view(page).substr(0, page.size() - 1));
  }
  return 0;
}
}  // namespace

std::string man_page() {
  std::string page = fmt::format(".TH MLXK 1 \"\" \"mlxk {}\" \"User Commands\"\n", MLXK_VERSION);
  page += ".SH NAME\nmlxk \\- find, check, convert and run MLX models\n";
  page += ".SH SYNOPSIS\n.B mlxk\n.I command\n[options] ...\n.br\n.B mlx\\-run\n.I model\n[options] [prompt ...]\n";
  page +=
      ".SH DESCRIPTION\nmlxk works on models in the Hugging Face cache and in workspaces. A model is named by "
      "org/name, a "
      "part of a name, name@revision, a folder or a .gguf file. "
      "Long options may be shortened to any unambiguous prefix; \\-\\- ends the options.\n";
  page += ".SH COMMANDS\n";
  for (const Command* command : command_table()) {
    if (command->hidden) continue;
    page += fmt::format(".SS {}\n{}\n.PP\n.nf\n{}.fi\n", roff(command->name), roff(command->help),
                        roff(usage_text(command)));
    for (const Positional& positional : command->positionals) page += item(positional.name, positional.help);
    for (const Option& option : command->options) page += item(option_signature(option), option_help(option));
  }
  page += ".SH ENVIRONMENT\nAn option on the command line takes precedence over its variable.\n";
  for (const auto& [name, help] : environment()) page += item(name, help);
  page += ".SH FILES\n";
  for (const auto& [name, help] : kFiles) page += item(name, help);
  page += ".SH EXIT STATUS\n";
  page += item("0", "success") + item("1", "failure") + item("2", "the command line is malformed") +
          item("130", "interrupted");
  page += ".SH EXAMPLES\n";
  for (const auto& [command, text] : kExamples) page += item(command, text);
  return page;
}

extern const Command kManCommand;
const Command kManCommand = {
    .name = "man",
    .help = "show the manual page; print it in roff if stdout is not a terminal",
    .run = run_man,
    .hidden = true,
};

}  // namespace mlxk

#include "cli/speculation_options.h"

#include <fmt/format.h>

#include "base/error.h"
#include "cli/model_argument.h"

namespace mlxk {

std::vector<Option> speculation_options() {
  return {
      {.name = "--prompt-lookup",
       .kind = OptionKind::text,
       .metavar = "on|off|auto",
       .help = "guess tokens from the text so far; answers stay the same",
       .default_value = "auto",
       .choices = {"on", "off", "auto"}},
      {.name = "--draft-model",
       .kind = OptionKind::text,
       .metavar = "MODEL",
       .help =
           "a smaller model with the same vocabulary that guesses tokens when that is faster; answers stay the same"},
      {.name = "--draft-tokens",
       .kind = OptionKind::integer,
       .metavar = "N",
       .help = "most tokens it guesses at a time",
       .default_value = "4",
       .min = 1,
       .max = 16},
  };
}

std::string read_speculation(const Args& args, LoadOptions& text) {
  const std::string lookup = args.text("--prompt-lookup");
  if (lookup != "on" && lookup != "off" && lookup != "auto") {
    throw Error(ErrorKind::usage, fmt::format("argument --prompt-lookup: one of on, off, auto; got '{}'", lookup));
  }
  text.prompt_lookup = lookup == "on"    ? PromptLookup::on
                       : lookup == "off" ? PromptLookup::off
                                         : PromptLookup::automatic;
  if (args.has("--draft-tokens") && !args.has("--draft-model")) {
    throw Error(ErrorKind::usage, "--draft-tokens needs --draft-model");
  }
  if (args.has("--draft-model") && args.text("--draft-model").empty()) {
    throw Error(ErrorKind::usage, "argument --draft-model: must not be empty");
  }
  text.draft_tokens = static_cast<int>(args.integer("--draft-tokens"));
  return runnable_argument(args.text("--draft-model"));
}

}  // namespace mlxk

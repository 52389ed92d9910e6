#include "speculation_options.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mlxk {

std::vector<Option> speculation_options() {
  return {
      {.name = "--prompt-lookup",
       .kind = OptionKind::text,
       .metavar = "on|off|auto",
       .help = "guess tokens by what the text said before; the answers stay the same",
       .default_value = "auto"},
      {.name = "--draft-model",
       .kind = OptionKind::text,
       .metavar = "MODEL",
       .help =
           "a smaller model of the same vocabulary that guesses tokens where that gains; the answers stay the same"},
      {.name = "--draft-tokens",
       .kind = OptionKind::integer,
       .metavar = "N",
       .help = "that it guesses at a time, at most",
       .default_value = "4",
       .min = 1,
       .max = 16},
  };
}

std::string read_speculation(const Args& args, TextModelOptions& text) {
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
  return args.text("--draft-model");
}

}  // namespace mlxk

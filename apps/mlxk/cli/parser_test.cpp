#include "cli/parser.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "base/error.h"
#include "cli/help.h"
#include "cli/table.h"

namespace mlxk {
namespace {

CommandLine parse(std::vector<std::string> words) { return parse_command_line(words); }

std::string refusal(std::vector<std::string> words) {
  try {
    parse_command_line(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "accepted";
}

using Words = std::vector<std::string>;

TEST(Parser, TakesOptionsBetweenPromptWords) {
  const auto line = parse({"run", "m", "--temperature", "0.5", "hello", "--no-stream", "world"});
  EXPECT_EQ(line.args.word("model"), "m");
  EXPECT_EQ(line.args.words("prompt"), (Words{"hello", "world"}));
  EXPECT_DOUBLE_EQ(line.args.number("--temperature"), 0.5);
  EXPECT_TRUE(line.args.has("--no-stream"));
}

TEST(Parser, AKeyIsNoShortNameOfTheKeyFileAndIsNotRepeated) {
  EXPECT_EQ(refusal({"serve", "--api-key", "a-secret"}), "unrecognized argument: --api-key");
  EXPECT_EQ(refusal({"serve", "--api-key=a-secret"}), "unrecognized argument: --api-key");
  EXPECT_EQ(parse({"serve", "--api-key-file", "keys"}).args.text("--api-key-file"), "keys");
}

TEST(Parser, ExpandsUnambiguousPrefixes) {
  EXPECT_EQ(parse({"run", "m", "--max-t", "5"}).args.integer("--max-tokens"), 5);
  EXPECT_EQ(parse({"run", "m", "--max-t=7"}).args.integer("--max-tokens"), 7);
  EXPECT_EQ(refusal({"run", "m", "--t", "1"}),
            "ambiguous option: --t could match --translate, --to-language, --temperature, --top-p, --top-k, --threads");
  EXPECT_EQ(refusal({"run", "m", "--nothing"}), "unrecognized argument: --nothing");
}

TEST(Parser, KeepsValuesThatLookLikeOptions) {
  EXPECT_EQ(parse({"run", "m", "--prompt", "--json"}).args.text("--prompt"), "--json");
  EXPECT_EQ(parse({"run", "m", "--prompt=", "x"}).args.text("--prompt"), "");
  EXPECT_EQ(parse({"run", "m", "--prompt=", "x"}).args.words("prompt"), Words{"x"});
  EXPECT_EQ(parse({"run", "m", "-", "-5", "--", "--json", "-x"}).args.words("prompt"),
            (Words{"-", "-5", "--json", "-x"}));
  EXPECT_EQ(parse({"run", "m", "--stop", "[a,b]", "--stop", "c"}).args.list("--stop"), (Words{"[a,b]", "c"}));
  EXPECT_FALSE(parse({"run", "m", "--", "--json"}).json);
}

TEST(Parser, ReadsOptionalAndManyValues) {
  EXPECT_EQ(parse({"run", "m", "--translate"}).args.text("--translate"), "en");
  EXPECT_EQ(parse({"run", "m", "--translate", "fr"}).args.text("--translate"), "fr");
  EXPECT_EQ(parse({"run", "m", "--image", "a", "b", "--image", "c"}).args.list("--image"), (Words{"a", "b", "c"}));
}

TEST(Parser, ChecksNumbers) {
  EXPECT_EQ(refusal({"run", "m", "--top-p", "x"}), "argument --top-p: not a number: 'x'");
  EXPECT_EQ(refusal({"run", "m", "--top-p", "nan"}), "argument --top-p: not a number: 'nan'");
  EXPECT_EQ(refusal({"run", "m", "--top-p", "3"}), "argument --top-p: must be between 0 and 1, got 3");
  EXPECT_EQ(refusal({"run", "m", "--max-tokens", "1.5"}), "argument --max-tokens: not an integer: '1.5'");
  EXPECT_EQ(refusal({"run", "m", "--max-tokens", "-5"}), "argument --max-tokens: must be at least 1, got -5");
  EXPECT_EQ(refusal({"run", "m", "--max-tokens", "99999999999999999999"}),
            "argument --max-tokens: not an integer: '99999999999999999999'");
}

TEST(Parser, NamesWhatIsMissingOrTooMuch) {
  EXPECT_EQ(refusal({"run"}), "the following argument is required: model");
  EXPECT_EQ(refusal({"completions", "bash", "zsh"}), "unrecognized argument: zsh");
  EXPECT_EQ(refusal({"run", "m", "--verbose=1"}), "argument --verbose: takes no value");
  EXPECT_NE(refusal({"frob"}).find("unknown command: 'frob' (choose from"), std::string::npos);
  EXPECT_TRUE(parse({"run", "--help"}).help);
}

std::string hint_of(const Words& words) {
  try {
    parse(words);
  } catch (const Error& error) {
    return error.hint();
  }
  return "accepted";
}

TEST(Parser, SaysThatAValueIsMissing) {
  EXPECT_EQ(refusal({"run", "m", "hi", "--temperature"}), "argument --temperature: needs a value, T");
  EXPECT_EQ(refusal({"run", "m", "--temperature", "--json"}), "argument --temperature: needs a value, T");
  EXPECT_EQ(refusal({"run", "m", "--audio"}), "argument --audio: needs a value, FILE");
}

TEST(Parser, SuggestsWhatWasMeant) {
  for (const auto& [word, command] : std::map<std::string, std::string>{{"lst", "list"},
                                                                        {"ls", "list"},
                                                                        {"sarch", "search"},
                                                                        {"serv", "serve"},
                                                                        {"delete", "rm"},
                                                                        {"helth", "health"},
                                                                        {"quantize", "convert"},
                                                                        {"chat", "run"}}) {
    EXPECT_EQ(hint_of({word}), "Did you mean `mlxk " + command + "`? `mlxk help` lists the commands.") << word;
  }
  EXPECT_EQ(hint_of({"run", "m", "--temprature", "1"}), "Did you mean --temperature?");
  EXPECT_EQ(hint_of({"--vesion"}), "Did you mean --version?");
  EXPECT_EQ(hint_of({"run", "m", "--wholly-unlike-any"}), "");
  EXPECT_EQ(hint_of({"frobnicate"}), "");
}

TEST(Parser, TakesAVariableForAnAbsentOption) {
  setenv("MLXK2_VISION_CHUNK_SIZE", "3", 1);
  EXPECT_EQ(parse({"run", "m"}).args.integer("--chunk"), 3);
  EXPECT_EQ(parse({"run", "m", "--chunk", "2"}).args.integer("--chunk"), 2);
  unsetenv("MLXK2_VISION_CHUNK_SIZE");
  EXPECT_EQ(parse({"run", "m"}).args.integer("--chunk"), 1);
}

TEST(CommandTable, HasDistinctNamesAndOptions) {
  std::set<std::string> names;
  for (const Command* command : command_table()) {
    EXPECT_TRUE(names.insert(command->name).second) << command->name;
    EXPECT_NE(command->run, nullptr) << command->name;
    std::set<std::string> options = {"--help"};
    for (const Option& option : command->options) {
      EXPECT_EQ(option.name.compare(0, 2, "--"), 0) << option.name;
      EXPECT_TRUE(options.insert(option.name).second) << command->name << " " << option.name;
      EXPECT_FALSE(option.help.empty()) << option.name;
      EXPECT_EQ(option.metavar.empty(), option.kind == OptionKind::flag) << option.name;
    }
  }
}

TEST(Help, IsNoWiderThanATerminalOfAHundredColumns) {
  for (const Command* command : command_table()) {
    const std::string text = help_text(command);
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      EXPECT_LE(text_width(text.substr(at, end - at)), 100u) << text.substr(at, end - at);
      at = end + 1;
    }
  }
}

TEST(Help, ManualHasItsSections) {
  const std::string page = man_page();
  for (const char* heading :
       {"NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES"}) {
    EXPECT_NE(page.find(std::string(".SH ") + heading + "\n"), std::string::npos) << heading;
  }
  EXPECT_GT(page.find(".B HF_TOKEN"), page.find(".SH ENVIRONMENT")) << "a variable is no option";
}

TEST(Help, CompletionsAndManualNameEveryOption) {
  for (const Command* command : command_table()) {
    if (command->hidden) continue;
    for (const Option& option : command->options) {
      EXPECT_NE(help_text(command).find(option.name), std::string::npos);
      EXPECT_NE(completion_script("bash").find(option.name), std::string::npos);
      EXPECT_NE(completion_script("zsh").find(option.name), std::string::npos);
      EXPECT_NE(completion_script("fish").find("-l " + option.name.substr(2)), std::string::npos);
    }
    std::string name = command->name;
    for (size_t at = name.find('-'); at != name.npos; at = name.find('-', at + 2)) name.insert(at, "\\");
    EXPECT_NE(man_page().find(".SS " + name), std::string::npos);
  }
}

}  // namespace
}  // namespace mlxk

#include "cli/record_options.h"

#include "base/error.h"

namespace mlxk {

Option record_option() {
  return {.name = "--record",
          .kind = OptionKind::text,
          .metavar = "DIR",
          .help = "write the request, tokens and log-probabilities of each answer to a file in DIR, for `mlxk replay`"};
}

Option record_redact_option() { return {.name = "--record-redact", .help = "omit the prompts from these files"}; }

std::string read_record_folder(const Args& args) {
  const std::string folder = args.text("--record");
  if (args.has("--record") && folder.empty()) throw Error(ErrorKind::usage, "argument --record: must not be empty");
  if (folder.empty() && args.has("--record-redact")) throw Error(ErrorKind::usage, "--record-redact needs --record");
  return folder;
}

}  // namespace mlxk

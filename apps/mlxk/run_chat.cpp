#include "run_chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "chat/stop_strings.h"
#include "chat_session.h"
#include "interrupt.h"
#include "markdown.h"

namespace mlxk {

namespace {
void write(std::FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

/// Writes one answer as it comes: rendered on a terminal, as it stands elsewhere.
GeneratedAnswer reply(OpenedModel& model, const RunOptions& options, const Json& messages, bool terminal) {
  PartFormatter formatter(options.show_reasoning);
  MarkdownStream markdown;
  PreparedRun run = prepare_run(model, options, messages, conversation_stop_strings());
  const GeneratedAnswer answer = run_prepared(model, options, std::move(run), [&](const std::vector<Part>& parts) {
    const std::string text = formatter.format(parts);
    write(stdout, terminal ? markdown.push(text) : text);
  });
  if (terminal) write(stdout, markdown.finish());
  return answer;
}
}  // namespace

int run_chat(OpenedModel& model, const RunOptions& options) {
  load_for_run(model, options);  // before the banner: what cannot be loaded cannot be talked to
  const bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  const auto lines = terminal ? make_line_editor(history_path()) : make_plain_lines(std::cin);
  const InterruptGuard guard;
  RunOptions turn = options;
  ChatIo io{*lines, [](const std::string& text) { write(stdout, text); },
            [](const std::string& text) { write(stderr, text); },
            [&](const Json& messages) {
              const GeneratedAnswer answer = reply(model, turn, messages, terminal);
              if (turn.sampling.seed) ++*turn.sampling.seed;  // else /regenerate would answer the same
              return answer;
            }};
  return ChatSession(std::move(io), options.system).run();
}

}  // namespace mlxk

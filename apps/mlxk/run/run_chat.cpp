#include "run/run_chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "chat/stop_strings.h"
#include "run/chat_session.h"
#include "run/run_images.h"
#include "terminal/interrupt.h"
#include "terminal/markdown.h"

namespace mlxk {

namespace {
void write(std::FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

/// The images of a chat by their paths, processed once.
using ShownImages = std::map<std::string, ProcessedImage>;

/// The images of `messages`, in order; empty if there are none.
std::optional<PromptImages> images_of(const Json& messages, const OpenedModel& model, const ShownImages& shown) {
  std::vector<ProcessedImage> images;
  for (const Json& message : messages) {
    if (!message["content"].is_array()) continue;
    for (const Json& part : message["content"]) {
      if (part["type"] == "image") images.push_back(shown.at(part["file"]));
    }
  }
  if (images.empty()) return std::nullopt;
  return PromptImages{*model.image_processor(), std::move(images)};
}

/// Writes one answer as it arrives: rendered on a terminal, unchanged elsewhere.
GeneratedAnswer reply(OpenedModel& model, const RunOptions& options, const Json& messages, const ShownImages& shown,
                      bool terminal) {
  PartFormatter formatter(options.show_reasoning);
  MarkdownStream markdown;
  const auto images = images_of(messages, model, shown);
  PreparedRun run = prepare_run(model, options, messages, conversation_stop_strings(), images ? &*images : nullptr);
  const GeneratedAnswer answer = run_prepared(model, options, std::move(run), [&](const std::vector<Part>& parts) {
    const std::string text = formatter.format(parts);
    write(stdout, terminal ? markdown.push(text) : text);
  });
  if (terminal) write(stdout, markdown.finish());
  return answer;
}
}  // namespace

int run_chat(OpenedModel& model, const RunOptions& options) {
  load_for_run(model, options);  // before the banner: a model that cannot be loaded gets no chat
  const bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  const auto lines = terminal ? make_line_editor(history_path()) : make_plain_lines(std::cin);
  const InterruptGuard guard;
  RunOptions turn = options;
  ShownImages shown;
  ChatIo io{*lines, [](const std::string& text) { write(stdout, text); },
            [](const std::string& text) { write(stderr, text); },
            [&](const Json& messages) {
              const GeneratedAnswer answer = reply(model, turn, messages, shown, terminal);
              if (turn.sampling.seed) ++*turn.sampling.seed;  // else /regenerate would give the same answer
              return answer;
            }};
  if (model.image_processor()) {
    io.read_image = [&](const std::string& path) {
      shown[path] = process_images(*model.image_processor(), read_images({path})).images.front();
    };
  }
  return ChatSession(std::move(io), options.system).run();
}

}  // namespace mlxk

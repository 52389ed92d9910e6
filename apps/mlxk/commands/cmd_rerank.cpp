// `mlxk rerank MODEL --query Q [FILE …]`: ranks documents by how well they answer a query.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>

#include "base/elapsed.h"
#include "base/error.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "embed/embed_options.h"
#include "embed/text_source.h"
#include "engine/open.h"
#include "json/api.h"
#include "json/floats.h"
#include "run/prompt_input.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxDocuments = 1'000'000;
constexpr size_t kShownBytes = 120;

std::vector<Option> rerank_options() {
  using Kind = OptionKind;
  std::vector<Option> options = {
      {.name = "--query", .kind = Kind::text, .metavar = "TEXT", .help = "the query to rank the documents by"},
      {.name = "--batch",
       .help = "read JSON Lines from stdin: objects with \"text\", whose other fields are passed on"},
      {.name = "--instruct",
       .kind = Kind::text,
       .metavar = "TASK",
       .help = "the task in words, for rerankers that accept one (Qwen3-Reranker)"},
      {.name = "--top-n", .kind = Kind::integer, .metavar = "N", .help = "print only the N best", .min = 1, .max = 1e9},
      {.name = "--raw-scores", .help = "raw scores of the model, without activation"},
  };
  for (const Option& option : encoder_options()) options.push_back(option);
  return options;
}

std::unique_ptr<TextSource> open_documents(const Args& args) {
  const auto files = args.words("file");
  const bool pipe = files == std::vector<std::string>{"-"};
  if (args.has("--batch") && !files.empty() && !pipe)
    throw Error(ErrorKind::invalid, "files and --batch exclude each other");
  if (args.has("--batch")) return text_json_lines(std::cin);
  if (!files.empty() && !pipe) return text_files(files);
  if (!pipe && isatty(STDIN_FILENO)) {
    throw Error(ErrorKind::invalid, "there are no documents: give files, or lines on stdin (`-`)");
  }
  return text_lines(std::cin);
}

struct Ranked {
  Json fields;
  size_t index;
  float score;
};

struct Ranking {
  std::vector<Ranked> documents;  // the best first
  int64_t count = 0, tokens = 0;  // of all
};

Ranking rank(const Args& args, Embedder& embedder, TextSource& source) {
  const InterruptGuard guard;
  const RankingQuery query = encode_as(
      "--query", [&] { return embedder.encoder().ranking_query(args.text("--query"), args.text("--instruct")); });
  const Truncate truncate = read_truncate(args);
  const auto batch_size = static_cast<size_t>(args.integer("--batch-size"));
  const auto activation =
      args.has("--raw-scores") ? ClassifierConfig::Activation::identity : embedder.encoder().classifier().activation;
  std::vector<Ranked> ranked;
  std::vector<EncodedText> texts;
  const auto compute = [&] {
    const size_t first = ranked.size() - texts.size();
    const auto numbers = embedder.submit(std::exchange(texts, {})).wait(interrupted);
    for (size_t i = 0; i < numbers.size(); ++i)
      ranked[first + i].score = activate(numbers[i].vector, activation).back();
  };
  int64_t tokens = 0;
  while (auto record = source.next()) {
    if (ranked.size() == kMaxDocuments) {
      throw Error(ErrorKind::invalid, fmt::format("more than {} documents", kMaxDocuments));
    }
    texts.push_back(encode_as(fmt::format("document {}", ranked.size() + 1),
                              [&] { return embedder.encoder().encode_pair(query, record->text, truncate); }));
    tokens += static_cast<int64_t>(texts.back().ids.size());
    ranked.push_back({std::move(record->fields), ranked.size(), 0});
    if (texts.size() == batch_size) compute();
  }
  if (!texts.empty()) compute();
  if (ranked.empty())
    throw Error(ErrorKind::invalid, "there are no documents on stdin: give a line for each, or files");
  const auto count = static_cast<int64_t>(ranked.size());
  std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) { return a.score > b.score; });
  const auto most = args.has("--top-n") ? static_cast<size_t>(args.integer("--top-n")) : ranked.size();
  ranked.resize(std::min(ranked.size(), most));
  return {std::move(ranked), count, tokens};
}

/// The file's name, or the beginning of the text on one line.
std::string shown_text(const Json& fields) {
  if (fields.contains("file")) return printable(fields["file"].get<std::string>());
  std::string text = fields["text"].get<std::string>();
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() <= kShownBytes) return printable(text);
  size_t end = kShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return printable(text.substr(0, end)) + "…";
}

int rerank(const Args& args) {
  check_cpu(args);
  if (args.text("--query").empty())
    throw Error(ErrorKind::invalid, "--query is missing: give the query to rank the documents by");
  check_text(args.text("--query"), "--query");
  read_truncate(args);
  auto source = open_documents(args);
  apply_threads(args);
  const auto start = Clock::now();
  Embedder embedder(runnable_argument(args.word("model")), EncoderTask::rerank, open_engine);
  const auto begin = Clock::now();
  const Ranking ranking = rank(args, embedder, *source);
  if (args.has("--verbose")) {
    print_speed(seconds(begin - start), ranking.count, ranking.tokens, seconds(Clock::now() - begin));
  }
  if (args.has("--json")) {
    Json results = Json::array();
    for (const Ranked& one : ranking.documents) {
      Json result = {{"index", one.index}, {"score", as_written(one.score)}};
      for (const auto& [name, value] : one.fields.items()) {
        if (!result.contains(name)) result[name] = value;
      }
      results.push_back(std::move(result));
    }
    print_json(success_envelope("rerank", {{"model", shown_name(embedder.info())}, {"results", std::move(results)}}));
    return 0;
  }
  for (const Ranked& one : ranking.documents)
    print_line(fmt::format("{:.6f}\t{}\t{}", one.score, one.index, shown_text(one.fields)));
  return 0;
}

int run_rerank(const Args& args) {
  return with_encoder_errors("NotAReranker", [&] { return rerank(args); });
}

}  // namespace

extern const Command kRerankCommand;
const Command kRerankCommand = {
    .name = "rerank",
    .help = "sort documents by how well they answer a query",
    .positionals = {{"model", PositionalKind::required, kModelHelp},
                    {"file", PositionalKind::rest, "each file is a document; `-`: each line of stdin is one"}},
    .options = rerank_options(),
    .run = run_rerank,
    .environment = model_places({{"MLXK_MEMORY_LIMIT", "memory that models may use, in bytes"}}),
};

}  // namespace mlxk

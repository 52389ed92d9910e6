// `mlxk embed MODEL [TEXT …]`: texts in, vectors out.
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <deque>
#include <iostream>
#include <limits>

#include "base/elapsed.h"
#include "base/error.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "embed/embed_options.h"
#include "embed/text_source.h"
#include "embed/vector_output.h"
#include "engine/open.h"
#include "hub/workspace.h"
#include "json/api.h"
#include "json/floats.h"
#include "json/json.h"
#include "json/member.h"
#include "serving/text_prompt.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"
#include "terminal/progress_line.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

std::vector<Option> embed_options() {
  using Kind = OptionKind;
  std::vector<Option> options = {
      {.name = "--batch",
       .help = "read JSON Lines from stdin: objects with \"text\", whose other fields are passed on"},
      {.name = "--file", .kind = Kind::many, .metavar = "FILE", .help = "each file is a text"},
      {.name = "--query", .help = "the texts are queries: put the model's query prompt before them"},
      {.name = "--instruct",
       .kind = Kind::text,
       .metavar = "TASK",
       .help = "the task of the queries in words; implies --query; models without instructions ignore it"},
      {.name = "--prompt-name", .kind = Kind::text, .metavar = "NAME", .help = "the model's prompt with this name"},
      {.name = "--dimensions",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "keep the first N numbers of each vector, for a model trained for it",
       .min = 1,
       .max = 1 << 20},
      {.name = "--allow-truncate", .help = "let --dimensions shorten the vectors of any model"},
      {.name = "--sparse", .help = "also give each text's sparse vector (SPLADE, BGE-M3)"},
      {.name = "--multivector", .help = "also give a vector per token (ColBERT, BGE-M3)"},
      {.name = "--fill-mask",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "predict the N likeliest tokens for each text's mask token, with a masked language model",
       .min = 1,
       .max = 1000},
      {.name = "--compare", .help = "print how similar two texts are"},
      {.name = "--npy",
       .kind = Kind::text,
       .metavar = "FILE",
       .help = "write the vectors to this NumPy file, as float32"},
  };
  for (const Option& option : encoder_options()) options.push_back(option);
  return options;
}

/// The options that apply to every text.
struct Plan {
  NamedPrompt prompt;
  Truncate truncate = Truncate::end;
  int64_t dimensions = 0;
  EmbedOutputs outputs;
};

/// The model's vector and the requested outputs; for a model without a vector its own kind of output.
EmbedOutputs read_outputs(const Args& args, const Embedder& embedder) {
  const EmbeddingFacts& own = embedder.facts();
  if (args.has("--fill-mask")) {
    for (const char* other : {"--sparse", "--multivector", "--compare", "--npy", "--dimensions"}) {
      if (args.has(other)) throw Error(ErrorKind::invalid, fmt::format("--fill-mask and {} exclude each other", other));
    }
    if (!own.predicts_tokens || !embedder.info().fills_masks) {
      throw Error(ErrorKind::invalid,
                  fmt::format("--fill-mask: '{}' is not a masked language model", shown_name(embedder.info())));
    }
    return {.vector = false, .predictions = static_cast<int>(args.integer("--fill-mask"))};
  }
  EmbedOutputs outputs{own.dimensions > 0, args.has("--sparse"), args.has("--multivector")};
  const auto refuse = [&](bool asked, bool has, const char* option, const char* what) {
    if (!asked || has) return;
    throw Error(ErrorKind::invalid, fmt::format("{}: '{}' has no {}", option, shown_name(embedder.info()), what));
  };
  refuse(outputs.sparse, own.sparse, "--sparse", "sparse vectors");
  refuse(outputs.token_vectors, own.token_dimensions > 0, "--multivector", "token vectors");
  refuse(args.has("--npy"), outputs.vector, "--npy", "text vectors");
  if (outputs.vector || outputs.sparse || outputs.token_vectors) return outputs;
  (own.token_dimensions > 0 ? outputs.token_vectors : outputs.sparse) = true;
  return outputs;
}

NamedPrompt read_named_prompt(const Args& args, const EmbeddingConfig& config) {
  const bool instructs = args.has("--instruct");
  if (args.has("--prompt-name") && (args.has("--query") || instructs)) {
    throw Error(ErrorKind::usage, "--prompt-name and --query exclude each other");
  }
  PromptChoice choice;
  choice.name = args.text("--prompt-name");
  if (instructs && !config.instruction.empty()) choice.instruction = args.text("--instruct");
  if (instructs && config.instruction.empty()) {
    fmt::print(stderr, "Note: the model takes no instructions; --instruct has no effect beyond --query\n");
  }
  if (args.has("--query") || instructs) choice.input_type = "query";
  return choose_prompt(config, choice);
}

int64_t read_dimensions(const Args& args, const Embedder& embedder) {
  if (!args.has("--dimensions")) return 0;
  const int64_t asked = args.integer("--dimensions"), own = embedder.facts().dimensions;
  if (asked > own) {
    throw Error(ErrorKind::invalid, fmt::format("--dimensions must be at most {}, got {}", own, asked));
  }
  if (asked < own && !embedder.encoder().config().is_matryoshka && !args.has("--allow-truncate")) {
    throw Error(
        ErrorKind::invalid,
        fmt::format("'{}' was not trained for vectors shorter than its {} numbers", shown_name(embedder.info()), own),
        "--allow-truncate shortens them anyway");
  }
  return asked;
}

/// The source of the texts; exactly one must be given.
std::unique_ptr<TextSource> open_source(const Args& args) {
  const auto words = args.words("text");
  const bool files = args.has("--file"), batch = args.has("--batch");
  if ((files ? 1 : 0) + (batch ? 1 : 0) + (words.empty() ? 0 : 1) > 1) {
    throw Error(ErrorKind::invalid, "texts, --file and --batch exclude each other");
  }
  if (files) return text_files(args.list("--file"));
  if (batch) return text_json_lines(std::cin);
  if (!words.empty()) return text_words(words, std::cin);
  if (isatty(STDIN_FILENO)) {
    throw Error(ErrorKind::invalid, "there is no text: give one, `-` for stdin, --file or --batch");
  }
  return text_words({"-"}, std::cin);
}

/// The hash of a workspace's content, the revision of a cached model, or null.
Json content_hash(const ModelInfo& info) {
  if (info.ref.cached) return info.ref.revision.empty() ? Json(nullptr) : Json(info.ref.revision);
  const auto sentinel = read_sentinel(info.ref.path);
  const std::string hash = sentinel ? string_at(*sentinel, "content_hash") : "";
  return hash.empty() ? Json(nullptr) : Json(hash);
}

/// A batch of records on its way through the engine.
struct Batch {
  std::vector<Json> fields;
  std::vector<EncodedText> masked;  // the texts, if tokens are predicted
  PendingVectors pending;
};

/// Reads, computes and writes, with two batches in flight: one is tokenised while the other is computed.
class EmbedRun {
 public:
  EmbedRun(const Args& args, Embedder& embedder, Plan plan)
      : embedder_(embedder),
        plan_(std::move(plan)),
        batch_size_(static_cast<size_t>(args.integer("--batch-size"))),
        progress_(args.has("--json")) {}

  void run(TextSource& source, VectorOutput& output) {
    const InterruptGuard guard;
    std::vector<EncodedText> texts;
    std::vector<Json> fields;
    std::deque<Batch> in_flight;
    const auto flush = [&](size_t most) {
      while (in_flight.size() > most) {
        write(in_flight.front(), output);
        in_flight.pop_front();
      }
    };
    while (auto record = source.next()) {
      texts.push_back(encode(*record));
      fields.push_back(std::move(record->fields));
      if (texts.size() < batch_size_) continue;
      in_flight.push_back(submit(fields, texts));
      flush(1);
    }
    if (!texts.empty()) in_flight.push_back(submit(fields, texts));
    flush(0);
    progress_.clear();
    output.finish();
  }

  int64_t texts() const { return count_; }
  int64_t tokens() const { return tokens_; }
  int64_t cut() const { return cut_; }

 private:
  Batch submit(std::vector<Json>& fields, std::vector<EncodedText>& texts) {
    std::vector<EncodedText> masked;
    if (plan_.outputs.predictions > 0) masked = texts;
    return {std::exchange(fields, {}), std::move(masked), embedder_.submit(std::exchange(texts, {}), plan_.outputs)};
  }

  EncodedText encode(const TextRecord& record) {
    ++count_;
    const std::string place =
        record.fields.contains("file") ? record.fields["file"].get<std::string>() : fmt::format("text {}", count_);
    return encode_as(place, [&] {
      const TextEncoder& encoder = embedder_.encoder();
      EncodedText text = plan_.outputs.predictions > 0 ? encoder.encode_masked(record.text, plan_.truncate)
                                                       : encoder.encode(record.text, plan_.prompt, plan_.truncate);
      tokens_ += static_cast<int64_t>(text.ids.size());
      if (text.is_cut) ++cut_;
      return text;
    });
  }

  void write(Batch& batch, VectorOutput& output) {
    auto numbers = batch.pending.wait(interrupted);
    for (size_t i = 0; i < numbers.size(); ++i) {
      TextVectors written = to_output(numbers[i]);
      if (!batch.masked.empty()) written.predictions = predictions(numbers[i].predictions, batch.masked[i]);
      output.add(batch.fields[i], written);
    }
    progress_.show_count("texts", count_);
  }

  TextVectors to_output(TextNumbers& numbers) const {
    TextVectors written;
    if (plan_.outputs.vector) {
      finish_vector(numbers.vector, plan_.dimensions, true);
      written.vector = std::move(numbers.vector);
    }
    if (plan_.outputs.sparse) written.sparse = embedder_.encoder().sparse_vector(std::move(numbers.sparse));
    if (plan_.outputs.token_vectors) {
      const auto width = static_cast<std::ptrdiff_t>(embedder_.facts().token_dimensions);
      auto& rows = written.tokens.emplace();
      for (auto at = numbers.token_vectors.begin(); at != numbers.token_vectors.end(); at += width) {
        rows.emplace_back(at, at + width);
      }
    }
    return written;
  }

  /// In the form of transformers' fill-mask pipeline.
  Json predictions(const TokenWeights& found, const EncodedText& text) const {
    const Tokenizer& tokenizer = *embedder_.encoder().tokenizer();
    Json list = Json::array();
    for (size_t i = 0; i < found.ids.size(); ++i) {
      std::vector<int32_t> ids = text.ids;
      ids[static_cast<size_t>(text.masked)] = found.ids[i];
      list.push_back({{"score", as_written(found.weights[i])},
                      {"token", found.ids[i]},
                      {"token_str", tokenizer.decode(std::vector{found.ids[i]}, false)},
                      {"sequence", tokenizer.decode(ids, true)}});
    }
    return list;
  }

  Embedder& embedder_;
  const Plan plan_;
  const size_t batch_size_;
  ProgressLine progress_;
  int64_t count_ = 0, tokens_ = 0, cut_ = 0;
};

/// The model's own similarity measure; a distance is negated, so that a larger value always means more similar.
double similarity(const std::string& function, const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, aa = 0, bb = 0, square = 0, absolute = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    dot += x * y;
    aa += x * x;
    bb += y * y;
    square += (x - y) * (x - y);
    absolute += std::abs(x - y);
  }
  if (function == "dot") return dot;
  if (function == "euclidean") return -std::sqrt(square);
  if (function == "manhattan") return -absolute;
  return aa > 0 && bb > 0 ? dot / std::sqrt(aa * bb) : 0;
}

/// The dot product of two sparse vectors whose ids ascend.
double sparse_similarity(const TokenWeights& a, const TokenWeights& b) {
  double dot = 0;
  for (size_t i = 0, j = 0; i < a.ids.size() && j < b.ids.size();) {
    if (a.ids[i] == b.ids[j]) dot += static_cast<double>(a.weights[i]) * static_cast<double>(b.weights[j]);
    const bool first = a.ids[i] <= b.ids[j], second = b.ids[j] <= a.ids[i];
    if (first) ++i;
    if (second) ++j;
  }
  return dot;
}

/// ColBERT's MaxSim: the sum, over the query's tokens, of the largest dot product with a token of the document.
double max_sim(const std::vector<std::vector<float>>& query, const std::vector<std::vector<float>>& document) {
  double sum = 0;
  for (const auto& token : query) {
    double largest = document.empty() ? 0 : -std::numeric_limits<double>::infinity();
    for (const auto& other : document) largest = std::max(largest, similarity("dot", token, other));
    sum += largest;
  }
  return sum;
}

/// The measure's name and value.
std::pair<std::string, double> compared(const std::string& function, const TextVectors& a, const TextVectors& b) {
  if (a.vector) return {function, similarity(function, *a.vector, *b.vector)};
  if (a.tokens) return {"maxsim", max_sim(*a.tokens, *b.tokens)};
  return {"dot", sparse_similarity(*a.sparse, *b.sparse)};
}

/// Stores the vectors.
class Kept : public VectorOutput {
 public:
  void add(const Json&, const TextVectors& vectors) override { texts.push_back(vectors); }
  void finish() override {}
  std::vector<TextVectors> texts;
};

int compare(const Args& args, Embedder& embedder, const Plan& plan) {
  const auto words = args.words("text");
  if (words.size() != 2)
    throw Error(ErrorKind::invalid, fmt::format("--compare takes two texts, got {}", words.size()));
  // The second one is a document if the model distinguishes them; MaxSim compares a query with a document.
  const EmbeddingConfig& config = embedder.encoder().config();
  Kept first, second;
  Plan queries = plan, documents = plan;
  if (config.late_interaction) queries.prompt = choose_prompt(config, {.input_type = "query"});
  if (args.has("--query") || config.late_interaction) {
    documents.prompt = choose_prompt(config, {.input_type = "document"});
  }
  EmbedRun one(args, embedder, queries);
  one.run(*text_words({words[0]}, std::cin), first);
  EmbedRun other(args, embedder, documents);
  other.run(*text_words({words[1]}, std::cin), second);
  const auto [function, value] = compared(config.similarity, first.texts.at(0), second.texts.at(0));
  if (args.has("--json")) {
    print_json(success_envelope("embed", {{"similarity", value}, {"function", function}}));
  } else {
    print_line(fmt::format("{:.4f}", value));
  }
  return 0;
}

int embed(const Args& args) {
  check_cpu(args);
  const Truncate truncate = read_truncate(args);
  if (args.has("--compare") && (args.has("--file") || args.has("--batch") || args.has("--npy"))) {
    throw Error(ErrorKind::invalid, "--compare takes two texts, and no --file, --batch or --npy");
  }
  if (args.has("--npy") && args.has("--json")) throw Error(ErrorKind::invalid, "--npy and --json exclude each other");
  auto source = args.has("--compare") ? nullptr : open_source(args);
  apply_threads(args);
  const auto start = Clock::now();
  Embedder embedder(runnable_argument(args.word("model")), EncoderTask::embed, open_engine);
  const double load_s = seconds(Clock::now() - start);
  Plan plan{read_named_prompt(args, embedder.encoder().config()), truncate, read_dimensions(args, embedder),
            read_outputs(args, embedder)};
  if (args.has("--compare")) return compare(args, embedder, plan);

  const int64_t dimensions = plan.dimensions > 0               ? plan.dimensions
                             : embedder.facts().dimensions > 0 ? embedder.facts().dimensions
                                                               : embedder.facts().token_dimensions;
  Json metadata = {{"model", shown_name(embedder.info())},
                   {"dimensions", dimensions},
                   {"content_hash", content_hash(embedder.info())},
                   {"device", device_word(embedder)}};
  const auto output = args.has("--npy")    ? npy_output(args.text("--npy"))
                      : args.has("--json") ? envelope_output(std::move(metadata))
                                           : json_lines_output(std::move(metadata));
  EmbedRun run(args, embedder, std::move(plan));
  const auto begin = Clock::now();
  run.run(*source, *output);
  const double took = seconds(Clock::now() - begin);
  if (run.cut() > 0) {
    fmt::print(stderr, "Note: {} longer than the model's {} tokens: the rest was left out (--truncate)\n",
               run.cut() == 1 ? "1 text is" : fmt::format("{} texts are", run.cut()), embedder.encoder().max_tokens());
  }
  if (args.has("--verbose")) {
    print_speed(load_s, run.texts(), run.tokens(), took);
  }
  return 0;
}

int run_embed(const Args& args) {
  return with_encoder_errors("NotAnEmbedder", [&] { return embed(args); });
}

}  // namespace

extern const Command kEmbedCommand;
const Command kEmbedCommand = {
    .name = "embed",
    .help = "turn texts into vectors",
    .positionals = {{"model", PositionalKind::required, kModelHelp},
                    {"text", PositionalKind::rest, "texts, each embedded separately; `-` is all of stdin"}},
    .options = embed_options(),
    .run = run_embed,
    .environment = model_places({{"MLXK_MEMORY_LIMIT", "memory that models may use, in bytes"},
                                 {"MLXK2_ENABLE_ALPHA_FEATURES", "accepted; embeddings need no gate"}}),
};

}  // namespace mlxk

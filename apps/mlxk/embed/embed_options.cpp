#include "embed/embed_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/counted.h"
#include "base/error.h"
#include "cli/threads_option.h"
#include "serving/admission.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

const char* type_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::not_found:
    case ErrorKind::no_revision: return "ModelNotFound";
    case ErrorKind::ambiguous: return "AmbiguousMatch";
    case ErrorKind::unsupported: return "NotImplemented";
    case ErrorKind::usage:
    case ErrorKind::invalid: return "ValidationError";
    default: return "EmbeddingError";
  }
}

}  // namespace

std::vector<Option> encoder_options() {
  using Kind = OptionKind;
  return {
      {.name = "--truncate",
       .kind = Kind::text,
       .metavar = "WHERE",
       .help = "the part to cut from a text that is too long: its start, its end, or none (an error)",
       .default_value = "end",
       .choices = {"none", "start", "end"}},
      {.name = "--batch-size",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "texts per batch",
       .default_value = "256",
       .min = 1,
       .max = 65536},
      {.name = "--cpu", .help = "compute on the CPU, which a CPU build does anyway"},
      threads_option(),
      {.name = "--verbose", .help = "print load time, token counts and speed on stderr"},
      json_option(),
  };
}

Truncate read_truncate(const Args& args) {
  const std::string where = args.text("--truncate");
  if (where == "none") return Truncate::none;
  if (where == "start") return Truncate::start;
  if (where == "end") return Truncate::end;
  throw Error(ErrorKind::usage, fmt::format("argument --truncate: one of none, start, end; got '{}'", where));
}

void check_cpu(const Args& args) {
  if (args.has("--cpu") && std::string_view(MLXK_BACKEND) != "cpu") {
    throw Error(ErrorKind::unsupported, fmt::format("--cpu: this build computes with {}", MLXK_BACKEND),
                "build with the CPU backend, or leave --cpu out");
  }
}

int with_encoder_errors(const char* mismatch, const std::function<int()>& work) {
  try {
    return work();
  } catch (const CommandFailure&) {
    throw;
  } catch (const Error& error) {
    const bool mismatched = dynamic_cast<const CapabilityMismatch*>(&error) != nullptr;
    throw CommandFailure(error.kind(), mismatched ? mismatch : type_of(error.kind()), error.what(), nullptr,
                         error.hint());
  }
}

void print_speed(double load_s, int64_t texts, int64_t tokens, double compute_s) {
  fmt::print(stderr, "Loaded in {:.2f}s\n{}, {} tokens in {:.2f}s ({:.0f} tokens/s)\n", load_s,
             counted(static_cast<uint64_t>(texts), "text"), tokens, compute_s,
             static_cast<double>(tokens) / std::max(compute_s, 1e-9));
}

std::string device_word(Embedder& embedder) { return embedder.device().name == "cpu" ? "cpu" : "gpu"; }

std::string shown_name(const ModelInfo& info) {
  return info.ref.cached ? info.ref.name : std::filesystem::path(info.ref.path).filename().string();
}

}  // namespace mlxk

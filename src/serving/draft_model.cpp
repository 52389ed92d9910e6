#include "serving/draft_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "hub/resolve.h"
#include "serving/admission.h"
#include "serving/memory_room.h"
#include "tokenizer/tokenizer.h"
#include "worker/facts.h"
#include "worker/load_options.h"

namespace mlxk {

namespace {

/// Throws invalid at the first id that means different texts in the two vocabularies.
void check_same_vocabulary(const ModelInfo& draft, const ModelInfo& target) {
  const auto ours = Tokenizer::load(draft.ref.path), theirs = Tokenizer::load(target.ref.path);
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::invalid,
                fmt::format("the draft model '{}' has a different vocabulary than '{}': {}", draft.ref.name,
                            target.ref.name, why),
                "use a smaller model of the same family as draft model");
  };
  if (ours->vocab_size() != theirs->vocab_size()) {
    refuse(fmt::format("{} tokens, not {}", ours->vocab_size(), theirs->vocab_size()));
  }
  for (int32_t id = 0; id < ours->vocab_size(); ++id) {
    const auto one = ours->id_to_token(id), other = theirs->id_to_token(id);
    if (one != other) refuse(fmt::format("token {} is '{}', not '{}'", id, one.value_or(""), other.value_or("")));
  }
}

}  // namespace

ModelInfo find_draft(const std::string& spec, const ModelInfo& target, const Machine& machine, Context context) {
  ModelInfo draft;
  try {
    draft = probe_model(resolve_model(spec));
    admit_text(draft, machine, {.context = context});
  } catch (const Error& e) {
    throw Error(e.kind(), fmt::format("the draft model: {}", e.what()), e.hint());
  }
  admit_text(target, Machine{}, {.context = context});
  check_same_vocabulary(draft, target);
  const uint64_t bytes = weights_of(draft), beside = weights_of(target);
  if (bytes >= beside) {
    log::warn(fmt::format("the draft model '{}' is not smaller than '{}': it will hardly help", draft.ref.name,
                          target.ref.name));
  }
  if (!fits_memory(bytes + beside, machine)) {
    log::warn(fmt::format("'{}' and its draft model '{}' together are larger than 70% of the memory", target.ref.name,
                          draft.ref.name));
  }
  return draft;
}

void log_speculation(const std::string& model, const LoadOptions& options, const ModelFacts& facts) {
  const bool drafts = !options.draft_dir.empty();
  if (!drafts && options.prompt_lookup == PromptLookup::off) return;
  const auto level = drafts || options.prompt_lookup == PromptLookup::on ? log::Level::warn : log::Level::info;
  if (facts.speculative_tokens == 0) {
    log::write(level, fmt::format("No drafts for '{}': its caches cannot forget tokens", model));
  } else if (facts.context_length == 0 || facts.speculative_tokens < facts.context_length) {
    if (facts.speculative_tokens < std::numeric_limits<int32_t>::max()) {
      log::info(
          fmt::format("Drafts for '{}' only in texts of up to {} tokens: after that its caches cannot forget tokens",
                      model, facts.speculative_tokens));
    }
  }
  if (drafts && facts.speculative_tokens > 0 && facts.draft_weight_bytes == 0) {
    log::warn(fmt::format("The draft model of '{}' is not used: its own caches cannot forget tokens", model));
  }
}

}  // namespace mlxk

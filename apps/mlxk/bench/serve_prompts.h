#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// One request of a load.
struct LoadPrompt {
  Json messages;           // messages of a chat; null: `text` is the prompt
  std::string text;        // the last message's text, or the prompt
  int64_t max_tokens = 0;  // of the answer; 0: not set, --max-tokens applies
};

/// The lengths of prompts and answers, in tokens.
struct LoadLengths {
  bool sharegpt = true;  // lognormal, like ShareGPT conversations; else the lengths below
  int64_t prompt = 0, answer = 0;
};

/// Parses "sharegpt" or "PROMPT:ANSWER"; throws usage.
LoadLengths read_lengths(const std::string& text);

/// Makes `count` prompts of ordinary words, with no common prefixes. The same `seed` gives the same prompts. A word
/// counts as a token.
std::vector<LoadPrompt> make_prompts(size_t count, const LoadLengths& lengths, uint64_t seed);

/// Reads the prompts of a file: JSON Lines with "prompt" or "messages" (and "max_tokens"), a JSON list of ShareGPT
/// conversations, or plain text with one prompt per line. Throws io, not_found, and invalid naming the line or the
/// entry.
std::vector<LoadPrompt> read_prompts(const std::string& path);

/// A uniform number in [0, 1). Not std::uniform_real_distribution, whose numbers differ between platforms.
double uniform(std::mt19937_64& random);

}  // namespace mlxk

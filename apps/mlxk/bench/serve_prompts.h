#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// One request of a load.
struct LoadPrompt {
  Json messages;           // of a chat; null: `text` is the prompt
  std::string text;        // the last message's, or the prompt
  int64_t max_tokens = 0;  // of the answer; 0: as the command says
};

/// How long prompts and answers are, in tokens.
struct LoadLengths {
  bool sharegpt = true;  // lognormal, as conversations of ShareGPT are; else the numbers below
  int64_t prompt = 0, answer = 0;
};

/// "sharegpt" or "PROMPT:ANSWER"; throws usage.
LoadLengths read_lengths(const std::string& text);

/// `count` prompts of ordinary words, no two of which begin alike, the same for the same `seed`. A word counts as a
/// token.
std::vector<LoadPrompt> make_prompts(size_t count, const LoadLengths& lengths, uint64_t seed);

/// Prompts of a file: JSON Lines with "prompt" or "messages" (and "max_tokens"), a JSON list of ShareGPT's
/// conversations, or plain text, a prompt a line. Throws io, not_found, and invalid naming the line or the entry.
std::vector<LoadPrompt> read_prompts(const std::string& path);

/// A number of [0, 1) from the upper bits of the generator: the library's distributions differ between platforms.
double uniform(std::mt19937_64& random);

}  // namespace mlxk

#include "convert/model_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace mlxk {

namespace {

/// A top-level key of the front matter with the lines below it.
struct Block {
  std::string key;
  std::vector<std::string> lines;
};

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\"'");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\"'") - first + 1);
}

std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  auto line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

/// The YAML between the first two "---" lines; empty if there is none.
std::vector<Block> front_matter(std::string_view text) {
  std::vector<Block> blocks;
  if (take_line(text) != "---") return {};
  while (!text.empty()) {
    const auto line = take_line(text);
    if (line == "---") return blocks;
    const auto colon = line.find(':');
    const bool key =
        !line.empty() && line.front() != ' ' && line.front() != '-' && line.front() != '#' && colon != line.npos;
    if (key) blocks.push_back({std::string(line.substr(0, colon)), {}});
    if (!blocks.empty()) blocks.back().lines.emplace_back(line);
  }
  return {};  // not closed
}

std::vector<Block>::iterator find_or_add(std::vector<Block>& blocks, const std::string& key) {
  for (auto it = blocks.begin(); it != blocks.end(); ++it) {
    if (it->key == key) return it;
  }
  return blocks.insert(blocks.end(), {key, {key + ":"}});
}

void set(std::vector<Block>& blocks, const std::string& key, const std::string& value) {
  find_or_add(blocks, key)->lines = {key + ": " + value};
}

void add_tag(std::vector<Block>& blocks, std::string_view tag) {
  auto& lines = find_or_add(blocks, "tags")->lines;
  auto first = trimmed(std::string_view(lines.front()).substr(5));
  if (!first.empty() && first.front() == '[' && first.back() == ']') {  // tags: [a, b]
    first = first.substr(1, first.size() - 2);
    std::vector<std::string> expanded{"tags:"};
    while (!first.empty()) {
      const auto comma = first.find(',');
      const auto item = trimmed(first.substr(0, comma));
      if (!item.empty()) expanded.push_back(fmt::format("- {}", item));
      first.remove_prefix(comma == first.npos ? first.size() : comma + 1);
    }
    lines = expanded;
  }
  for (const auto& line : lines) {
    const auto dash = line.find('-');
    if (dash != line.npos && trimmed(std::string_view(line).substr(dash + 1)) == tag) return;
  }
  const auto dash = lines.back().find('-');
  const std::string indent(lines.size() > 1 && dash != std::string::npos ? dash : 0, ' ');
  lines.push_back(fmt::format("{}- {}", indent, tag));
}

std::string drift_lines(const Drift& drift) {
  return fmt::format(
      "\n## Drift from the source\n\nMeasured by `mlxk convert --check` on {} tokens of the text that comes with "
      "mlxk.\n\n"
      "| | |\n|---|---|\n| KL divergence, mean | {:.6f} nats |\n| KL divergence, largest | {:.6f} nats |\n"
      "| same likeliest token | {:.2f} % |\n",
      drift.tokens, drift.mean_kl, drift.max_kl, drift.top1_agreement * 100);
}

std::string drift_lines(const VectorDrift& drift) {
  return fmt::format(
      "\n## Drift from the source\n\nMeasured by `mlxk convert --check` on the vectors of {} texts that come with "
      "mlxk.\n\n| | |\n|---|---|\n| cosine, mean | {:.6f} |\n| cosine, smallest | {:.6f} |\n",
      drift.texts, drift.mean_cosine, drift.min_cosine);
}
}  // namespace

std::string model_card(std::string_view source, const CardFacts& facts) {
  auto blocks = front_matter(source);
  if (blocks.empty()) set(blocks, "language", "en");
  set(blocks, "library_name", "mlx");
  if (!facts.is_encoder) {
    set(blocks, "pipeline_tag", "text-generation");
  } else if (std::none_of(blocks.begin(), blocks.end(), [](const Block& one) { return one.key == "pipeline_tag"; })) {
    set(blocks, "pipeline_tag", "feature-extraction");
  }
  add_tag(blocks, "mlx");
  if (!facts.base_model.empty()) set(blocks, "base_model", facts.base_model);
  std::string card = "---\n";
  for (const auto& block : blocks) {
    for (const auto& line : block.lines) card += line + "\n";
  }
  const auto from = facts.base_model.empty() ? std::string() : fmt::format(" from {}", facts.base_model);
  const auto as = facts.quantization.empty() ? std::string() : ", " + facts.quantization;
  card += fmt::format("---\n\n# {}\n\nConverted to MLX format{} by mlxk {}{}.\n", facts.title, from, MLXK_VERSION, as);
  if (facts.drift) card += drift_lines(*facts.drift);
  if (facts.vector_drift) card += drift_lines(*facts.vector_drift);
  return card;
}

}  // namespace mlxk

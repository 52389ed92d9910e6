#include "server/openai/image_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <type_traits>

#include "json/json.h"

namespace mlxk {

namespace {

constexpr std::string_view kEnd = "</details>";

/// The texts of an earlier answer, a string or parts; none of another message.
template <class Message>
auto answer_texts(Message& message) {
  using Text = std::conditional_t<std::is_const_v<Message>, const std::string, std::string>;
  std::vector<Text*> texts;
  if (message.value("role", "") != "assistant" || !message.contains("content")) return texts;
  const auto add = [&](auto& text) {
    if (text.is_string()) texts.push_back(&text.template get_ref<Text&>());
  };
  auto& content = message["content"];
  add(content);
  if (!content.is_array()) return texts;
  for (auto& part : content) {
    if (part.contains("text")) add(part["text"]);
  }
  return texts;
}

/// The length of the table of images that a text begins with; 0: none.
size_t table_length(std::string_view text) {
  if (!text.starts_with("<details>")) return 0;
  const size_t mark = text.find(kImageTableMark), end = text.find(kEnd);
  if (end == text.npos || mark > end) return 0;
  return std::min(text.find_first_not_of('\n', end + kEnd.size()), text.size());
}

/// Numbers by hash.
using Numbers = std::map<std::string, int64_t>;

/// Learns the rows `| 3 | image_0a1b2c3d.` of the table that a text begins with.
void read_rows(std::string_view text, Numbers& numbers) {
  constexpr std::string_view kMiddle = " | image_";
  constexpr int64_t kMost = 1'000'000;
  text = text.substr(0, table_length(text));
  for (size_t at = text.find("\n| "); at != text.npos; at = text.find("\n| ", at + 1)) {
    int64_t number = 0;
    size_t i = at + 3;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && number < kMost; ++i) {
      number = 10 * number + (text[i] - '0');
    }
    if (number == 0 || text.substr(i, kMiddle.size()) != kMiddle) continue;
    const std::string hash(text.substr(i + kMiddle.size(), 8));
    const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    if (hash.size() == 8 && std::all_of(hash.begin(), hash.end(), is_hex)) numbers.try_emplace(hash, number);
  }
}

/// The ending of an image file's name, by its first bytes.
std::string_view ending_of(std::string_view bytes) {
  if (bytes.starts_with("\x89PNG")) return "png";
  if (bytes.starts_with("GIF8")) return "gif";
  if (bytes.starts_with("RIFF")) return "webp";
  return bytes.starts_with("BM") ? "bmp" : "jpeg";
}

}  // namespace

std::vector<ImageRow> image_rows(const Json& messages, const std::vector<ImageFile>& files,
                                 const std::vector<ImageMetadata>& metadata) {
  Numbers numbers;
  std::vector<ImageRow> rows;
  size_t next = 0;
  const auto add = [&](const ImageFile& file, const ImageMetadata& own) {
    const std::string hash = image_hash(file.bytes);
    int64_t largest = 0;
    for (const auto& [known, number] : numbers) largest = std::max(largest, number);
    const int64_t number = numbers.try_emplace(hash, largest + 1).first->second;
    if (std::any_of(rows.begin(), rows.end(), [&](const ImageRow& row) { return row.hash == hash; })) return;
    rows.push_back({number, hash, fmt::format("image_{}.{}", hash, ending_of(file.bytes)), own});
  };
  for (const Json& message : messages) {
    for (const std::string* text : answer_texts(message)) read_rows(*text, numbers);
    if (!message.contains("content") || !message["content"].is_array()) continue;
    for (const Json& part : message["content"]) {
      if (part.value("type", "") != "image" || next >= files.size()) continue;
      add(files[next], metadata[next]);
      ++next;
    }
  }
  return rows;
}

bool has_image_tables(const Json& messages) {
  return std::any_of(messages.begin(), messages.end(), [](const Json& message) {
    const auto texts = answer_texts(message);
    return std::any_of(texts.begin(), texts.end(), [](const std::string* text) { return table_length(*text) > 0; });
  });
}

void remove_image_tables(Json& messages) {
  for (Json& message : messages) {
    for (std::string* text : answer_texts(message)) text->erase(0, table_length(*text));
  }
}

}  // namespace mlxk

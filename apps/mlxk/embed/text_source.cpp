#include "embed/text_source.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "run/prompt_input.h"

namespace mlxk {

namespace {

constexpr size_t kMaxLine = size_t{64} << 20;  // bytes of a line, of a file, of stdin as one text
constexpr const char* kBlanks = " \t\r";

TextRecord record_of(std::string text) {
  Json fields = {{"text", text}};
  return {std::move(fields), std::move(text)};
}

/// The next line that is not blank, with its number; a line longer than kMaxLine is refused.
class Lines {
 public:
  explicit Lines(std::istream& input) : input_(input) {}

  bool next(std::string& line) {
    while (read(line)) {
      ++number_;
      if (line.find_first_not_of(kBlanks) == std::string::npos) continue;
      check_text(line, fmt::format("line {} of stdin", number_));
      return true;
    }
    return false;
  }
  size_t number() const { return number_; }

 private:
  bool read(std::string& line) {
    line.clear();
    for (int c = input_.get(); c != std::istream::traits_type::eof(); c = input_.get()) {
      if (c == '\n') return true;
      line += static_cast<char>(c);
      if (line.size() > kMaxLine) {
        throw Error(ErrorKind::invalid,
                    fmt::format("line {} of stdin is longer than {} MiB", number_ + 1, kMaxLine >> 20));
      }
    }
    return !line.empty();
  }

  std::istream& input_;
  size_t number_ = 0;
};

class Words : public TextSource {
 public:
  Words(std::vector<std::string> words, std::istream& input) : words_(std::move(words)), input_(input) {}

  std::optional<TextRecord> next() override {
    if (next_ == words_.size()) return std::nullopt;
    const std::string& word = words_[next_++];
    if (word == "-") return record_of(read_all());
    check_text(word, fmt::format("text {}", next_));
    return record_of(word);
  }

 private:
  std::string read_all() {
    std::string text = read_stream(input_, kMaxLine);
    if (text.size() > kMaxLine)
      throw Error(ErrorKind::invalid, fmt::format("stdin is larger than {} MiB", kMaxLine >> 20));
    check_text(text, "stdin");
    text.erase(text.find_last_not_of("\r\n") + 1);
    if (text.empty()) throw Error(ErrorKind::invalid, "stdin is empty");
    return text;
  }

  std::vector<std::string> words_;
  std::istream& input_;
  size_t next_ = 0;
};

class Files : public TextSource {
 public:
  explicit Files(std::vector<std::string> files) : files_(std::move(files)) {}

  std::optional<TextRecord> next() override {
    if (next_ == files_.size()) return std::nullopt;
    const std::string& file = files_[next_++];
    std::string text = read_file(file, kMaxLine);
    check_text(text, file);
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
      throw Error(ErrorKind::invalid, fmt::format("{} has no text", file));
    }
    return TextRecord{{{"file", file}}, std::move(text)};
  }

 private:
  std::vector<std::string> files_;
  size_t next_ = 0;
};

class JsonLines : public TextSource {
 public:
  explicit JsonLines(std::istream& input) : lines_(input) {}

  std::optional<TextRecord> next() override {
    std::string line;
    if (!lines_.next(line)) {
      if (lines_.number() == 0 || !any_) throw Error(ErrorKind::invalid, "No input records found (--batch)");
      return std::nullopt;
    }
    any_ = true;
    Json fields;
    try {
      fields = parse_json(line, fmt::format("line {}", lines_.number()));
    } catch (const Error& error) {
      throw Error(ErrorKind::invalid, fmt::format("Malformed JSONL on line {}: {}", lines_.number(), error.what()));
    }
    if (!fields.is_object() || !fields.contains("text") || !fields["text"].is_string()) {
      throw Error(ErrorKind::invalid, fmt::format("JSONL line {} missing 'text' field", lines_.number()));
    }
    std::string text = fields["text"].get<std::string>();
    return TextRecord{std::move(fields), std::move(text)};
  }

 private:
  Lines lines_;
  bool any_ = false;
};

class PlainLines : public TextSource {
 public:
  explicit PlainLines(std::istream& input) : lines_(input) {}

  std::optional<TextRecord> next() override {
    std::string line;
    if (!lines_.next(line)) return std::nullopt;
    if (line.ends_with('\r')) line.pop_back();
    return record_of(std::move(line));
  }

 private:
  Lines lines_;
};

}  // namespace

std::unique_ptr<TextSource> text_words(std::vector<std::string> words, std::istream& input) {
  return std::make_unique<Words>(std::move(words), input);
}

std::unique_ptr<TextSource> text_files(std::vector<std::string> files) {
  return std::make_unique<Files>(std::move(files));
}

std::unique_ptr<TextSource> text_json_lines(std::istream& input) { return std::make_unique<JsonLines>(input); }

std::unique_ptr<TextSource> text_lines(std::istream& input) { return std::make_unique<PlainLines>(input); }

}  // namespace mlxk

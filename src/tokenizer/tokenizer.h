#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "json/json_fwd.h"

namespace mlxk {

/// A text has more tokens than requested, or more bytes than a tokenizer processes at once (invalid).
class TextTooLong : public Error {
 public:
  explicit TextTooLong(const std::string& message) : Error(ErrorKind::invalid, message) {}
};

/// A model's tokenizer; immutable after load, usable from any thread.
class Tokenizer {
 public:
  static constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

  /// Reads tokenizer.json, else tokenizer.model (SentencePiece), else a tiktoken file of `model_dir`, with
  /// tokenizer_config.json beside it; throws bad_model or not_found naming the file.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& model_dir);
  /// From the bytes of a tokenizer.json and a parsed tokenizer_config.json (or {}); throws bad_model naming `place`.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view tokenizer_json, const Json& tokenizer_config,
                                                    std::string_view place);
  virtual ~Tokenizer() = default;

  /// Token ids of `text` (UTF-8; invalid bytes become U+FFFD), on request with the special tokens that the
  /// post-processor adds; special tokens written in the text are recognised. Throws TextTooLong once there are more
  /// than `max_tokens` (not counting added ones), bad_model if the work exceeds its bounds; calls check_stop().
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special_tokens,
                                      size_t max_tokens = kNoLimit) const = 0;
  /// The text of `ids`; unknown ids are skipped.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const = 0;
  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  /// The token as spelled in the vocabulary; nullopt past the table.
  virtual std::optional<std::string> id_to_token(int32_t id) const = 0;
  /// The bytes of a token within a text, possibly only part of a character: " the"; empty past the table.
  virtual std::string token_bytes(int32_t id) const = 0;
  /// One more than the largest id, including added tokens.
  virtual int32_t vocab_size() const = 0;
  virtual bool is_special(int32_t id) const = 0;
  /// Ids that end a generation: generation_config.json, else config.json, and tokenizer_config's eos_token.
  virtual const std::vector<int32_t>& eos_token_ids() const = 0;
  virtual const std::string& bos_token() const = 0;  // empty: none
  virtual const std::string& eos_token() const = 0;
  virtual const std::string& pad_token() const = 0;
  virtual const std::string& unk_token() const = 0;
};

/// Turns ids into text as they arrive, never splitting a character; all pieces together equal decode() of all ids, byte
/// for byte. One thread at a time.
class StreamDecoder {
 public:
  StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// The text that `id` completes; empty while a character is incomplete.
  std::string push(int32_t id);
  /// The text held back (an incomplete character becomes U+FFFD as in decode()).
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mlxk

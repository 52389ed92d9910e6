#pragma once

#include "rust_handle.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace mlxk {

/// The tokenizers crate behind Tokenizer.
class RustTokenizer : public Tokenizer {
 public:
  /// From the bytes of a tokenizer.json and the files beside it; throws bad_model naming `place`.
  RustTokenizer(std::string_view tokenizer_json, TokenizerConfig config, std::string place);

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens,
                              size_t max_tokens = kNoLimit) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const override;
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  std::optional<std::string> id_to_token(int32_t id) const override;
  std::string token_bytes(int32_t id) const override;
  int32_t vocab_size() const override { return vocab_size_; }
  bool is_special(int32_t id) const override;
  const std::vector<int32_t>& eos_token_ids() const override { return eos_token_ids_; }
  const std::string& bos_token() const override { return config_.bos_token; }
  const std::string& eos_token() const override { return config_.eos_token; }
  const std::string& pad_token() const override { return config_.pad_token; }
  const std::string& unk_token() const override { return config_.unk_token; }

  const mlxk_tokenizer* handle() const { return handle_.get(); }
  const std::string& place() const { return place_; }

 private:
  void repair_mistral_split();
  void set_bos_eos_processor();

  TokenizerConfig config_;
  std::string place_;
  RustPtr<mlxk_tokenizer, mlxk_tokenizer_free> handle_;
  std::vector<int32_t> eos_token_ids_;
  int32_t vocab_size_ = 0;
};

/// The Rust side of `tokenizer`; throws internal for another implementation.
const RustTokenizer& rust_tokenizer(const Tokenizer& tokenizer);

}  // namespace mlxk

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/media_cache.h"
#include "models/model.h"
#include "models/prompt_encoder.h"
#include "worker/request.h"

namespace mlxk {

/// The images and recordings of one prompt, from the encoder to the prefill. Worker thread.
class MediaPrompt {
 public:
  /// `request` was checked and must outlive this object.
  MediaPrompt(const Model& model, const GenerateRequest& request);

  /// The tokens that the decoder reads: the prompt, or of an encoder-decoder the first token of its answer.
  std::vector<int32_t> decoder_tokens() const;
  /// Whether the decoder cannot begin, because the prompt has an encoder that has not finished.
  bool owes_prompt() const { return prompt_encoder_ && !prompt_.encoded; }
  /// The offset added to the cache position of tokens after the prompt (M-RoPE).
  int position_shift() const { return positions_ ? positions_->shift : 0; }
  /// The number of prompt tokens that features of media of `kind` replace.
  int64_t placeholders(MediaKind kind) const;
  /// The number of items whose features came from the cache.
  int64_t cached_items() const { return cached_items_; }
  /// The end of a prompt chunk that begins at `begin` and should end at `end`, moved so that it does not split tokens
  /// that all attend to each other. The chunk may become the whole prompt.
  int64_t piece_end(int64_t begin, int64_t end) const;
  /// Evaluates one stage of the first item in tokens [begin, end) that is not encoded yet, or of the prompt's encoder
  /// after all items; returns false if there is none. Throws invalid if the encoder does not accept an item, or if an
  /// item's placeholders and features differ in number.
  bool encode_next(int64_t begin, int64_t end, MediaCache& cache);
  /// Adds the features and positions of the encoded items in tokens [begin, end) to `inputs`, whose ids are set; drops
  /// the features of items that end before `end`. With an encoder of the prompt, it adds the encoded prompt.
  void add_to(Inputs& inputs, int64_t begin, int64_t end);

 private:
  struct Item {
    std::shared_ptr<const EncodedMedia> encoded;
    std::optional<EncodedMedia> encoding;
    size_t stage = 0;  // the stage of the encoder that is evaluated next
    bool done = false;

    /// Evaluates the next stage of `encoding`, or after the last one its features, which become `encoded`.
    void advance();
  };

  bool encode_item(size_t i, MediaCache& cache);
  void add_items(Inputs& inputs, int64_t begin, int64_t end);

  const Model& model_;
  const GenerateRequest& request_;
  const PromptEncoder* prompt_encoder_ = nullptr;
  Item prompt_;              // with an encoder of its own
  std::vector<Item> items_;  // parallel to request_.media
  std::optional<MediaPositions> positions_;
  int64_t cached_items_ = 0;
};

/// Throws invalid naming the item if `request`'s media do not match its prompt or the model accepts none.
void check_media(const GenerateRequest& request, const Model& model);

}  // namespace mlxk

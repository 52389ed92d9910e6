#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/media_cache.h"
#include "models/model.h"
#include "worker/request.h"

namespace mlxk {

/// The images and recordings of one prompt on their way through the encoder and into the prefill. Worker thread.
class MediaPrompt {
 public:
  /// Of `request`, which was checked and outlives it.
  MediaPrompt(const Model& model, const GenerateRequest& request);

  /// Added to the cache position of tokens behind the prompt (M-RoPE).
  int position_shift() const { return positions_ ? positions_->shift : 0; }
  /// Tokens of the prompt that features stand for.
  int64_t placeholders() const;
  /// Items whose features came out of the cache.
  int64_t cached_items() const { return cached_items_; }
  /// The end of a piece of the prompt that begins at `begin` and is to end at `end`, moved so that it cuts through no
  /// tokens that all see each other. May be all of the prompt.
  int64_t piece_end(int64_t begin, int64_t end) const;
  /// Evaluates one stage of the first item in tokens [begin, end) that is not encoded yet; false: there is none. Throws
  /// invalid where an item is not what the encoder takes, or has another number of placeholders than features.
  bool encode_next(int64_t begin, int64_t end, MediaCache& cache);
  /// Puts the items of tokens [begin, end), which are encoded, and their positions into `inputs`, whose ids are there;
  /// forgets the features of items that end before `end`.
  void add_to(Inputs& inputs, int64_t begin, int64_t end);

 private:
  struct Item {
    std::shared_ptr<const EncodedMedia> encoded;
    std::optional<EncodedMedia> encoding;
    size_t stage = 0;  // of encoding, the next to be evaluated
    bool done = false;
  };

  const Model& model_;
  const GenerateRequest& request_;
  std::vector<Item> items_;  // as request_.media
  std::optional<MediaPositions> positions_;
  int64_t cached_items_ = 0;
};

/// Throws invalid naming the item where `request`'s media do not fit its prompt, or the model takes none.
void check_media(const GenerateRequest& request, const Model& model);

}  // namespace mlxk

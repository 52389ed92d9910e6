#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mlxk {

enum class MediaKind { image, audio };

/// A preprocessed image or recording: the input of a model's encoder. Immutable, any thread.
struct MediaData {
  MediaKind kind = MediaKind::image;
  std::vector<float> values;  // pixels or features, row-major
  std::vector<int> shape;     // of values; each family's processor documents its axes
  std::vector<int> grid;      // additional integers for the family's encoder: (t, h, w) in patches, tiles, …
  std::string digest;         // the SHA-256 of all of the above in hex, see with_digest()
};

/// `data` with its digest filled in.
std::shared_ptr<const MediaData> with_digest(MediaData data);

/// An image or a recording in a prompt. The encoder's features replace the placeholder tokens of its range, in order.
struct MediaItem {
  int64_t begin = 0, end = 0;  // token range in the prompt: from the first placeholder to after the last
  int32_t placeholder = 0;     // the token id whose occurrences in the range are replaced; others in it stay text
  std::shared_ptr<const MediaData> data;
};

/// Tokens [begin, end) of a prompt that all see each other, in attention that is causal elsewhere.
struct TokenRange {
  int64_t begin = 0, end = 0;
  bool operator==(const TokenRange&) const = default;
};

}  // namespace mlxk

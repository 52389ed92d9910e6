#pragma once

#include <vector>

#include "nn/cache/attention_cache.h"

namespace mlxk {

/// The images that a cross-attention layer's tokens attend to. Each image has a token; a token sees the last image
/// whose token is not after it, and those whose tokens lie directly before that one's. An image is added in the call of
/// its token and never changes; images that no later token can see are dropped. A row without images holds no arrays.
class CrossCache : public Cache {
 public:
  explicit CrossCache(int rows) : Cache(rows), images_(static_cast<size_t>(rows)) {}

  std::string_view kind() const override { return "cross"; }
  /// Tokens after the last image's can be dropped.
  bool can_trim(int n) const override;
  void trim(int n) override;
  std::unique_ptr<Cache> snapshot() const override { return std::unique_ptr<Cache>(new CrossCache(*this)); }
  /// The images of the parts, shared with them; unbatch() gives them back.
  std::unique_ptr<Cache> batch(std::span<Cache* const> parts) const override;
  void unbatch() override;
  std::vector<mx::array> arrays() const override;
  /// All, because prompts with images are not saved: PrefixKey::shareable.
  int addressable_tokens() const override;
  void restore(std::vector<mx::array> arrays, int tokens) override;

  /// Adds an image with its token at position `token` of `row`, after those of earlier images: keys and values [1,
  /// kv_heads, T, dim].
  void add(int row, int token, const mx::array& keys, const mx::array& values);
  /// Tokens [begin, end) of a call, of row `row`, and what all of them see.
  struct Seen {
    int row, begin, end;
    KvView view;
  };
  /// What the call's tokens see, in order; tokens that see no image are left out.
  std::vector<Seen> seen(const Positions& positions) const;
  /// Advances the rows by the call's lengths.
  void advance(const Positions& positions);

 private:
  /// Images whose tokens are adjacent.
  struct Group {
    std::vector<int> tokens;  // their positions
    std::vector<int> ends;    // after each one's keys
    mx::array keys, values;   // of all of them
  };

  std::vector<std::vector<Group>> images_;  // of each row
  std::vector<CrossCache*> parts_;          // the caches of these rows; empty: its own
};

}  // namespace mlxk

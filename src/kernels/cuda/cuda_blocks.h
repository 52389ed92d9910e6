#pragma once

#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Keys and values of past prompts, kept on the device in blocks. A block holds some tokens of all buffers as bytes: of
/// each [1, heads, slots, dim] its [heads, tokens, dim], one after the other. A token's numbers in a head take a
/// multiple of 16 bytes.

/// The most tokens of a block; only the last of several has fewer.
constexpr int kCudaBlockTokens = 64;

/// Tokens [from, to) of the evaluated buffers: uint8 [bytes], one operation. Later appends do not change it.
mx::array cuda_save_block(const std::vector<mx::array>& buffers, int from, int to);

/// Buffers of those shapes and types whose slots hold the first `tokens` tokens of `blocks`, in order from the first
/// one on, then zeros. `last_tokens` is the number of tokens in the last block. One operation.
std::vector<mx::array> cuda_restore_blocks(const std::vector<mx::array>& blocks, int last_tokens, int tokens,
                                           const std::vector<mx::Shape>& shapes, const std::vector<mx::Dtype>& types);

/// Waits for an array of this device and copies its bytes to `to`.
void cuda_read(mx::array a, void* to);

}  // namespace mlxk

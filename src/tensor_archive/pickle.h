#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// A value in a pickle; nested values are indices into Pickle::nodes.
struct PickleNode {
  enum class Kind { none, boolean, integer, real, text, tuple, list, dict, global, call, persistent };
  Kind kind = Kind::none;
  int64_t integer = 0;                               // boolean, integer
  std::string text;                                  // text; a global as "module.name"
  std::vector<uint32_t> items;                       // tuple, list; call: callable, arguments; persistent: its id
  std::vector<std::pair<uint32_t, uint32_t>> pairs;  // dict: key, value
};

/// The content of a pickle, which is parsed and never run: calls are only recorded.
struct Pickle {
  std::vector<PickleNode> nodes;
  uint32_t root = 0;
};

/// Reads `pickle` (protocols 2 to 5). Only the globals in `allowed` may occur; any other, and any opcode that files of
/// tensors do not need, is refused by its name and position as unsupported. Throws bad_model for a broken pickle.
/// `place` is named in errors.
Pickle read_pickle(std::span<const std::byte> pickle, std::span<const char* const> allowed, const std::string& place);

}  // namespace mlxk

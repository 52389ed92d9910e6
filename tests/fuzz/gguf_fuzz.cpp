// A GGUF file in memory: every accepted view is read to its end.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "gguf/gguf.h"

namespace {

volatile unsigned sink = 0;

template <class Bytes>
void touch(const Bytes& bytes) {
  unsigned sum = 0;
  for (const auto byte : bytes) sum += static_cast<unsigned>(byte);
  sink = sink + sum;
}

template <class Call>
void ask(const Call& call) {
  try {
    call();
  } catch (const mlxk::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto file = mlxk::GgufFile::parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    for (const auto& tensor : file.tensors()) {
      touch(tensor.name);
      touch(tensor.data);
    }
    for (const auto& [key, value] : file.metadata()) {
      const auto name = key;
      ask([&] { file.integer(name); });
      ask([&] { file.number(name); });
      ask([&] { file.boolean(name); });
      ask([&] { touch(file.string(name).value_or("")); });
      ask([&] { file.integers(name); });
      ask([&] { file.floats(name); });
      ask([&] {
        const auto* strings = file.strings(name);
        if (strings == nullptr) return;
        for (const auto& string : *strings) touch(string);
      });
    }
  } catch (const mlxk::Error&) {
  }
  return 0;
}

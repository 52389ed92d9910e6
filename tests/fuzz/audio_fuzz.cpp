// A recording, as a file or (odd first byte) through a pipe: decoded or refused, every sample within full scale.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/error.h"
#include "media/audio.h"
#include "media/testing/pipe.h"

namespace {

constexpr size_t kMaxSamples = 16000 * 60;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  try {
    mlxk::AudioSource source(data[0] % 2 ? std::unique_ptr<mlxk::ByteSource>(std::make_unique<mlxk::testing::Pipe>(
                                               std::vector(bytes.begin(), bytes.end()), 500))
                                         : mlxk::memory_bytes(bytes),
                             "fuzz");
    std::vector<float> block(4096);
    size_t all = 0;
    while (const size_t got = source.read(block)) {
      for (size_t i = 0; i < got; ++i) {
        if (!(std::abs(block[i]) < 4)) std::abort();
      }
      if ((all += got) > kMaxSamples) break;
    }
  } catch (const mlxk::Error&) {
  }
  return 0;
}

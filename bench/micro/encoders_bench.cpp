// encoders_bench MODEL [ROUNDS]: an encoder by itself, in texts a second: 256 short texts in one batch, 32 long ones,
// and one short text alone. MLXK_THREADS chooses the threads.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "mlx/ops.h"
#include "models/embedding/pooling.h"
#include "models/load.h"

namespace {

using namespace mlxk;
using Clock = std::chrono::steady_clock;

EncoderInputs texts(int count, int shortest, int longest, int vocab) {
  EncoderInputs inputs;
  for (int i = 0; i < count; ++i) {
    const int length = shortest + i * 7 % (longest - shortest + 1);
    inputs.lengths.push_back(length);
    for (int t = 0; t < length; ++t) inputs.ids.push_back((i * 131 + t * 37) % vocab);
  }
  return inputs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: encoders_bench MODEL [ROUNDS]\n");
    return 2;
  }
  const auto encoder = load_encoder(argv[1]);
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  const EmbeddingHead head({{Pooling::mean}, true, {}, true}, argv[1], encoder->shape().hidden_size);
  struct Load {
    const char* name;
    int count, shortest, longest;
  };
  for (const Load& load :
       {Load{"256 texts of 8 to 24 tokens", 256, 8, 24}, Load{"32 texts of 128 to 256 tokens", 32, 128, 256},
        Load{"1 text of 12 tokens", 1, 12, 12}}) {
    const EncoderInputs inputs = texts(load.count, load.shortest, load.longest, encoder->shape().vocab_size);
    double best = 1e9;
    for (int round = 0; round <= rounds; ++round) {
      const auto begin = Clock::now();
      mx::array vectors = head(encoder->hidden(inputs), inputs.lengths);
      vectors.eval();
      best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
    }
    fmt::print("{:30} {:8.2f} ms {:10.1f} texts/s {:10.0f} tokens/s\n", load.name, best * 1e3, load.count / best,
               static_cast<double>(inputs.ids.size()) / best);
  }
}

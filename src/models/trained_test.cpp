#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "mlx/ops.h"
#include "models/load.h"

namespace mlxk {
namespace {
TEST(Trained, Smoke) {
  const char* dir = std::getenv("MLXK_TEST_MODELS");
  if (!dir) GTEST_SKIP();
  for (const char* name : {"SmolLM2-135M-Instruct-4bit", "gemma-3-270m-8bit"}) {
    auto model = load_model(std::filesystem::path(dir) / name);
    std::vector<int> ids{1, 504, 3575, 282, 4649, 314, 216, 7042, 28, 1192};
    for (int i = 500; i < 520; ++i) ids.push_back(i);
    Inputs in;
    in.ids = mx::array(ids.begin(), {1, 30}, mx::int32);
    ModelCache cache = model->make_cache(1);
    mx::array out = model->forward(in, cache);
    out.eval();
    const float* p = out.data<float>();
    int64_t v = model->vocab_size();
    double sum = 0;
    for (int64_t i = 0; i < 30 * v; ++i) sum += p[i];
    printf("%s %f bytes %ld\n", name, sum, (long)model->weight_bytes());
    for (int t : {29, 3}) {
      for (int i = 0; i < 6; ++i) printf("%f ", p[t * v + i]);
      printf("\n");
    }
  }
}
}  // namespace
}  // namespace mlxk

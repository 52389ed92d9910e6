// image_bench FILE WIDTH HEIGHT [RUNS [MODEL]]: how long an image takes to decode and to resize, the median of RUNS (5)
// in milliseconds, and the most memory that the process had; with MODEL, a folder, how long its processor takes as
// well.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "base/file.h"
#include "vision/processor.h"
#include "vision/resize.h"

namespace {

template <typename Work>
double median_ms(int runs, const Work& work) {
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

double peak_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return static_cast<double>(usage.ru_maxrss) / 1e6;
#else
  return static_cast<double>(usage.ru_maxrss) / 1e3;
#endif
}

}  // namespace

int main(int argc, char** argv) {
  using namespace mlxk;
  if (argc < 4) {
    fmt::print(stderr, "usage: image_bench FILE WIDTH HEIGHT [RUNS [MODEL]]\n");
    return 2;
  }
  const std::string file = read_file(argv[1]);
  const int width = std::atoi(argv[2]), height = std::atoi(argv[3]), runs = argc > 4 ? std::atoi(argv[4]) : 5;
  const std::span bytes(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  Image image;
  fmt::print("{{\"decode\": {:.2f}", median_ms(runs, [&] { image = decode_image(bytes, argv[1]).image; }));
  for (const auto& [name, filter] :
       {std::pair{"bilinear", Filter::bilinear}, {"bicubic", Filter::bicubic}, {"lanczos", Filter::lanczos}})
    fmt::print(", \"{}\": {:.2f}", name, median_ms(runs, [&] { resize(image, width, height, filter); }));
  if (argc > 5) {
    const auto processor = open_image_processor(argv[5]);
    fmt::print(", \"process\": {:.2f}", median_ms(runs, [&] { processor->process(image); }));
  }
  fmt::print(", \"peak_mb\": {:.0f}, \"width\": {}, \"height\": {}}}\n", peak_mb(), image.width, image.height);
}

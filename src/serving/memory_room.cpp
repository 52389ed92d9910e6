#include "serving/memory_room.h"

#include <algorithm>
#include <thread>

#include "base/kept_panels.h"

namespace mlxk {

namespace {
constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kReleased = 8 * kGiB, kReleasedForAudio = 4 * kGiB;
constexpr std::chrono::milliseconds kPoll{100};
}  // namespace

uint64_t weights_of(const ModelInfo& model) { return model.weight_bytes != 0 ? model.weight_bytes : model.size_bytes; }

uint64_t room_of(const ModelInfo& model) {
  // With AMX tiles a weight of 4 bits becomes 4 bytes; others grow less.
  constexpr uint64_t kMostGrowth = 8;
  const uint64_t weights = weights_of(model);
  if (model.encoder_task == EncoderTask::none) return weights;
  return weights + std::min<uint64_t>(kMostKeptPanels, kMostGrowth * weights);
}

bool fits_beside(uint64_t bytes, uint64_t loaded, const Machine& machine) {
  if (!fits_memory(loaded + bytes, machine)) return false;
  return machine.free_bytes == 0 || bytes <= machine.free_bytes;
}

bool wait_for_release(const ModelInfo& model, const std::function<Machine()>& machine,
                      std::chrono::milliseconds patience) {
  const uint64_t bytes = weights_of(model);
  const uint64_t most = model.is_audio && !model.is_vision ? kReleasedForAudio : kReleased;
  const uint64_t wanted = std::min(bytes + bytes / 5, most);
  const auto end = std::chrono::steady_clock::now() + patience;
  while (true) {
    const uint64_t free = machine().free_bytes;
    if (free == 0 || free >= wanted) return true;
    const auto now = std::chrono::steady_clock::now();
    if (now >= end) return false;
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(kPoll, end - now));
  }
}

}  // namespace mlxk

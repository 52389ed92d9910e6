#include "kernels/cpu/kept_panels.h"

#include <atomic>

#include "base/kept_panels.h"

namespace mlxk {

namespace {
std::atomic<int64_t> all_bytes{0};  // of all layers

int64_t whole_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }
}  // namespace

KeptPanels::~KeptPanels() { all_bytes -= bytes_; }

bool KeptPanels::keep(std::vector<MatrixView>& views, Phase phase) {
  if (asked_) return bytes_ > 0;
  asked_ = true;
  std::vector<int64_t> each;
  int64_t bytes = 0;
  for (const MatrixView& m : views) bytes += each.emplace_back(whole_lines(kept_panel_bytes(m, phase)));
  if (all_bytes.fetch_add(bytes) + bytes > kMostKeptPanels) {
    all_bytes -= bytes;
    return false;
  }
  bytes_ = bytes;
  char* at = static_cast<char*>(panels_.bytes(static_cast<size_t>(bytes)));
  for (size_t i = 0; i < views.size(); at += each[i++]) {
    if (each[i] == 0) continue;
    keep_panels(views[i], phase, at);
    views[i].kept = at;
    views[i].kept_for = phase;
  }
  return bytes > 0;
}

}  // namespace mlxk

#pragma once

namespace mlxk {

/// Frames transformed at once, side by side: number i of frame l is at [i * kFftLanes + l].
constexpr int kFftLanes = 8;
constexpr int kFftSize = 400, kFftBins = kFftSize / 2 + 1;

/// |DFT|² of real frames: `x` [400, lanes] is overwritten, `power` [201, lanes].
void power_spectra(float* x, float* power);

}  // namespace mlxk

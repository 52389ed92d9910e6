#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlxk {

/// The kind of a frame of sound: `nothing` is no louder than the constant background, `voice` changes like speech.
enum class FrameKind : uint8_t { nothing, sound, voice };

/// The number of 16 kHz samples on either side of a frame's centre that periodicity() uses.
constexpr int64_t kPeriodReach = 448;

/// How much the 56 ms around sample `centre` repeat themselves at the pitch of a voice (63 to 400 Hz), at most 1.
/// `samples` begin with the sound's sample `begin`; missing samples are silence.
float periodicity(std::span<const float> samples, int64_t begin, int64_t centre);

/// Distinguishes voice from other sound in frames with features (LogMel::power) `powers` [count, mels] and the given
/// periodicity. Sound that is steady throughout counts as nothing, so the frames should cover some seconds.
std::vector<FrameKind> classify_frames(std::span<const float> powers, int mels, std::span<const float> periods);

/// Whether `powers` are pure silence, without even a recorder's hiss: below -100 dB of full scale.
bool is_digital_silence(std::span<const float> powers);

}  // namespace mlxk

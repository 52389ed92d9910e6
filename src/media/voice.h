#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlxk {

/// What a frame of sound may be: `nothing` is no louder than what goes on and on around it, `voice` changes as speech
/// does.
enum class Heard10ms : uint8_t { nothing, sound, voice };

/// Samples at 16 kHz on either side of a frame's centre that periodicity() looks at.
constexpr int64_t kPeriodReach = 448;

/// How much the 56 ms around sample `centre` repeat themselves at the pitch of a voice (63 to 400 Hz), at most 1.
/// `samples` begin with the sound's sample `begin`; what they lack is silence.
float periodicity(std::span<const float> samples, int64_t begin, int64_t centre);

/// Tells voice from other sound in frames whose features (LogMel::power) are `powers` [count, mels], and whose
/// periodicity is given. What is steady throughout counts as nothing, so the frames should be some seconds.
std::vector<Heard10ms> tell_voice(std::span<const float> powers, int mels, std::span<const float> periods);

/// Whether `powers` hold no sound at all, not even a recorder's hiss: below -100 dB of full scale.
bool is_digital_silence(std::span<const float> powers);

}  // namespace mlxk

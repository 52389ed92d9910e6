#pragma once

#include <optional>
#include <string>

#include "json/json_fwd.h"
#include "media/raw_sound.h"
#include "speech/options.h"
#include "speech/turns.h"

namespace mlxk {

/// The configuration of a realtime transcription.
struct RealtimeParams {
  RawFormat format = RawFormat::s16le;
  std::string model;
  TranscribeOptions options;                         // language and prompt
  std::optional<TurnOptions> turns = TurnOptions{};  // server_vad; nullopt: the client commits
};

/// Samples a second of a format: PCM's 24,000, G.711's 8,000.
int realtime_rate(RawFormat format);

/// Reads the session of `session.update` into `params`; absent fields stay. Throws ApiError 400 naming the field and
/// its value.
void read_realtime_session(const Json& session, RealtimeParams& params);
/// Likewise that of the older `transcription_session.update`.
void read_older_realtime_session(const Json& session, RealtimeParams& params);

/// The session in the form of `session.created`, without its id, and in that of `transcription_session.created`.
Json realtime_session(const RealtimeParams& params);
Json older_realtime_session(const RealtimeParams& params);

}  // namespace mlxk

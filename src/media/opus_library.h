#pragma once

#include <opus_multistream.h>

namespace mlxk {

/// The functions of libopus that audio.cpp calls.
struct OpusLibrary {
  decltype(&::opus_multistream_decoder_create) create;
  decltype(&::opus_multistream_decode_float) decode;
  decltype(&::opus_multistream_decoder_destroy) destroy;
};

/// The system's libopus, opened at the first Opus stream; throws unsupported if there is none. Any thread.
const OpusLibrary& opus_library();

}  // namespace mlxk

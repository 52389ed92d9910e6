#!/usr/bin/env python3
"""make_selftest_clip.py JFK.flac: writes assets/selftest/speech.mp3, the clip that `mlxk selftest` has speech models hear.

The source is the sentence of John F. Kennedy's inaugural address (1961, public domain) that openai-whisper's tests use. Needs
numpy and soundfile.
"""
import os
import sys

import numpy
import soundfile

SECONDS, RATE = 11, 16000


def main(source):
    sound, rate = soundfile.read(source, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)[: SECONDS * rate]
    at = numpy.arange(int(len(mono) * RATE / rate)) * rate / RATE
    if rate > RATE:  # a box as wide as a new sample, against aliasing
        width = round(rate / RATE)
        mono = numpy.convolve(mono, numpy.ones(width) / width, "same")
    resampled = numpy.interp(at, numpy.arange(len(mono)), mono).astype("float32")
    target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "assets", "selftest", "speech.mp3")
    soundfile.write(target, resampled, RATE, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.9)


if __name__ == "__main__":
    main(sys.argv[1])

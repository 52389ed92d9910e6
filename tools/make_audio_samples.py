#!/usr/bin/env python3
"""make_audio_samples.py: writes tests/data/audio, half a second of 440 Hz in each codec and container (soundfile; av for those
that libsndfile does not write)."""
from pathlib import Path

import av
import numpy as np
import soundfile

OUT = Path(__file__).resolve().parent.parent / "tests/data/audio"
RATE = 48000


def tone():
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)).astype(np.float32)


def write_av(name, codec, container, profile=None):
    with av.open(str(OUT / name), "w", format=container) as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono")
        if profile:
            stream.codec_context.options = {"profile": profile}
        samples, size = tone(), 960
        for at in range(0, len(samples), size):
            frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, at
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, form, kind in (("tone.flac", "FLAC", "PCM_16"), ("tone.mp3", "MP3", "MPEG_LAYER_III"),
                             ("tone.ogg", "OGG", "VORBIS"), ("tone.opus", "OGG", "OPUS")):
        soundfile.write(OUT / name, tone(), RATE, format=form, subtype=kind)
    write_av("tone.webm", "libopus", "webm")
    write_av("tone.m4a", "aac", "ipod")
    write_av("tone.aac", "aac", "adts")


if __name__ == "__main__":
    main()

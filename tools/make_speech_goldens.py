#!/usr/bin/env python3
"""make_speech_goldens.py MODEL_DIR AUDIO_DIR: openai-whisper's (torch, float32) transcripts of the clips in tests/data/speech.

MODEL_DIR is the trained Whisper base of tools/make-models; AUDIO_DIR holds the clips in their published formats, from which
16 kHz WAV files are made once. Needs openai-whisper, torch, safetensors and PyAV (pip), all of which only this script uses.
"""
import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import whisper
from whisper.model import ModelDimensions, Whisper

HERE = Path(__file__).resolve().parent.parent / "tests/data/speech"
CLIPS = {"jfk": "jfk.flac", "universe": "a-man-said-to-the-universe-sir-i-exist.wav",
         "cavern": "having-returned-to-the-royal-cavern.mp3"}


def load(folder):
    """openai's model with the weights of an MLX conversion."""
    config = json.loads((folder / "config.json").read_text())
    dims = ModelDimensions(**{k: v for k, v in config.items() if k.startswith("n_")})
    raw = (folder / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    state = {}
    for name, t in json.loads(raw[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + x for x in t["data_offsets"])
        kind = {"F16": np.float16, "F32": np.float32}[t["dtype"]]
        value = torch.from_numpy(np.frombuffer(raw[begin:end], kind).reshape(t["shape"]).astype(np.float32))
        name = name.replace("mlp1", "mlp.0").replace("mlp2", "mlp.2")
        state[name] = value.permute(0, 2, 1).contiguous() if ".conv" in name and value.ndim == 3 else value
    model = Whisper(dims)
    state["encoder.positional_embedding"] = model.encoder.positional_embedding
    model.load_state_dict(state, strict=False)
    heads = json.loads((folder / "generation_config.json").read_text())["alignment_heads"]
    mask = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    for layer, head in heads:
        mask[layer, head] = True
    model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return model.eval()


def samples(path):
    """16 kHz mono float32, as openai's load_audio gives it."""
    import av

    out, resampler = [], av.AudioResampler(format="s16", layout="mono", rate=16000)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            out += [f.to_ndarray().reshape(-1) for f in resampler.resample(frame)]
    out += [f.to_ndarray().reshape(-1) for f in resampler.resample(None)]
    return np.concatenate(out)


def write_wav(path, pcm):
    data = pcm.astype("<i2").tobytes()
    path.write_bytes(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " +
                     struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16) + b"data" + struct.pack("<I", len(data)) + data)


def transcript(model, audio, **options):
    torch.manual_seed(0)
    result = model.transcribe(audio, fp16=False, **options)
    for segment in result["segments"]:
        segment.pop("seek")
    return result


def main(model_dir, audio_dir):
    model = load(Path(model_dir))
    HERE.mkdir(parents=True, exist_ok=True)
    goldens = {}
    clips = {}
    for name, file in CLIPS.items():
        path = HERE / f"{name}.wav"
        if not path.exists():
            write_wav(path, samples(Path(audio_dir) / file))
        clips[name] = np.frombuffer(path.read_bytes()[44:], "<i2").astype(np.float32) / 32768
    pause = np.zeros(16000 * 2, np.float32)
    clips["long"] = np.concatenate([x for _ in range(2) for name in CLIPS for x in (clips[name], pause)])
    for name, audio in clips.items():
        cases = {"greedy": dict(temperature=0.0), "words": dict(temperature=0.0, word_timestamps=True)}
        if name in ("cavern", "long"):
            cases["beams"] = dict(temperature=0.0, beam_size=5)
            cases["prompt"] = dict(temperature=0.0, initial_prompt="Kaliko, Ruggedo.", condition_on_previous_text=False)
        if name == "cavern":
            cases["translate"] = dict(temperature=0.0, task="translate")
            cases["clip"] = dict(temperature=0.0, clip_timestamps="2,6,8,11")
            cases["text_only"] = dict(temperature=0.0, without_timestamps=True)
        goldens[name] = {case: {"options": options, **transcript(model, audio, **options)} for case, options in cases.items()}
        print(name, {c: r["text"] for c, r in goldens[name].items()}, flush=True)
    mel = whisper.log_mel_spectrogram(clips["universe"], 80, padding=480000).numpy().T
    large = whisper.log_mel_spectrogram(clips["universe"], 128, padding=480000).numpy().T
    rows = [0, 1, 2, 57, 58, 200, 333, 463, 464, 465, 900]
    goldens["mel"] = {"rows": rows, "80": [[round(float(x), 5) for x in mel[r]] for r in rows],
                      "128": [[round(float(x), 5) for x in large[r]] for r in rows]}
    goldens["tokens"] = {
        "non_speech": whisper.tokenizer.get_tokenizer(True).non_speech_tokens,
        "non_speech_english": whisper.tokenizer.get_tokenizer(False).non_speech_tokens,
    }
    (HERE / "goldens.json").write_text(json.dumps(goldens, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

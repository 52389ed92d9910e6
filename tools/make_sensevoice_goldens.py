#!/usr/bin/env python3
"""make_sensevoice_goldens.py: writes tests/data/sensevoice_models, a tiny SenseVoice.

It needs mlx-audio 0.6.2 (mlx 0.32.4) and transformers 5.24.0. Networks and decoding are mlx-audio's. The features are
Kaldi's, computed by transformers.audio_utils: mlx-audio leaves the first sample of a frame without preemphasis and has
a floor of 1e-8. Weights come from the formula of make_model_goldens.py, the sound is that of make_frame_goldens.py.
"""
import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_audio.stt.models.sensevoice import sensevoice
from mlx_audio.stt.models.sensevoice.config import ModelConfig
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_frame_goldens import balanced, best, fill, sound, sparse

DATA = Path(__file__).resolve().parent.parent / "tests/data/sensevoice_models"
CLIPS = (12_347, 60_009)
MELS, STACKED, STEP, HIDDEN = 16, 7, 6, 32
WIDTH = MELS * STACKED
TEXT = ["<unk>", "<s>", "</s>", "▁a", "b", "c", "▁the", "s", ".", "▁we", "e", "?", "▁i", "n", "好", "。", "▁o", "r"]
TAGS = ["<|zh|>", "<|en|>", "<|yue|>", "<|HAPPY|>", "<|NEUTRAL|>", "<|EMO_UNKNOWN|>", "<|Speech|>", "<|BGM|>", "<|withitn|>", "<|woitn|>"]
PIECES = TEXT + TAGS
ROWS = {"zh": 3, "en": 4}


def fbank(x):
    filters = mel_filter_bank(257, MELS, 20.0, 8000.0, 16000, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True)
    mel = spectrogram(x.astype(np.float64) * 32768, window_function(400, "hamming", periodic=False), frame_length=400, hop_length=160,
                      fft_length=512, power=2.0, center=False, preemphasis=0.97, mel_filters=filters, log_mel="log",
                      mel_floor=1.1920928955078125e-07, remove_dc_offset=True, dtype=np.float64)
    return mel.T


def features(x, shift, scale):
    mel = mx.array(fbank(x).astype(np.float32))
    return sensevoice._apply_cmvn(sensevoice._apply_lfr(mel, STACKED, STEP), mx.array(shift), mx.array(scale))


def described(shapes, bias):
    entries = {}
    for name, shape in shapes.items():
        kind = "norm" if "norm" in name and name.endswith("weight") else "float"
        entries[name] = {"shape": list(shape), "kind": kind}
        if name == "ctc_lo.weight":
            entries[name]["times"] = 6
        if name == "embed.weight" or "linear_q_k_v" in name and len(shape) > 1:
            entries[name]["times"] = 2
    values = np.zeros(len(PIECES)) if bias is None else bias
    entries["ctc_lo.bias"] = {"shape": [len(PIECES)], "kind": "float", "values": [round(float(v), 3) for v in values]}
    return entries


def decode(frames):
    """mlx-audio's greedy decoding of the frames behind the tags, with the frames and lengths of the tokens."""
    tokens, last = [], 0
    for frame, row in enumerate(frames):
        token = best(row)
        if token != 0:
            if token != last:
                tokens.append([token, frame, 1])
            else:
                tokens[-1][2] += 1
        last = token
    return tokens


def case(name, **encoder):
    config = {"model_type": "sensevoice", "vocab_size": len(PIECES), "input_size": WIDTH,
              "encoder_conf": dict(output_size=HIDDEN, attention_heads=4, linear_units=48, num_blocks=2, tp_blocks=1, kernel_size=5,
                                   sanm_shfit=0, normalize_before=True, **encoder),
              "frontend_conf": dict(fs=16000, window="hamming", n_mels=MELS, frame_length=25, frame_shift=10, lfr_m=STACKED,
                                    lfr_n=STEP)}
    raw = sensevoice._apply_lfr(mx.array(fbank(sound(CLIPS[1])).astype(np.float32)), STACKED, STEP)
    shift = [round(float(v), 4) for v in -np.array(raw).mean(0)]
    scale = [round(float(v), 4) for v in 1 / (np.array(raw).std(0) + 0.1)]
    model = sensevoice.SenseVoiceSmall(ModelConfig.from_dict(json.loads(json.dumps(config))))
    shapes = {k: v.shape for k, v in tree_flatten(model.parameters())}
    # fsmn_block is published in PyTorch's layout, which mlx-audio's sanitize() transposes.
    stored = {k: (s[0], s[2], s[1]) if "fsmn_block" in k else s for k, s in shapes.items()}
    tensors = {}

    def scores(count, language="auto", use_itn=True):
        given = features(sound(count), shift, scale)
        own = given[None]
        textnorm, query = model._build_query(1, language, use_itn)
        x = mx.concatenate([query, textnorm, own], axis=1)
        return np.array(given), np.array(model.ctc_lo(model.encoder(x))[0])

    def make(bias):
        tensors.update(described(stored, bias))
        weights = model.sanitize({k: mx.array(fill(k, v)) for k, v in tensors.items()})
        model.load_weights(list(weights.items()))
        return scores(CLIPS[1])[1] if bias is None else [heard(count) for count in CLIPS]

    def heard(count):
        given, frames = scores(count)
        tokens = decode(frames[4:])
        clip = {"samples": count, "features": sparse(given), "frames": sparse(frames), "tokens": tokens,
                "tags": [best(row) for row in frames[:3]], "told": []}
        own, _ = model._greedy_ctc_decode(mx.array(frames[4:]))
        assert own == [t[0] for t in tokens], (own, tokens)
        for language, itn in (("en", True), ("zh", False)):
            told = scores(count, language, itn)[1]
            clip["told"].append({"language": language, "itn": itn, "tokens": [t[0] for t in decode(told[4:])]})
        return clip

    clips = balanced(make, 0, True)
    assert any(c["told"][0]["tokens"] != c["told"][1]["tokens"] for c in clips)
    mvn = "<Nnet>\n"
    for part, values in (("AddShift", shift), ("Rescale", scale)):
        mvn += f"<{part}> {WIDTH} {WIDTH}\n<LearnRateCoef> 0 [ {' '.join(map(str, values))} ]\n"
    files = {"tokens.json": PIECES, "am.mvn": mvn + "</Nnet>\n"}
    DATA.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"config": config, "files": files, "clips": clips, "tensors": 0}, ensure_ascii=False)[:-2]
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(tensors.items()))
    (DATA / f"{name}.json").write_text(text + "{\n" + rows + "\n}}\n")
    print(name, [(c["tags"], c["tokens"][:8], [t["tokens"][:6] for t in c["told"]]) for c in clips])


if __name__ == "__main__":
    case("sensevoice")

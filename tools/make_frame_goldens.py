#!/usr/bin/env python3
"""make_frame_goldens.py mlx|transformers: writes tests/data/frame_models, tiny recognisers that decode frame by frame.

mlx needs mlx-audio 0.6.2 (mlx 0.32.4): its encoder and networks, with features and decoding by NeMo's mathematics, which
differ from mlx-audio's: features are normalised over, and end with, the first samples // 160 frames, and in CTC a blank
separates equal tokens. Where the two decode alike, mlx-audio's own decode() must give the same tokens. transformers needs
transformers 5.24.0 with torch. Weights come from the formula of make_model_goldens.py.
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
DATA = Path(__file__).resolve().parent.parent / "tests/data/frame_models"
CLIPS = (12_347, 40_009)
VALUES = 97  # of each array, evenly spaced
LOUD = ("joint.enc.weight", "encoder_projector.weight", "joint_net.2.weight", "joint.head.weight", "decoder_layers.0.weight",
        "ctc_head.weight", "embed.weight", "embedding.weight", "pre_encode.out.weight", "subsampling.linear.weight")
MARGIN = 0.01  # by which the best score must lead, so that rounding cannot change a token


def mix(name, count):
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 & 0xFFFFFFFF
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def fill(name, entry):
    if "values" in entry:
        return np.array(entry["values"], np.float32).reshape(entry["shape"])
    bits = mix(name, int(np.prod(entry["shape"])))
    if entry["kind"] == "packed8":
        return (bits & np.uint32(0xBFBFBFBF)).reshape(entry["shape"])
    unit = (bits >> np.uint32(16)).astype(np.float32) / np.float32(65536) - np.float32(0.5)
    if entry["kind"] == "scale":
        return ((unit + np.float32(1)) * np.float32(0.4) / np.float32(entry["divide"])).reshape(entry["shape"])
    if entry["kind"] == "bias":
        return (unit * np.float32(0.05) - np.float32(0.2)).reshape(entry["shape"])
    value = np.float32(1) + unit * np.float32(0.5) if entry["kind"] == "norm" else unit * np.float32(0.5)
    return (value * np.float32(entry.get("times", 1))).reshape(entry["shape"])


def sound(count):
    """What frame_test.cpp makes too: chirps in a hiss, with a pause in the middle."""
    i = np.arange(count, dtype=np.int64)
    x = ((i * i * 7 + i * 13) % 2003 - 1001).astype(np.float32) / np.float32(4096)
    x *= (i % 9001).astype(np.float32) / np.float32(9001)
    x += ((i * ((i // 1600) % 23 + 3)) % 97 - 48).astype(np.float32) / np.float32(200)
    x[count // 3 : count // 2] = 0
    return x


def slaney(mels):
    scale = lambda f: np.where(f < 1000, f / (200 / 3), 15 + np.log(np.maximum(f, 1e-9) / 1000) / (np.log(6.4) / 27))
    back = lambda m: np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))
    edges = back(np.linspace(0, scale(np.array(8000.0)), mels + 2))
    bins = np.arange(257) * 16000 / 512
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))) * 2 / (high - low)


def features(x, mels):
    """NeMo's AudioToMelSpectrogramPreprocessor with per-feature normalisation."""
    x = x.astype(np.float64)
    x = np.concatenate([x[:1], x[1:] - 0.97 * x[:-1]])
    frames = len(x) // 160
    padded = np.pad(x, (256, 256 + 512))
    window = np.zeros(512)
    window[56:456] = np.hanning(400)
    power = np.array([np.abs(np.fft.rfft(padded[160 * t : 160 * t + 512] * window)) ** 2 for t in range(frames)])
    mel = np.log(power @ slaney(mels).T + 2.0**-24)
    return ((mel - mel.mean(0)) / (mel.std(0, ddof=1) + 1e-5)).astype(np.float32)


def best(scores):
    top = np.sort(scores)[-2:]
    assert top[1] - top[0] > MARGIN, f"a margin of {top[1] - top[0]}"
    return int(scores.argmax())


def ctc(logits):
    tokens, last = [], -1
    for frame, row in enumerate(logits):
        token = best(row)
        if token == len(row) - 1 or token != last:
            if token != len(row) - 1:
                tokens.append([token, frame, 1])
        else:
            tokens[-1][2] += 1
        last = token
    return tokens


def transducer(frames, blank, durations, predict, join, most=10):
    """predict(last token or None, state) → output, state; join(frame, output) → scores."""
    tokens, state, last, at, symbols = [], None, None, 0, 0
    while at < len(frames):
        out, after = predict(last, state)
        scores = join(frames[at], out)
        token = best(scores[: blank + 1])
        duration = durations[best(scores[blank + 1 :])] if durations else (1 if token != blank else 0)
        if token != blank:
            tokens.append([token, at, duration])
            last, state = token, after
        symbols += 1
        if not durations:
            if token == blank or symbols >= most:
                at, symbols = at + 1, 0
        elif duration or token == blank or symbols >= most:
            at, symbols = at + max(1, duration), 0
    return tokens


def sparse(values):
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    step = max(1, flat.size // VALUES)
    return {"shape": list(np.shape(values)), "step": step, "values": [float(f"{v:.6g}") for v in flat[::step]]}


def described(shapes, bias_name, bias=None):
    """The descriptions of tensors; `bias` is the head's, zeros at first."""
    entries = {}
    for name, shape in shapes.items():
        base = name.rpartition(".")[0]
        if f"{base}.scales" in shapes and not name.endswith(".bias"):
            kind = {"weight": "packed8", "scales": "scale", "biases": "bias"}[name.rpartition(".")[2]]
            entries[name] = {"shape": list(shape), "kind": kind, **({"divide": 200} if kind == "scale" else {})}
            continue
        kind = "norm" if ("norm" in name and name.endswith("weight")) or name.endswith("running_var") else "float"
        entries[name] = {"shape": list(shape), "kind": kind}
        if name.endswith(LOUD) and len(shape) > 1:  # or frames and texts would hardly differ
            entries[name]["times"] = 6
        if "pre_encode.conv" in name or "subsampling.layers" in name:
            entries[name]["times"] = 4 if len(shape) > 1 else 0.2
    values = np.zeros(shapes[bias_name]) if bias is None else bias
    entries[bias_name] = {"shape": list(values.shape), "kind": "float", "values": [round(float(v), 3) for v in values]}
    return entries


def write(name, config, tensors, clips, files=None):
    DATA.mkdir(parents=True, exist_ok=True)
    case = {"config": config, "files": files or {}, "clips": clips, "tensors": tensors}
    text = json.dumps({**case, "tensors": 0}, ensure_ascii=False)[:-2]
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(tensors.items()))
    (DATA / f"{name}.json").write_text(text + "{\n" + rows + "\n}}\n")
    print(name, [len(c["tokens"]) for c in clips], [c["tokens"][:6] for c in clips])


PIECES = ["<unk>", "▁a", "b", "c", "▁the", "s", ".", "▁we", "e", "?", "▁i", "n", "▁o", "r", "u", ",", "▁no", "t"]
MELS = 16


def nemo_config(kind, **encoder):
    section = dict(feat_in=MELS, n_layers=2, d_model=32, n_heads=4, ff_expansion_factor=2, subsampling_factor=8,
                   self_attention_model="rel_pos", subsampling="dw_striding", conv_kernel_size=5,
                   subsampling_conv_channels=8, pos_emb_max_len=5000, causal_downsampling=False, use_bias=False,
                   xscaling=False, att_context_size=[-1, -1], att_context_style="regular", feat_out=-1)
    section.update(encoder)
    config = {"preprocessor": dict(sample_rate=16000, normalize="per_feature", window_size=0.025, window_stride=0.01,
                                   window="hann", features=MELS, n_fft=512, log=True, dither=1e-5, pad_to=0),
              "encoder": section}
    models = "nemo.collections.asr.models."
    if kind == "ctc":
        config["target"] = models + "ctc_bpe_models.EncDecCTCModelBPE"
        config["decoder"] = dict(feat_in=32, num_classes=len(PIECES), vocabulary=PIECES)
        config["decoding"] = dict(strategy="greedy", greedy=None)
        return config
    hybrid = kind == "tdt_ctc"
    config["target"] = models + ("hybrid_rnnt_ctc_bpe_models.EncDecHybridRNNTCTCBPEModel" if hybrid
                                 else "rnnt_bpe_models.EncDecRNNTBPEModel")
    config["decoder"] = dict(blank_as_pad=True, vocab_size=len(PIECES), prednet=dict(pred_hidden=24, pred_rnn_layers=2))
    config["joint"] = dict(num_classes=len(PIECES), vocabulary=PIECES,
                           jointnet=dict(joint_hidden=24, activation="relu", encoder_hidden=32, pred_hidden=24))
    config["decoding"] = dict(strategy="greedy", greedy=dict(max_symbols=10))
    if kind != "rnnt":
        config["joint"]["num_extra_outputs"] = 5
        config["decoding"].update(model_type="tdt", durations=[0, 1, 2, 3, 4])
        config["model_defaults"] = dict(tdt_durations=[0, 1, 2, 3, 4])
    if hybrid:
        config["aux_ctc"] = dict(decoder=dict(feat_in=32, num_classes=len(PIECES), vocabulary=PIECES))
    return config


def balanced(make, blank, repeats=False):
    """The clips of a model make(bias) whose head prefers no token in general, and the blank as far as leaves a plausible
    text in which no choice is close. make(None) gives the scores of all frames, with a bias of zeros."""
    scores = make(None)
    mean, spread = scores.mean(0), scores.std(0).mean()
    for lean in np.arange(0, 10, 0.25):
        bias = -mean
        bias[blank] += lean * spread
        try:
            clips = make(bias)
        except AssertionError as e:
            if not str(e).startswith("a margin"):
                raise
            continue
        shares = [len(c["tokens"]) / (c["samples"] // 1280) for c in clips]
        kinds = len({t[0] for c in clips for t in c["tokens"]})
        if max(shares) < (4 if repeats else 0.9) and min(shares) > 0.1 and kinds > 3:
            return clips
    raise SystemExit("no preference gives a plausible text")


def mlx_case(name, kind, packed=False, **encoder):
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten
    from mlx_audio.stt.models.parakeet import attention, parakeet

    config = nemo_config(kind, **encoder)
    if packed:
        config["quantization"] = dict(group_size=32, bits=8)
    readable = json.loads(json.dumps(config))
    readable["encoder"]["self_attention_model"] = "rel_pos"
    readable["encoder"]["subsampling"] = "dw_striding"

    def empty_model():
        model = parakeet.Model.from_config(readable)
        if config["encoder"]["subsampling"] == "striding":
            conv = lambda i: nn.Conv2d(i, 8, kernel_size=3, stride=2, padding=1)
            model.encoder.pre_encode.conv = [conv(1), nn.ReLU(), conv(8), nn.ReLU(), conv(8), nn.ReLU()]
        if packed:
            fits = lambda path, part: isinstance(part, nn.Linear) and path.startswith("encoder.layers")
            nn.quantize(model, **config["quantization"], class_predicate=fits)
        return model

    left, right = config["encoder"]["att_context_size"]
    blank = len(PIECES)
    head = "decoder.decoder_layers.0.bias" if kind == "ctc" else "joint.joint_net.2.bias"
    shapes = {k: v.shape for k, v in tree_flatten(empty_model().parameters())}
    tensors = {}

    def make(bias):
        tensors.update(described(shapes, head, bias))
        model = empty_model()  # a new one: mlx-audio compiles its step with the weights
        model.load_weights([(k, mx.array(fill(k, v))) for k, v in tensors.items()])
        if bias is not None:
            return [heard(model, count) for count in CLIPS]
        encoded, _ = model.encoder(mx.array(features(sound(CLIPS[1]), MELS))[None])
        if kind == "ctc":
            return np.array(model.decoder.decoder_layers[0](encoded)[0])
        out = model.joint.pred(model.decoder(None, None)[0])
        return np.array(model.joint.joint_net[2](nn.relu(model.joint.enc(encoded) + out))[0])

    if left >= 0:
        whole = attention.RelPositionMultiHeadAttention.__call__

        def banded(self, q, k, v, pos_emb=None, mask=None, cache=None):
            far = mx.arange(q.shape[1])[:, None] - mx.arange(k.shape[1])[None]
            return whole(self, q, k, v, pos_emb, mx.logical_or(far > left, far < -right)[None], cache)

        attention.RelPositionMultiHeadAttention.__call__ = banded

    def heard(model, count):
        mel = features(sound(count), MELS)
        encoded, _ = model.encoder(mx.array(mel)[None])
        if kind == "ctc":
            frames = np.array(model.decoder.decoder_layers[0](encoded)[0])
            tokens = ctc(frames)
        else:
            frames = np.array(model.joint.enc(encoded)[0])

            def predict(last, state):
                out, after = model.decoder(None if last is None else mx.array([[last]]), state)
                return model.joint.pred(out)[0, 0], after

            join = lambda frame, out: np.array(model.joint.joint_net[2](nn.relu(mx.array(frame) + out)))
            tokens = transducer(frames, blank, [] if kind == "rnnt" else [0, 1, 2, 3, 4], predict, join)
            own = model.decode(mx.array(mel)[None])[0].sentences
            own = [(t.id, round(t.start / 0.08)) for sentence in own for t in sentence.tokens]
            assert own == [(t[0], t[1]) for t in tokens if PIECES[t[0]] != "<unk>"], (own, tokens)
        return {"samples": count, "features": sparse(mel), "frames": sparse(frames), "tokens": tokens}

    clips = balanced(make, blank, kind == "rnnt")
    if left >= 0:
        attention.RelPositionMultiHeadAttention.__call__ = whole
    write(name, config, tensors, clips)


def transformers_case(name, kind):
    import torch
    from transformers import ParakeetCTCConfig, ParakeetForCTC, ParakeetForTDT, ParakeetTDTConfig

    encoder = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_kernel_size=5,
                   subsampling_conv_channels=8, num_mel_bins=MELS, attention_bias=False, convolution_bias=False,
                   scale_input=kind == "ctc")
    blank, classes = len(PIECES), len(PIECES) + 1
    if kind == "ctc":
        config = ParakeetCTCConfig(vocab_size=classes, pad_token_id=blank, encoder_config=encoder)
        model, head = ParakeetForCTC(config).eval(), "ctc_head.bias"
    else:
        config = ParakeetTDTConfig(vocab_size=classes, blank_token_id=blank, decoder_hidden_size=24, num_decoder_layers=2,
                                   encoder_config=encoder)
        model, head = ParakeetForTDT(config).eval(), "joint.head.bias"
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    tensors = {}

    @torch.no_grad()
    def make(bias):
        tensors.update(described(shapes, head, bias))
        state = {k: torch.from_numpy(fill(k, v)) for k, v in tensors.items()}
        if kind != "ctc":
            state["decoder.embedding.weight"][blank] = 0  # as in trained models: nothing was said yet
        model.load_state_dict(state, strict=False)
        if bias is not None:
            return [heard(count) for count in CLIPS]
        encoded = model.encoder(torch.from_numpy(features(sound(CLIPS[1]), MELS))[None]).last_hidden_state
        if kind == "ctc":
            return model.ctc_head(encoded)[0].numpy()
        out, _ = model.decoder.lstm(model.decoder.embedding(torch.tensor([[blank]])))
        return model.joint.head(torch.relu(model.encoder_projector(encoded) + model.decoder.decoder_projector(out)))[0].numpy()

    def heard(count):
        mel = features(sound(count), MELS)
        encoded = model.encoder(torch.from_numpy(mel)[None]).last_hidden_state
        if kind == "ctc":
            frames = model.ctc_head(encoded)[0].numpy()
            tokens = ctc(frames)
        else:
            frames = model.encoder_projector(encoded)[0].numpy()

            def predict(last, state):
                x = model.decoder.embedding(torch.tensor([[blank if last is None else last]]))
                out, after = model.decoder.lstm(x, state)
                return model.decoder.decoder_projector(out)[0, 0], after

            join = lambda frame, out: model.joint.head(torch.relu(torch.from_numpy(frame) + out)).numpy()
            tokens = transducer(frames, blank, config.durations, predict, join)
        return {"samples": count, "features": sparse(mel), "frames": sparse(frames), "tokens": tokens}

    clips = balanced(make, blank, kind == "rnnt")
    stored = json.loads(config.to_json_string(use_diff=False))
    keep = {"model_type", "vocab_size", "pad_token_id", "blank_token_id", "decoder_hidden_size", "num_decoder_layers",
            "hidden_act", "durations", "max_symbols_per_step"}
    small = {k: v for k, v in stored.items() if k in keep}
    small["encoder_config"] = {k: v for k, v in stored["encoder_config"].items() if k in encoder or k == "hidden_act"}
    tokenizer = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
                 "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
                 "model": {"type": "BPE", "vocab": {p: i for i, p in enumerate(PIECES)}, "merges": []}}
    preprocessor = dict(feature_size=MELS, hop_length=160, n_fft=512, preemphasis=0.97, sampling_rate=16000, win_length=400)
    write(name, small, tensors, clips, {"tokenizer.json": tokenizer, "preprocessor_config.json": preprocessor})


if __name__ == "__main__":
    if sys.argv[1:] == ["mlx"]:
        mlx_case("tdt", "tdt")
        mlx_case("tdt_ctc", "tdt_ctc", use_bias=True)
        mlx_case("rnnt", "rnnt", xscaling=True, use_bias=True)
        mlx_case("ctc", "ctc", xscaling=True, use_bias=True)
        mlx_case("tdt_local", "tdt", self_attention_model="rel_pos_local_attn", att_context_size=[3, 2])
        mlx_case("tdt_8bit", "tdt", packed=True)
        mlx_case("ctc_striding", "ctc", subsampling="striding", use_bias=True)
    else:
        transformers_case("tdt_transformers", "tdt")
        transformers_case("ctc_transformers", "ctc")

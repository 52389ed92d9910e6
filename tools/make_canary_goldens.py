#!/usr/bin/env python3
"""make_canary_goldens.py mlx [CASE…]|transformers: writes tests/data/canary_models, tiny Canaries in each layout of their files.

mlx needs mlx-audio 0.6.2 (mlx 0.32.4): its networks with NeMo's features, as in make_frame_goldens.py, and with the projection
between encoder and decoder, which its sanitize() drops. transformers needs transformers 5.24.0 with torch. Weights come from the
formula of make_model_goldens.py, the sound is that of make_frame_goldens.py. The tokens are the likeliest ones, each the
best by a margin that rounding cannot close.
"""
import base64
import itertools
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_frame_goldens import MELS, PIECES, features, fill, nemo_config, sound, sparse

DATA = Path(__file__).resolve().parent.parent / "tests/data/canary_models"
CLIPS = (12_347, 40_009)
SPECIAL = ["<unk>", "<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|pnc|>", "<|nopnc|>", "<|startofcontext|>", "<|itn|>",
           "<|noitn|>", "<|timestamp|>", "<|notimestamp|>", "<|diarize|>", "<|nodiarize|>", "<|emo:undefined|>", "<|en|>", "<|de|>", "<|fr|>"]
TOKENS = SPECIAL + PIECES[1:]
END, CONTEXT = TOKENS.index("<|endoftext|>"), 32
MARGIN = 0.0025  # of the head's scale: the engine keeps the encoder's output in float16 for the decoder
HEADS = ("log_softmax.mlp.layer0.bias", "head.classifier.bias", "decoder.output_proj.bias", "proj_out.bias")
REQUESTS = [("en", "en", True), ("en", "de", True), ("de", "de", False)]


def prompt(source, target, punctuation):
    names = ["startofcontext", "startoftranscript", "emo:undefined", source, target, "pnc" if punctuation else "nopnc", "noitn",
             "notimestamp", "nodiarize"]
    return [TOKENS.index(f"<|{name}|>") for name in names]


def sentencepiece(pieces):
    """A SentencePiece model, in a protobuf whose bytes are text because every score is 0."""
    field = lambda tag, data: bytes([tag]) + bytes([len(data)]) + data
    model = b""
    for piece in pieces:
        kind = 2 if piece == "<unk>" else 4 if piece.startswith("<") else 1
        model += field(0x0A, field(0x0A, piece.encode()) + bytes([0x18, kind]))
    return (model + field(0x12, bytes([0x18, 2]))).decode()


def described(shapes, attention, times, bias):
    entries = {}
    for name, shape in shapes.items():
        kind = "norm" if "norm" in name and name.endswith("weight") or name.endswith("running_var") else "float"
        entries[name] = {"shape": list(shape), "kind": kind}
        if len(shape) < 2 or kind == "norm":
            continue
        if "pre_encode.conv" in name or "subsampling.layers" in name:
            entries[name]["times"] = 4
        if "pre_encode.out" in name or "subsampling.linear" in name:
            entries[name]["times"] = 6
        if not name.startswith(("encoder.", "model.encoder.")):
            if any(part in name for part in ("v_proj", "value_net", "linear_v", "o_proj", "out_proj", "linear_out")):
                entries[name]["times"] = attention
            if any(part in name for part in ("embed", "classifier", "log_softmax", "output_proj", "proj_out")):
                entries[name]["times"] = times
    (head,) = [name for name in HEADS if name in entries]
    entries[head] = {"shape": [len(TOKENS)], "kind": "float", "values": [round(float(v), 3) for v in bias]}
    return entries


def decode(step, first, margin):
    """step(ids) → the logits of all tokens."""
    ids = list(first)
    while True:
        logits = step(ids)
        top = np.sort(logits[-1])[-2:]
        assert top[1] - top[0] > margin, f"a margin of {top[1] - top[0]}"
        token = int(logits[-1].argmax())
        if token == END or len(ids) + 1 == CONTEXT:
            tokens = ids[len(first):] + ([] if token == END else [token])
            return {"ids": ids, "tokens": tokens, "ended": token == END, "logits": sparse(logits)}
        ids.append(token)


def heard(encode, step, count, margin):
    mel = features(sound(count), MELS)
    frames = encode(mel)
    texts = []
    for source, target, punctuation in REQUESTS:
        text = decode(lambda ids: step(frames, ids), prompt(source, target, punctuation), margin)
        texts.append({"language": source, "to_language": target, "itn": punctuation, **text})
    return {"samples": count, "features": sparse(mel), "frames": sparse(np.asarray(frames)[0]), "texts": texts}


def search(name, shapes, load, encode, step, config, files, margin):
    """The first scales of the weights that give plausible texts, none of them by a close choice. The head prefers no token in
    general, special ones never, and the end as far as `lean` says."""
    spread = [TOKENS.index(piece) for piece in PIECES[1:]]
    for attention, times in itertools.product(np.arange(2, 14, 0.1).round(1), (12, 24)):
        load({k: fill(k, v) for k, v in described(shapes, float(attention), times, np.zeros(len(TOKENS))).items()})
        logits = []
        for count in CLIPS:
            frames = encode(features(sound(count), MELS))
            logits += [step(frames, prompt(*request) + spread[shift:] + spread[:shift])[9:CONTEXT] for request in REQUESTS for shift in (0, 5)]
        logits = np.concatenate(logits)
        for lean in (0.5, 1.0, 1.5, 2.0, 0.0):
            bias = np.array([-500.0 if token in SPECIAL else 0.0 for token in TOKENS]) - logits.mean(0)
            bias[END] += 500 + lean * logits.std(0).mean()
            tensors = described(shapes, float(attention), times, bias)
            load({k: fill(k, v) for k, v in tensors.items()})
            try:
                clips = [heard(encode, step, count, margin * times) for count in CLIPS]
            except AssertionError as e:
                if not str(e).startswith("a margin"):
                    raise
                continue
            said = [text["tokens"] for clip in clips for text in clip["texts"]]
            kinds = [len(set(tokens)) for tokens in said]
            if sum(kinds) > 10 and min(kinds) > 0 and len({str(tokens) for tokens in said}) >= 4 and said[0] != said[1]:
                return write(name, config, files, tensors, clips)
    raise SystemExit(f"{name}: no weights give a plausible text")


def write(name, config, files, tensors, clips):
    DATA.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"config": config, "files": files, "clips": clips, "tensors": 0}, ensure_ascii=False)[:-2]
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(tensors.items()))
    (DATA / f"{name}.json").write_text(text + "{\n" + rows + "\n}}\n")
    print(name, [(t["tokens"], t["ended"]) for clip in clips for t in clip["texts"]])


def mlx_case(name, layout, hidden, margin):
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_audio.stt.models.canary.canary import Model
    from mlx_audio.stt.models.canary.config import ModelConfig

    nemo = nemo_config("ctc", d_model=hidden, use_bias=True)
    decoder = dict(max_sequence_length=CONTEXT, hidden_size=32, inner_size=48, num_layers=2, num_attention_heads=4,
                   hidden_act="relu", pre_ln=True, learn_positional_encodings=False)
    config = {"preprocessor": nemo["preprocessor"], "encoder": nemo["encoder"]}
    whole = {**config, "transf_decoder": decoder, "vocab_size": len(TOKENS), "enc_output_dim": 32}
    files = {}
    if layout == "nemo":
        third = len(SPECIAL) + 9  # one tokenizer for each language
        parts = {"spl_tokens": TOKENS[: len(SPECIAL)], "en": TOKENS[len(SPECIAL) : third], "de": TOKENS[third:]}
        files = {f"{lang}.model": sentencepiece(pieces) for lang, pieces in parts.items()}
        config |= {"target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel",
                   "transf_decoder": {"config_dict": decoder}, "head": {"num_layers": 1, "num_classes": len(TOKENS)},
                   "tokenizer": {"type": "agg", "langs": {lang: {"type": "bpe", "model_path": f"nemo:{lang}.model"} for lang in parts}}}
    elif layout == "flat":
        blob = base64.b64encode(sentencepiece(TOKENS).encode()).decode()
        config |= {"transf_decoder": {**decoder, "vocab_size": len(TOKENS)}, "prompt_format": "canary2",
                   "tokenizer": {"type": "sentencepiece", "model_base64": blob}}
    else:
        config = {"model_type": "canary", **whole, "supported_languages": ["en", "de"]}
        files = {"tokens.txt": "".join(f"{piece} {i}\n" for i, piece in enumerate(TOKENS))}

    empty = lambda: Model(ModelConfig.from_dict(json.loads(json.dumps(whole))))
    shapes = {}
    for own, value in tree_flatten(empty().parameters()):
        shape, stored = value.shape, own.replace("encoder.conformer.", "encoder.")
        if layout == "own":
            shapes[own] = shape
            continue
        stored = stored.replace("encoder.projection.", "encoder_decoder_proj.")
        parts = [("decoder.embedding.", "transf_decoder._embedding.token_embedding."),
                 ("decoder.embedding_layer_norm.", "transf_decoder._embedding.layer_norm."),
                 ("decoder.blocks.", "transf_decoder._decoder.layers."), ("decoder.final_norm.", "transf_decoder._decoder.final_layer_norm."),
                 ("decoder.output_proj.", "log_softmax.mlp.layer0."), (".self_attn_norm.", ".layer_norm_1."), (".cross_attn_norm.", ".layer_norm_2."),
                 (".ff_norm.", ".layer_norm_3."), (".ff1.", ".third_sub_layer.dense_in."), (".ff2.", ".third_sub_layer.dense_out."),
                 (".cross_attn.", ".second_sub_layer."), (".q_proj.", ".query_net."), (".k_proj.", ".key_net."), (".v_proj.", ".value_net."),
                 (".out_proj.", ".out_projection.")]
        if layout == "flat":
            parts = [("decoder.embedding.", "transf_decoder.token_embedding."),
                     ("decoder.embedding_layer_norm.", "transf_decoder.embedding_layer_norm."), ("decoder.blocks.", "transf_decoder.layers."),
                     ("decoder.final_norm.", "transf_decoder.final_layer_norm."), ("decoder.output_proj.", "head.classifier."),
                     (".self_attn_norm.", ".layer_norm_1."), (".cross_attn_norm.", ".layer_norm_2."), (".ff_norm.", ".layer_norm_3."),
                     (".ff1.", ".third_sub_layer.linear1."), (".ff2.", ".third_sub_layer.linear2."), (".cross_attn.", ".second_sub_layer."),
                     (".q_proj.", ".linear_q."), (".k_proj.", ".linear_k."), (".v_proj.", ".linear_v."), (".out_proj.", ".linear_out.")]
        if stored.startswith("decoder."):
            for before, after in parts:
                stored = stored.replace(before, after)
            stored = stored.replace(".self_attn.", ".first_sub_layer.")
        if layout == "nemo" and "conv" in stored and "weight" in stored and len(shape) > 2:  # PyTorch's order
            shape = (shape[0], shape[-1], *shape[1:-1])
        shapes[stored] = shape
    model = empty()

    def load(weights):
        arrays = model.sanitize({k: mx.array(v) for k, v in weights.items()})
        for leaf in ("weight", "bias"):
            if f"encoder_decoder_proj.{leaf}" in weights:
                arrays[f"encoder.projection.{leaf}"] = mx.array(weights[f"encoder_decoder_proj.{leaf}"])
        model.load_weights(list(arrays.items()))
        model.eval()

    encode = lambda mel: model.encoder(mx.array(mel)[None], mx.array([len(mel)]))[0]
    step = lambda frames, ids: np.array(model.decoder(mx.array([ids]), frames)[0][0])
    search(name, shapes, load, encode, step, config, files, margin)


def transformers_case(name):
    import torch
    from transformers import CanaryConfig, CanaryForConditionalGeneration

    encoder = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_kernel_size=5,
                   subsampling_conv_channels=8, num_mel_bins=MELS, attention_bias=True, convolution_bias=True, scale_input=False)
    decoder = dict(vocab_size=len(TOKENS), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                   num_key_value_heads=4, head_dim=8, max_position_embeddings=CONTEXT)
    stored = {"model_type": "canary", "vocab_size": len(TOKENS), "encoder_config": {"model_type": "parakeet_encoder", **encoder},
              "decoder_config": {"model_type": "canary_decoder", **decoder}}
    model = CanaryForConditionalGeneration(CanaryConfig(vocab_size=len(TOKENS), encoder_config={"model_type": "parakeet_encoder", **encoder},
                                                        decoder_config=decoder)).eval()
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    shapes.pop("proj_out.weight", None)

    def load(weights):
        model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
        model.tie_weights()

    @torch.no_grad()
    def encode(mel):
        return model.model.encoder(torch.from_numpy(mel)[None]).last_hidden_state

    @torch.no_grad()
    def step(frames, ids):
        from transformers.modeling_outputs import BaseModelOutput
        output = BaseModelOutput(last_hidden_state=frames)
        output.attention_mask = None
        return model(encoder_outputs=output, decoder_input_ids=torch.tensor([ids])).logits[0].numpy()

    special = [{"id": i, "content": piece, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
               for i, piece in enumerate(SPECIAL)]
    tokenizer = {"version": "1.0", "added_tokens": special, "normalizer": None, "pre_tokenizer": None, "post_processor": None,
                 "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
                 "model": {"type": "BPE", "vocab": {p: i for i, p in enumerate(TOKENS)}, "merges": []}}
    files = {"tokenizer.json": tokenizer, "preprocessor_config.json": {
        "feature_extractor_type": "ParakeetFeatureExtractor", "feature_size": MELS, "hop_length": 160, "n_fft": 512, "preemphasis": 0.97,
        "sampling_rate": 16000, "win_length": 400}}
    search(name, shapes, load, encode, step, stored, files, MARGIN)


if __name__ == "__main__":
    if sys.argv[1] == "mlx":
        for name, hidden, margin in (("nemo", 24, MARGIN), ("flat", 32, MARGIN), ("own", 24, 0.0015)):
            if name in sys.argv[2:] or not sys.argv[2:]:
                mlx_case(name, name, hidden, margin)
    else:
        transformers_case("transformers")

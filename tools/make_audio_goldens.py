#!/usr/bin/env python3
"""make_audio_goldens.py features|tekken: writes tests/data/listening, for the tests of the rooms audio, chat and tokenizer.

features needs transformers 5.24.0 with torch: what feature extractors make of sound() in the test. tekken needs
mistral-common 1.13 with audio: a small tekken.json, and the ids of its chats and requests for transcripts.
"""
import base64
import json
import sys
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent.parent / "tests/data/listening"
SAMPLES = 64


def sound(count):
    """What audio_test.cpp makes too: a hiss that swells, with a pause in the middle."""
    i = np.arange(count, dtype=np.int64)
    x = ((i * i * 7 + i * 13) % 2003 - 1001).astype(np.float32) / np.float32(4096)
    x *= (i % 9001).astype(np.float32) / np.float32(9001)
    x[count // 3 : count // 2] = 0
    return x


def case(settings, count, values, grid, tokens, text):
    values = np.ascontiguousarray(values, dtype=np.float32)
    flat = values.reshape(-1)
    step = max(1, flat.size // SAMPLES)
    return {"settings": settings, "samples": count, "shape": list(values.shape), "grid": grid, "tokens": tokens,
            "text": text, "step": step, "values": [float(f"{v:.7g}") for v in flat[::step]],
            "mean": float(flat.astype(np.float64).mean()), "most": float(np.abs(flat).max())}


def write(name, cases):
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / f"{name}.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


def voxtral():
    from transformers import WhisperFeatureExtractor
    cases = []
    for mels, count in ((128, 12347), (80, 500_003), (128, 480_000)):
        extractor = WhisperFeatureExtractor(feature_size=mels)
        x = extractor(sound(count), sampling_rate=16000, padding=True, truncation=False, pad_to_multiple_of=480_000)
        x = np.asarray(x["input_features"]).reshape(mels, -1, 3000).transpose(1, 2, 0)
        config = {"model_type": "voxtral", "audio_config": {"num_mel_bins": mels, "hidden_size": 1280,
                                                            "intermediate_size": 5120, "max_source_positions": 1500}}
        tokens = 375 * len(x)
        cases.append(case({"config.json": config}, count, x, [], tokens, ["[BEGIN_AUDIO]", "[AUDIO]"]))
    write("voxtral", cases)


def qwen2_audio():
    from transformers import WhisperFeatureExtractor
    cases = []
    for count in (12347, 300_001):
        extractor = WhisperFeatureExtractor(feature_size=128)
        x = extractor(sound(count), sampling_rate=16000, return_attention_mask=True, padding="max_length")
        frames = int(np.asarray(x["attention_mask"]).sum())
        tokens = (((frames - 1) // 2 + 1) - 2) // 2 + 1
        config = {"model_type": "qwen2_audio", "audio_config": {"num_mel_bins": 128, "max_source_positions": 1500}}
        cases.append(case({"config.json": config}, count, np.asarray(x["input_features"]).transpose(0, 2, 1), [frames],
                          tokens, ["", "<|AUDIO|>"]))
    write("qwen2_audio", cases)


def qwen3_asr():
    from transformers.models.qwen3_asr.feature_extraction_qwen3_asr import Qwen3ASRFeatureExtractor
    from transformers.models.qwen3_asr.processing_qwen3_asr import Qwen3ASRProcessor
    cases = []
    for count in (3001, 52_807, 500_003):
        x = Qwen3ASRFeatureExtractor()(sound(count), sampling_rate=16000, padding=True,
                                       return_attention_mask=True)
        frames = np.asarray(x["attention_mask"]).sum(-1)
        values = np.asarray(x["input_features"])[:, :, : int(frames[0])].transpose(0, 2, 1)
        import torch
        tokens = int(Qwen3ASRProcessor._get_audio_token_length(None, torch.tensor(frames))[0])
        config = {"model_type": "qwen3_asr", "audio_config": {"num_mel_bins": 128, "n_window": 50}}
        cases.append(case({"config.json": config}, count, values, [], tokens, ["", "<|audio_pad|>"]))
    write("qwen3_asr", cases)


def vibevoice_asr():
    from transformers import VibeVoiceAcousticTokenizerFeatureExtractor
    cases = []
    for count in (3001, 79_999):
        x = VibeVoiceAcousticTokenizerFeatureExtractor()([sound(count)], sampling_rate=24000)
        values = np.asarray(x["input_values"]).reshape(1, -1, 1)
        tokens = -(-int(np.asarray(x["padding_mask"]).sum()) // 3200)
        text = ["<|object_ref_start|>", "<|box_start|>", f"<|object_ref_end|>\nThis is a {count / 24000:.2f} seconds audio"]
        cases.append(case({"config.json": {"model_type": "vibevoice_asr"}}, count, values, [], tokens, text))
    write("vibevoice_asr", cases)


def gemma3n():
    from transformers.models.gemma3n.feature_extraction_gemma3n import Gemma3nAudioFeatureExtractor
    cases = []
    for count in (3001, 79_999):
        x = Gemma3nAudioFeatureExtractor()([sound(count)])
        assert np.asarray(x["input_features_mask"][0]).all()
        config = {"model_type": "gemma3n", "audio_config": {"hidden_size": 1536}, "vision_config": {}}
        cases.append(case({"config.json": config}, count, np.asarray(x["input_features"][0])[None], [], 188,
                          ["\n\n<start_of_audio>", "<audio_soft_token>", "<end_of_audio>\n\n"]))
    write("gemma3n", cases)


def gemma4():
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
    cases = []
    for count in (3001, 79_999):
        x = Gemma4AudioFeatureExtractor()([sound(count)])
        frames = int(np.asarray(x["input_features_mask"][0]).sum())
        tokens = ((frames - 1) // 2 + 1 - 1) // 2 + 1
        config = {"model_type": "gemma4", "audio_config": {"hidden_size": 1024}, "vision_config": {}}
        cases.append(case({"config.json": config}, count, np.asarray(x["input_features"][0])[None, :frames], [], tokens,
                          ["<|audio>", "<|audio|>", "<audio|>"]))
    write("gemma4", cases)


PATTERN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}"
           r"\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]",
            "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "<SPECIAL_20>", "<SPECIAL_21>",
            "<SPECIAL_22>", "<SPECIAL_23>", "[AUDIO]", "[BEGIN_AUDIO]"] + [f"<SPECIAL_{i}>" for i in range(26, 34)] + [
            "[TRANSCRIBE]"]
TEXTS = ["Hello world", " Grüße 🙂", "lang:en", "What is in the sound?", "3 dogs\n\nbark  loudly", "naïve café", "[INST]",
         "the the the", "What's that?  ", "日本語"]


def tekken():
    """256 bytes and the merges of a sentence's words."""
    from mistral_common.protocol.instruct.chunk import AudioChunk, RawAudio, TextChunk
    from mistral_common.protocol.instruct.messages import AssistantMessage, UserMessage
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.protocol.transcription.request import TranscriptionRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    pieces = [bytes([i]) for i in range(256)]
    for word in ("he", "ll", "hell", "hello", " w", " wo", "or", "ld", " wor", " world", "th", "the", " the", "at", "Wh",
                 "What", "an", "ng", "ang", "lang", "en", " s", "ou", "nd", " so", "ound", " sound"):
        pieces.append(word.encode())
    room = len(pieces)
    specials = [dict(rank=i, token_str=t, is_control=True) for i, t in enumerate(SPECIALS)]
    model = {"config": {"pattern": PATTERN, "num_vocab_tokens": room + 3, "default_vocab_size": 100 + room,
                        "default_num_special_tokens": 100, "version": "v7"},
             "vocab": [dict(rank=i, token_bytes=base64.b64encode(p).decode(), token_str=None)
                       for i, p in enumerate(pieces + [b"dog", b"dogs", b" dogs"])],
             "special_tokens": specials,
             "audio": {"sampling_rate": 16000, "frame_rate": 12.5, "chunk_length_s": 30.0,
                       "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400}}}
    folder = DATA / "tekken"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tekken.json").write_text(json.dumps(model, indent=0).replace("\n\"", "\"").replace(",\n{", ",{") + "\n")
    tokenizer = MistralTokenizer.from_file(str(folder / "tekken.json"))
    inner = tokenizer.instruct_tokenizer.tokenizer
    texts = [dict(text=t, ids=inner.encode(t, bos=False, eos=False)) for t in TEXTS]

    import io

    import soundfile
    def clip(count):
        buffer = io.BytesIO()
        soundfile.write(buffer, sound(count), 16000, format="WAV")
        return RawAudio(data=base64.b64encode(buffer.getvalue()).decode(), format="wav")

    def audio(count):
        return AudioChunk(input_audio=clip(count))
    chats = []
    for name, messages in {
        "question": [UserMessage(content=[audio(12347), TextChunk(text="What is in the sound?")])],
        "two": [UserMessage(content=[audio(500_003), TextChunk(text="the sound")]),
                AssistantMessage(content="Hello world"),
                UserMessage(content=[TextChunk(text="What?"), audio(12347)])],
        "text": [UserMessage(content="Hello world")],
    }.items():
        ids = tokenizer.encode_chat_completion(ChatCompletionRequest(messages=messages)).tokens
        shown = [dict(role=m.role, content=m.content if isinstance(m.content, str) else [
            dict(type="text", text=c.text) if isinstance(c, TextChunk) else dict(type="audio") for c in m.content])
            for m in messages]
        chats.append(dict(name=name, messages=shown, ids=ids))
    transcripts = []
    for language in (None, "en"):
        request = TranscriptionRequest(model="m", audio=clip(12347), language=language)
        transcripts.append(dict(language=language or "", ids=tokenizer.encode_transcription(request).tokens))
    kept = dict(texts=texts, chats=chats, transcripts=transcripts)
    # Runs of one id are written as [id, count].
    def short(ids):
        runs = []
        for i in ids:
            if runs and runs[-1][0] == i:
                runs[-1][1] += 1
            else:
                runs.append([i, 1])
        return runs
    for one in chats + transcripts:
        one["ids"] = short(one["ids"])
    (folder / "expected.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["tekken"]:
        tekken()
    else:
        vibevoice_asr()
        gemma3n()
        gemma4()
        voxtral()
        qwen2_audio()
        qwen3_asr()

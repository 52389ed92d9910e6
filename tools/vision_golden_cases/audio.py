"""Audio language models: encoders like Whisper's. "Images" are recordings, as log-mel features."""
import torch

from .common import PLACEHOLDER, Case, text_config

TOWER = dict(num_mel_bins=8, d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64)


class Voxtral(Case):
    """Windows of 30 seconds, here of 16 frames."""

    def inputs(self, images):
        windows = torch.cat([torch.from_numpy(array) for array, _ in images])
        return dict(input_features=windows.transpose(1, 2).contiguous())

    def model_class(self):
        from transformers import VoxtralForConditionalGeneration
        return Class(VoxtralForConditionalGeneration)

    def features(self, model, inputs):
        return model.model.get_audio_features(**inputs).pooler_output


class Class:
    """A class that has no AutoModel, called as one."""

    def __init__(self, model):
        self.model = model

    def from_config(self, config, **more):
        return self.model._from_config(config, **more)

    def from_pretrained(self, *args, **more):
        return self.model.from_pretrained(*args, **more)


class Qwen2Audio(Voxtral):
    """One window, of which a part is sound."""

    def model_class(self):
        from transformers import Qwen2AudioForConditionalGeneration
        return Class(Qwen2AudioForConditionalGeneration)

    def inputs(self, images):
        frames = max(array.shape[1] for array, _ in images)
        mask = torch.tensor([[int(i < grid[0]) for i in range(frames)] for _, grid in images])
        return dict(super().inputs(images), feature_attention_mask=mask)

    def features(self, model, inputs):
        tower, mask = model.model.audio_tower, inputs["feature_attention_mask"]
        length, tokens = (int(n) for n in tower._get_feat_extract_output_lengths(mask.sum(-1)))
        seen = torch.arange(tower.config.max_source_positions) < length
        hides = torch.zeros(1, 1, 1, len(seen)).masked_fill(~seen, torch.finfo(torch.float32).min)
        states = tower(inputs["input_features"], attention_mask=hides).last_hidden_state
        return model.model.multi_modal_projector(states)[:, :tokens]


class Qwen3Asr(Voxtral):
    """Features of any length, padded to whole chunks."""

    def model_class(self):
        from transformers import Qwen3ASRForConditionalGeneration
        return Class(Qwen3ASRForConditionalGeneration)

    def inputs(self, images):
        chunk = 2 * self.config["audio_config"]["n_window"]
        lengths = [array.shape[1] for array, _ in images]
        frames = -(-max(lengths) // chunk) * chunk
        padded = [torch.nn.functional.pad(torch.from_numpy(array), (0, 0, 0, frames - array.shape[1]))
                  for array, _ in images]
        mask = torch.tensor([[int(i < length) for i in range(frames)] for length in lengths])
        return dict(input_features=torch.cat(padded).transpose(1, 2).contiguous(), input_features_mask=mask)

    def features(self, model, inputs):
        return model.model.get_audio_features(**inputs).pooler_output


class Gemma4Audio(Voxtral):
    """Frames of sound; those behind them are masked."""

    def model_class(self):
        from transformers import AutoModelForImageTextToText
        return AutoModelForImageTextToText

    def inputs(self, images):
        frames = max(array.shape[1] for array, _ in images) + 3
        padded = [torch.nn.functional.pad(torch.from_numpy(array), (0, 0, 0, frames - array.shape[1]))
                  for array, _ in images]
        mask = torch.tensor([[i < array.shape[1] for i in range(frames)] for array, _ in images])
        return dict(input_features=torch.cat(padded), input_features_mask=mask)

    def features(self, model, inputs):
        out = model.model.get_audio_features(**inputs)
        return out.pooler_output[out.attention_mask]

    def more_inputs(self, ids):
        return dict(mm_token_type_ids=torch.tensor([[3 * int(i == self.placeholder) for i in ids]]))


class VibeVoiceAsr(Voxtral):
    """Samples, padded to whole frames, without the noise that sampling adds."""

    def inputs(self, images):
        samples = max(array.shape[1] for array, _ in images)
        padded = [torch.nn.functional.pad(torch.from_numpy(array[..., 0]), (0, samples - array.shape[1]))
                  for array, _ in images]
        mask = torch.tensor([[i < array.shape[1] for i in range(samples)] for array, _ in images])
        return dict(input_values=torch.stack(padded), padding_mask=mask, sample=False)

    def model_class(self):
        from transformers import VibeVoiceAsrForConditionalGeneration
        return Class(VibeVoiceAsrForConditionalGeneration)


def cases():
    voxtral = dict(model_type="voxtral", audio_token_id=PLACEHOLDER, projector_hidden_act="gelu",
                   audio_config=dict(num_mel_bins=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                                     intermediate_size=64, max_source_positions=8, head_dim=16, num_key_value_heads=2),
                   text_config=text_config("llama", head_dim=16))
    qwen2 = dict(model_type="qwen2_audio", audio_token_index=PLACEHOLDER,
                 audio_config=dict(TOWER, model_type="qwen2_audio_encoder", max_source_positions=12),
                 text_config=text_config("qwen2"))
    qwen3 = dict(model_type="qwen3_asr", audio_token_id=PLACEHOLDER, tie_word_embeddings=True,
                 audio_config=dict(TOWER, n_window=50, n_window_infer=200, downsample_hidden_size=6, output_dim=64,
                                   max_position_embeddings=13),
                 text_config=text_config("qwen3", head_dim=16, tie_word_embeddings=True))
    gemma4 = dict(model_type="gemma4", audio_token_id=PLACEHOLDER, image_token_id=121, video_token_id=122,
                  tie_word_embeddings=True, vision_config=None,
                  audio_config=dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, attention_chunk_size=4,
                                    attention_context_left=5, subsampling_conv_channels=[8, 4], output_proj_dims=24),
                  text_config=text_config("gemma4_text", head_dim=16, global_head_dim=32, hidden_size_per_layer_input=8,
                                          vocab_size_per_layer_input=128, num_kv_shared_layers=0, sliding_window=64,
                                          enable_moe_block=False, layer_types=["sliding_attention", "full_attention"],
                                          tie_word_embeddings=True))
    encoder = dict(model_type="vibevoice_acoustic_tokenizer_encoder", num_filters=8, downsampling_ratios=[2, 3],
                   depths=[1, 2, 1])
    vibevoice = dict(model_type="vibevoice_asr", audio_token_id=PLACEHOLDER, acoustic_tokenizer_chunk_size=48,
                     acoustic_tokenizer_encoder_config=dict(encoder, hidden_size=6),
                     semantic_tokenizer_encoder_config=dict(encoder, hidden_size=10), text_config=text_config("qwen2"))
    return {
        "vibevoice_asr": VibeVoiceAsr(vibevoice, [((1, 30, 1), ()), ((1, 138, 1), ())], [5, 23]),
        "gemma4_audio": Gemma4Audio(gemma4, [((1, 30, 8), ()), ((1, 51, 8), ())], [8, 13]),
        "voxtral": Voxtral(voxtral, [((1, 16, 8), ()), ((2, 16, 8), ())], [4, 8]),
        "qwen2_audio": Qwen2Audio(qwen2, [((1, 24, 8), (17,)), ((1, 24, 8), (24,))], [4, 6]),
        "qwen3_asr": Qwen3Asr(qwen3, [((1, 133, 8), ()), ((1, 330, 8), ())], [18, 43]),
    }

"""Families with a convolutional tower, computed by transformers with timm 1.0.20."""
import contextlib
import functools
import unittest.mock

from .common import PLACEHOLDER, Case, text_config

TINY_MOBILENET = [
    ["er_r1_k3_s2_e4_c8", "er_r1_k3_s1_e4_c8"],
    ["uir_r1_a3_k5_s2_e6_c16", "uir_r1_a5_k0_s1_e4_c16"],
    ["uir_r1_a5_k5_s2_e6_c16", "uir_r1_a0_k0_s1_e1_c16", "mqa_r1_k3_h2_v2_s1_d16_c16", "uir_r1_a0_k0_s1_e2_c16"],
    ["uir_r1_a5_k5_s2_e6_c24", "mqa_r1_k3_h2_s1_d16_c24", "uir_r1_a0_k0_s1_e2_c24"],
]


class Gemma3n(Case):
    """timm's mobilenetv5_300m_enc with fewer and narrower blocks; recordings beside images."""
    sound = 125
    prompts = ([0], [1, 0], [2], [3, 0])

    @contextlib.contextmanager
    def tiny(self):
        from timm.models import mobilenetv5
        blocks = mobilenetv5.decode_arch_def(TINY_MOBILENET, group_size=None)
        adapter = mobilenetv5.MobileNetV5MultiScaleFusionAdapter
        init = mobilenetv5.MobileNetV5Encoder.__init__

        @functools.wraps(init)
        def tiny_init(own, *args, **more):
            init(own, *args, **dict(more, stem_size=8, msfa_output_resolution=2))
        with unittest.mock.patch.object(mobilenetv5, "decode_arch_def", lambda *_, **__: blocks), \
                unittest.mock.patch.object(mobilenetv5, "MobileNetV5MultiScaleFusionAdapter",
                                           lambda **own: adapter(**dict(own, out_chs=32))), \
                unittest.mock.patch.object(mobilenetv5.MobileNetV5Encoder, "__init__", tiny_init):
            yield

    def make(self, folder):
        with self.tiny():
            return super().make(folder)

    def load(self, folder, tensors):
        with self.tiny():
            return super().load(folder, tensors)

    def is_recording(self, image):
        return len(self.images[image][0]) == 3

    def placeholder_of(self, image):
        return self.sound if self.is_recording(image) else self.placeholder

    def tokens(self, image):
        # 118 and 124: tokens of the image and of the audio vocabulary
        end = 124 if self.is_recording(image) else 118
        return [101], [self.placeholder_of(image)] * self.counts[image], [end]

    def inputs(self, images):
        import torch
        images, recordings = ([i for i in images if i[0].ndim == n] for n in (4, 3))
        inputs = super().inputs(images) if images else {}
        if recordings:
            features = torch.cat([torch.from_numpy(array) for array, _ in recordings])
            inputs.update(input_features=features, input_features_mask=torch.ones(features.shape[:2], dtype=torch.bool))
        return inputs

    def features(self, model, inputs):
        """Of a recording as the model's forward pass pads them."""
        import torch
        if "input_features" not in inputs:
            return super().features(model, inputs)
        mask = ~inputs["input_features_mask"]
        found = model.model.get_audio_features(inputs["input_features"], mask).pooler_output[0]
        last = model.model.embed_audio(input_ids=torch.tensor([[self.config["text_config"]["vocab_size"] - 1]]))[0]
        return torch.cat([found, last.expand(self.config["audio_soft_tokens_per_image"] - len(found), -1)])


def cases():
    text = text_config("gemma3n_text", head_dim=16, num_kv_shared_layers=1, hidden_size_per_layer_input=8, laurel_rank=8,
                       num_hidden_layers=3, layer_types=["sliding_attention", "full_attention", "full_attention"],
                       sliding_window=64, vocab_size_per_layer_input=116, altup_num_inputs=2, intermediate_size=[96] * 3,
                       activation_sparsity_pattern=[0.5, 0.0, 0.0], query_pre_attn_scalar=16, num_attention_heads=4)
    audio = dict(hidden_size=16, vocab_size=4, vocab_offset=124, input_feat_size=16, conf_num_attention_heads=2,
                 conf_num_hidden_layers=2, sscp_conv_channel_size=[4, 6], conf_attention_chunk_size=4,
                 conf_attention_context_left=3, conf_attention_context_right=1)
    return {
        "gemma3n": Gemma3n(dict(model_type="gemma3n", image_token_id=PLACEHOLDER, boi_token_id=101, eoi_token_id=118,
                                audio_token_id=Gemma3n.sound, vision_soft_tokens_per_image=4,
                                audio_soft_tokens_per_image=6, text_config=text, audio_config=audio,
                                vision_config=dict(model_type="gemma3n_vision", hidden_size=32, vocab_size=8,
                                                   vocab_offset=116)),
                           [((1, 64, 64, 3), ()), ((1, 64, 64, 3), ()), ((1, 51, 16), ()), ((1, 83, 16), ())],
                           [4, 4, 6, 6]),
    }

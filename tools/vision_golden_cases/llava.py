"""LLaVA and similar models: states of a CLIP, SigLIP or Pixtral tower."""
import torch

from .common import PLACEHOLDER, Case, text_config

TOWER = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2, patch_size=8)


class Sized(Case):
    """Images of any size, padded to the largest."""

    def inputs(self, images):
        tiles = [torch.from_numpy(a[0]).permute(2, 0, 1) for a, _ in images]
        height, width = (max(t.shape[i] for t in tiles) for i in (1, 2))
        padded = [torch.nn.functional.pad(t, (0, width - t.shape[2], 0, height - t.shape[1])) for t in tiles]
        return dict(pixel_values=torch.stack(padded), image_sizes=torch.tensor([t.shape[1:] for t in tiles]))

    def features(self, model, inputs):
        # The class gives its arguments' defaults only in forward.
        layer = dict(vision_feature_layer=model.config.vision_feature_layer)
        if hasattr(model.config, "vision_feature_select_strategy"):
            layer["vision_feature_select_strategy"] = model.config.vision_feature_select_strategy
        return model.model.get_image_features(**inputs, **layer).pooler_output


class Llava(Case):
    def features(self, model, inputs):
        return model.model.get_image_features(
            **inputs, vision_feature_layer=model.config.vision_feature_layer,
            vision_feature_select_strategy=model.config.vision_feature_select_strategy).pooler_output


class LlavaNext(Llava):
    def inputs(self, images):
        most = max(len(a) for a, _ in images)
        tiles = [torch.from_numpy(a).permute(0, 3, 1, 2) for a, _ in images]
        padded = [torch.nn.functional.pad(t, (0, 0, 0, 0, 0, 0, 0, most - len(t))) for t in tiles]
        return dict(pixel_values=torch.stack(padded), image_sizes=torch.tensor([grid[2:] for _, grid in images]))


class TwoWay(Case):
    """Prompts whose images, or all of whose tokens, see each other."""

    def more_inputs(self, ids):
        if self.attention == "whole_prompt":
            return dict(token_type_ids=torch.zeros(1, len(ids), dtype=torch.long))
        return dict(token_type_ids=torch.tensor([[int(i == self.placeholder) for i in ids]]))


class Gemma3(TwoWay):
    attention = "image_blocks"


class PaliGemma(TwoWay):
    attention = "whole_prompt"


class Aya(Llava):
    def adjusted(self, model):
        """transformers 5.24 leaves out logit_scale."""
        model.lm_head.register_forward_hook(lambda module, given, logits: logits * model.config.text_config.logit_scale)
        return model


def cases():
    clip = dict(TOWER, model_type="clip_vision_model", image_size=32, projection_dim=16)
    siglip = dict(TOWER, model_type="siglip_vision_model", image_size=32, vision_use_head=False)
    pixtral = dict(TOWER, model_type="pixtral", image_size=64, head_dim=16, hidden_act="silu")
    llama, mistral = text_config("llama", tie_word_embeddings=False), text_config("mistral", tie_word_embeddings=False)
    one = [((1, 32, 32, 3), ()), ((1, 32, 32, 3), ())]
    sizes = [((1, 32, 48, 3), ()), ((1, 16, 64, 3), ())]
    common = dict(image_token_index=PLACEHOLDER, image_token_id=PLACEHOLDER, tie_word_embeddings=False)
    tied = dict(common, tie_word_embeddings=True)
    gemma = dict(head_dim=16, tie_word_embeddings=True)
    square = dict(TOWER, model_type="siglip_vision_model", image_size=32, vision_use_head=False)
    return {
        "llava": Llava(dict(common, model_type="llava", text_config=llama, vision_config=clip), one, [16, 16]),
        "llava_layers": Llava(dict(common, model_type="llava", text_config=llama, vision_config=clip,
                                   vision_feature_layer=[-2, 1], vision_feature_select_strategy="full"), one, [17, 17]),
        "llava_siglip": Llava(dict(common, model_type="llava", text_config=llama, vision_config=siglip,
                                   vision_feature_select_strategy="full"), one, [16, 16]),
        "pixtral": Sized(dict(common, model_type="llava", text_config=mistral, vision_config=pixtral,
                              vision_feature_layer=-1, vision_feature_select_strategy="full"), sizes, [24, 16]),
        "mistral3": Sized(dict(common, model_type="mistral3", text_config=mistral, vision_config=pixtral,
                               spatial_merge_size=2, vision_feature_layer=-1), sizes, [6, 4]),
        "llava_next": LlavaNext(dict(common, model_type="llava_next", text_config=llama, vision_config=clip,
                                     image_grid_pinpoints=[[32, 64], [64, 32], [64, 64], [32, 96]]),
                                [((3, 32, 32, 3), (1, 2, 30, 61)), ((5, 32, 32, 3), (2, 2, 70, 57))],
                                [16 + 4 * 9, 16 + 8 * 7]),
        "paligemma": PaliGemma(dict(tied, model_type="paligemma", projection_dim=64, vision_config=square,
                                    text_config=text_config("gemma", **gemma)), one, [16, 16]),
        "paligemma2": PaliGemma(dict(tied, model_type="paligemma", projection_dim=64, vision_config=square,
                                     text_config=text_config("gemma2", sliding_window=64, query_pre_attn_scalar=16,
                                                             **gemma)), one, [16, 16]),
        "gemma3": Gemma3(dict(tied, model_type="gemma3", mm_tokens_per_image=4, vision_config=square,
                              text_config=text_config("gemma3_text", sliding_window=24, query_pre_attn_scalar=16,
                                                      layer_types=["sliding_attention", "full_attention"], **gemma)),
                         one, [4, 4]),
        "aya_vision": Aya(dict(common, model_type="aya_vision", downsample_factor=2, alignment_intermediate_size=96,
                               vision_feature_layer=-1, vision_feature_select_strategy="full", vision_config=square,
                               text_config=text_config("cohere2", tie_word_embeddings=False, logit_scale=0.25, sliding_window=64,
                                                       layer_types=["sliding_attention", "full_attention"])),
                          [((1, 32, 32, 3), ()), ((3, 32, 32, 3), ())], [4, 12]),
    }

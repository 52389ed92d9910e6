"""Families whose tower is their own."""
import torch

from .common import PLACEHOLDER, Case, text_config
from .llava import Llava
from .qwen_vl import Patches

TOWER = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, patch_size=8)


class Idefics2(Case):
    def inputs(self, images):
        tiles, masks = [], []
        for array, grid in images:
            for i, one in enumerate(array):
                mask = torch.zeros(one.shape[:2], dtype=torch.bool)
                mask[:grid[2 * i], :grid[2 * i + 1]] = True
                tiles.append(torch.from_numpy(one).permute(2, 0, 1) * mask)
                masks.append(mask)
        height, width = (max(m.shape[i] for m in masks) for i in (0, 1))

        def padded(x):
            return torch.nn.functional.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
        return dict(pixel_values=torch.stack([padded(t) for t in tiles])[None],
                    pixel_attention_mask=torch.stack([padded(m) for m in masks])[None])


class InternVl(Llava):
    def __init__(self, config, images, counts, prompts=Case.prompts):
        super().__init__(config, images, counts)
        self.prompts = prompts


class Lfm2Vl(Case):
    def inputs(self, images):
        shapes = [grid[i:i + 2] for _, grid in images for i in range(0, len(grid), 2)]
        counts = [h * w for h, w in shapes]
        rows = torch.cat([torch.from_numpy(a) for a, _ in images]).split(counts)
        most = max(counts)
        pad = torch.nn.functional.pad
        return dict(pixel_values=torch.stack([pad(r, (0, 0, 0, most - len(r))) for r in rows]),
                    pixel_attention_mask=torch.stack([(torch.arange(most) < n).long() for n in counts]),
                    spatial_shapes=torch.tensor(shapes))


class MiniCpmV(Case):
    def inputs(self, images):
        shapes = [grid[i:i + 2] for _, grid in images for i in range(0, len(grid), 2)]
        side = int((images[0][0].shape[1] // 3) ** 0.5)
        rows = torch.cat([torch.from_numpy(a) for a, _ in images]).reshape(-1, 3, side, side)
        packed = rows.permute(1, 2, 0, 3).reshape(1, 3, side, -1)  # concatenated patches
        return dict(pixel_values=packed.contiguous(), target_sizes=torch.tensor(shapes, dtype=torch.int32))


class Gemma4(Patches):
    def inputs(self, images):
        most, pad = max(len(a) for a, _ in images), torch.nn.functional.pad
        rows, places = [], []
        for array, (height, width) in images:
            x, y = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
            place = torch.stack([x.flatten(), y.flatten()], 1)
            rows.append(pad(torch.from_numpy(array), (0, 0, 0, most - len(array))))
            places.append(pad(place, (0, 0, 0, most - len(array)), value=-1))
        return dict(pixel_values=torch.stack(rows), image_position_ids=torch.stack(places))

    def more_inputs(self, ids):
        return super().more_inputs(ids)


def cases():
    common = dict(image_token_id=PLACEHOLDER, image_token_index=PLACEHOLDER, tie_word_embeddings=False, pad_token_id=0)
    tied = dict(common, tie_word_embeddings=True)
    untied = dict(tie_word_embeddings=False)
    perceiver = dict(hidden_size=64, resampler_n_latents=4, resampler_depth=2, resampler_n_heads=4, resampler_head_dim=8,
                     num_key_value_heads=2, rms_norm_eps=1e-5)
    qwen2 = text_config("qwen2", layer_types=["full_attention"] * 2, **untied)
    intern = dict(TOWER, image_size=[32, 32], patch_size=[8, 8], layer_scale_init_value=0.1)
    lfm2 = text_config("lfm2", num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"], conv_L_cache=3,
                       block_auto_adjust_ff_dim=False, tie_word_embeddings=True)
    delta = dict(num_hidden_layers=2, head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4,
                 linear_key_head_dim=16, linear_value_head_dim=16, linear_conv_kernel_dim=4,
                 layer_types=["linear_attention", "full_attention"], tie_word_embeddings=False,
                 rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5,
                                      mrope_section=[2, 1, 1], mrope_interleaved=True))
    minicpm = dict(TOWER, num_hidden_layers=3, image_size=40, insert_layer_id=1)
    gemma4 = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
                  num_key_value_heads=2, head_dim=16, patch_size=4, pooling_kernel_size=3, position_embedding_size=64,
                  rope_parameters=dict(rope_type="axial", rope_theta=100.0))
    gemma4_text = text_config("gemma4_text", head_dim=16, global_head_dim=32, hidden_size_per_layer_input=0,
                              num_kv_shared_layers=0, sliding_window=64, enable_moe_block=False,
                              layer_types=["sliding_attention", "full_attention"], tie_word_embeddings=True)
    return {
        "idefics2": Idefics2(dict(common, model_type="idefics2", perceiver_config=perceiver,
                                  text_config=text_config("mistral", **untied),
                                  vision_config=dict(TOWER, image_size=40)),
                             [((1, 36, 52, 3), (36, 52)), ((2, 48, 40, 3), (48, 24, 32, 40))], [4, 8]),
        "internvl": InternVl(dict(common, model_type="internvl", text_config=qwen2, vision_config=intern,
                                  downsample_ratio=0.5), [((1, 32, 32, 3), (1, 1)), ((3, 32, 32, 3), (1, 2))], [4, 12]),
        "internvl_rms": InternVl(dict(common, model_type="internvl", text_config=qwen2, downsample_ratio=0.5,
                                      vision_config=dict(intern, norm_type="rms_norm", use_qk_norm=True,
                                                         attention_bias=True)),
                                 [((1, 32, 32, 3), (1, 1)), ((2, 48, 48, 3), (1, 2))], [4, 18], prompts=([0], [1])),  # one size a batch
        "lfm2_vl": Lfm2Vl(dict(tied, model_type="lfm2_vl", text_config=lfm2, projector_hidden_size=48,
                               vision_config=dict(TOWER, model_type="siglip2_vision_model", num_patches=25,
                                                  vision_use_head=False)),
                          [((4 * 6, 192), (4, 6)), ((4 * 4 + 2 * 8, 192), (4, 4, 2, 8))], [6, 8]),
        "minicpmv4_6": MiniCpmV(dict(common, model_type="minicpmv4_6", vision_config=minicpm, insert_layer_id=1,
                                     text_config=text_config("qwen3_5_text", **delta)),
                                [((4 * 8, 192), (4, 8)), ((4 * 4 + 8 * 4, 192), (4, 4, 8, 4))], [2, 3]),
        "minicpmv4_6_4x": MiniCpmV(dict(common, model_type="minicpmv4_6", vision_config=minicpm, insert_layer_id=1,
                                        downsample_mode="4x", text_config=text_config("qwen3_5_text", **delta)),
                                   [((4 * 8, 192), (4, 8)), ((4 * 4 + 8 * 4, 192), (4, 4, 8, 4))], [8, 12]),
        "gemma4": Gemma4(dict(tied, model_type="gemma4", vision_config=gemma4, text_config=gemma4_text,
                              audio_config=None), [((6 * 9, 48), (6, 9)), ((3 * 6, 48), (3, 6))], [6, 2]),
        "gemma4_clamped": Gemma4(dict(tied, model_type="gemma4", text_config=gemma4_text, audio_config=None,
                                      vision_config=dict(gemma4, use_clipped_linears=True, standardize=True)),
                                 [((6 * 9, 48), (6, 9)), ((3 * 6, 48), (3, 6))], [6, 2]),
    }

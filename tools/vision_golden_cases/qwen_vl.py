"""Qwen-VL and GLM-4V: rows of patches in blocks of 2 × 2, three axes of positions."""
import torch

from .common import PLACEHOLDER, Case, text_config

TOWER = dict(depth=3, num_heads=2, patch_size=4, temporal_patch_size=2, spatial_merge_size=2, in_channels=3)


def image(rows, columns, patch=4):
    return ((rows * columns, 3 * patch * patch), (1, rows, columns))


class Patches(Case):
    def inputs(self, images):
        rows = torch.cat([torch.from_numpy(a) for a, _ in images])
        twice = rows.reshape(len(rows), 3, 1, -1).repeat(1, 1, 2, 1)  # the frame of an image is there twice
        return dict(pixel_values=twice.reshape(len(rows), -1),
                    image_grid_thw=torch.tensor([grid for _, grid in images]))

    def more_inputs(self, ids):
        return dict(mm_token_type_ids=torch.tensor([[int(i == self.placeholder) for i in ids]]))


def cases():
    ids = dict(image_token_id=PLACEHOLDER, video_token_id=121, vision_start_token_id=101, vision_end_token_id=102,
               tie_word_embeddings=False)
    chunked = dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0, mrope_section=[2, 3, 3]),
                   tie_word_embeddings=False)
    interleaved = dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0, mrope_section=[3, 3, 2],
                                            mrope_interleaved=True), head_dim=16, tie_word_embeddings=False)
    images, counts = [image(4, 6), image(6, 2)], [6, 3]
    big, big_counts = [image(10, 6), image(4, 4)], [15, 4]
    qwen3 = dict(TOWER, hidden_size=32, intermediate_size=48, out_hidden_size=64, num_position_embeddings=25)
    moe = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, decoder_sparse_step=1, mlp_only_layers=[])
    delta = dict(num_hidden_layers=4, head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4,
                 linear_key_head_dim=16, linear_value_head_dim=16, linear_conv_kernel_dim=4,
                 layer_types=["linear_attention"] * 3 + ["full_attention"], tie_word_embeddings=False,
                 rope_parameters=dict(rope_type="default", rope_theta=10000.0, mrope_section=[1, 1, 0],
                                      mrope_interleaved=True, partial_rotary_factor=0.25))
    glm = dict(depth=2, num_heads=2, patch_size=4, temporal_patch_size=2, spatial_merge_size=2, in_channels=3,
               hidden_size=32, intermediate_size=48, out_hidden_size=64, image_size=20)
    return {
        "qwen2_vl": Patches(dict(ids, model_type="qwen2_vl", text_config=text_config("qwen2_vl_text", **chunked),
                                 vision_config=dict(TOWER, embed_dim=32, hidden_size=64, mlp_ratio=2)), images, counts),
        "qwen2_5_vl": Patches(dict(ids, model_type="qwen2_5_vl", text_config=text_config("qwen2_5_vl_text", **chunked),
                                   vision_config=dict(TOWER, hidden_size=32, intermediate_size=48, out_hidden_size=64,
                                                      window_size=16, fullatt_block_indexes=[1])), big, big_counts),
        "qwen3_vl": Patches(dict(ids, model_type="qwen3_vl", text_config=text_config("qwen3_vl_text", **interleaved),
                                 vision_config=dict(qwen3, deepstack_visual_indexes=[0, 2])), images, counts),
        "qwen3_vl_moe": Patches(dict(ids, model_type="qwen3_vl_moe",
                                     text_config=text_config("qwen3_vl_moe_text", **interleaved, **moe),
                                     vision_config=dict(qwen3, deepstack_visual_indexes=[1])), images, counts),
        "qwen3_5": Patches(dict(ids, model_type="qwen3_5", text_config=text_config("qwen3_5_text", **delta),
                                vision_config=dict(qwen3, deepstack_visual_indexes=[])), images, counts),
        "glm4v": Patches(dict(ids, model_type="glm4v", image_start_token_id=101, image_end_token_id=102,
                              text_config=text_config("glm4v_text", rope_parameters=dict(
                                  rope_type="default", rope_theta=10000.0, mrope_section=[1, 1, 2],
                                  partial_rotary_factor=0.5), tie_word_embeddings=False),
                              vision_config=glm), images, counts),
    }

"""Families whose language model attends to images by layers of its own."""
import torch

from .common import PLACEHOLDER, Case, text_config


class Mllama(Case):
    """Llama 3.2 Vision. The text's vocabulary ends before the image's token, whose vectors have no logits."""
    tiles = 4
    grids = [(rows, columns) for rows in range(1, 5) for columns in range(1, 5) if rows * columns <= 4]

    def __init__(self, config, images, **more):
        super().__init__(config, images, None)
        self.text_after = more.get("text_after", Case.text_after)

    def tokens(self, image):
        return [], [self.placeholder], []

    def inputs(self, images):
        pixels, ids, masks, self.counts = [], [], [], []
        for array, grid in images:
            tiles = torch.from_numpy(array).permute(0, 3, 1, 2)
            pixels.append(torch.cat([tiles, torch.zeros(self.tiles - len(tiles), *tiles.shape[1:])]))
            ids.append(self.grids.index(tuple(grid)) + 1)
            masks.append([int(tile < len(tiles)) for tile in range(self.tiles)])
            self.counts.append(len(tiles))
        return dict(pixel_values=torch.stack(pixels)[None], aspect_ratio_ids=torch.tensor([ids]),
                    aspect_ratio_mask=torch.tensor([masks]))

    def more_inputs(self, ids):
        from transformers.models.mllama.processing_mllama import (
            convert_sparse_cross_attention_mask_to_dense, get_cross_attention_token_mask)
        seen = get_cross_attention_token_mask(ids, self.placeholder)
        return dict(cross_attention_mask=torch.from_numpy(convert_sparse_cross_attention_mask_to_dense(
            [seen], [self.counts], self.tiles, len(ids))))

    def features(self, model, inputs):
        states = model.model.vision_model(**inputs).last_hidden_state  # [1, images, tiles, patches, width]
        return model.model.multi_modal_projector(states[:, 0, :self.counts[0]])

    def adjusted(self, model):
        """As in Meta's code, intermediate states are those before a block, and text before the first image sees none."""
        tower = model.model.vision_model.transformer
        forward = tower.forward

        def with_first(hidden_states, **more):
            out = forward(hidden_states=hidden_states, **more)
            out.hidden_states = (hidden_states, *out.hidden_states)
            return out
        tower.forward = with_first
        for layer in model.model.language_model.layers:
            if not hasattr(layer, "cross_attn"):
                continue
            layer.register_forward_pre_hook(self.remember, with_kwargs=True)
            layer.cross_attn.register_forward_hook(
                lambda module, args, out, layer=layer: (out[0] * layer.rows_that_see,) + tuple(out[1:]))
        return model

    @staticmethod
    def remember(layer, args, kwargs):
        layer.rows_that_see = kwargs["full_text_row_masked_out_mask"][:, 0]

    def generate(self, model, ids, inputs):
        logits, tokens = super().generate(model, ids, inputs)
        missing = len(model.model.language_model.embed_tokens.weight) - len(logits[0])
        return [torch.cat([torch.from_numpy(x), torch.full((missing,), -1e9)]).numpy() for x in logits], tokens


def cases():
    vision = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_global_layers=2, attention_heads=2,
                  image_size=32, patch_size=8, max_num_tiles=4, intermediate_layers_indices=[1, 2], vision_output_dim=96)
    text = text_config("mllama_text_model", num_hidden_layers=4, cross_attention_layers=[1, 3],
                       tie_word_embeddings=False, rope_parameters=dict(rope_type="default", rope_theta=1e4))
    text["vocab_size"] = PLACEHOLDER
    config = dict(model_type="mllama", image_token_index=PLACEHOLDER, vision_config=vision, text_config=text)
    images = [((2, 32, 32, 3), (1, 2)), ((3, 32, 32, 3), (3, 1))]
    return {"mllama": Mllama(config, images), "mllama_adjacent": Mllama(config, images, text_after=0)}

"""Idefics 3 and SmolVLM: tiles row by row, the whole image last."""
import torch

from .common import PLACEHOLDER, Case, text_config

VISION = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32,
              patch_size=8)


class Idefics3(Case):
    def inputs(self, images):
        tiles = torch.cat([torch.from_numpy(a).permute(0, 3, 1, 2) for a, _ in images])
        return dict(pixel_values=tiles[None].contiguous())

    def tokens(self, image):
        shape, (rows, columns) = self.images[image]
        each = self.counts[image] // shape[0]
        tokens = []
        for row in range(rows):
            for column in range(columns):
                tokens += [103, 104 + row * columns + column] + [self.placeholder] * each
            tokens += [110]
        return [101], tokens + [103] + [self.placeholder] * each, [102]


def cases():
    def config(model_type, vision):
        return dict(model_type=model_type, image_token_id=PLACEHOLDER, scale_factor=2, tie_word_embeddings=False,
                    pad_token_id=0, text_config=text_config("llama", tie_word_embeddings=False),
                    vision_config=dict(vision, model_type=f"{model_type}_vision"))
    images = [((1, 32, 32, 3), (0, 0)), ((3, 32, 32, 3), (1, 2))]
    return {
        "idefics3": Idefics3(config("idefics3", VISION), images, [4, 12]),
        # Positions of a table of another size.
        "smolvlm": Idefics3(config("smolvlm", dict(VISION, image_size=40)), images, [4, 12]),
    }

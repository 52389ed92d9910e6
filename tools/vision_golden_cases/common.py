"""Functions that the cases of all families share."""
import json

import torch
from safetensors.torch import load_file, save_file

VOCAB, PLACEHOLDER = 128, 120
TEXT = dict(hidden_size=64, num_hidden_layers=2, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=VOCAB, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def text_config(model_type, **more):
    return dict(TEXT, model_type=model_type, **more)


def channels_first(images):
    """The tiles of all images [tiles, H, W, 3] as torch has them, [tiles, 3, H, W]."""
    return torch.cat([torch.from_numpy(array).permute(0, 3, 1, 2) for array, _ in images]).contiguous()


class Case:
    """A tiny model and the images of its prompts, each (shape, grid) as its processor gives them."""
    placeholder = PLACEHOLDER
    attention = "causal"
    begin = (1,)
    text_after = 3  # tokens of text after each image
    prompts = ([0], [1, 0])  # the images of each

    def __init__(self, config, images, counts):
        self.config, self.images, self.counts = config, images, counts

    def model_class(self):
        from transformers import AutoModelForImageTextToText
        return AutoModelForImageTextToText

    def make(self, folder):
        """Saves the model and its configuration; the shapes of its tensors, and the configuration."""
        from transformers import AutoConfig
        config = AutoConfig.for_model(**json.loads(json.dumps(self.config)))
        self.model_class().from_config(config, dtype=torch.float32).save_pretrained(folder)
        shapes = {k: list(v.shape) for k, v in load_file(folder / "model.safetensors").items()}
        return shapes, json.loads((folder / "config.json").read_text())

    def load(self, folder, tensors):
        """The model with those tensors."""
        save_file({k: torch.from_numpy(v) for k, v in tensors.items()}, folder / "model.safetensors",
                  metadata={"format": "pt"})
        model, report = self.model_class().from_pretrained(folder, attn_implementation="eager", dtype=torch.float32,
                                                           output_loading_info=True)
        assert not any(report[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        model.generation_config.eos_token_id = None
        return self.adjusted(model.eval())

    def generate(self, model, ids, inputs):
        """The logits of twelve greedy tokens, and the tokens."""
        out = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False, output_logits=True,
                             attention_mask=torch.ones(1, len(ids), dtype=torch.long), return_dict_in_generate=True,
                             pad_token_id=0, **inputs)
        return [x[0].float().numpy() for x in out.logits], out.sequences[0, -12:].tolist()

    def adjusted(self, model):
        """The loaded model with corrections of transformers' errors."""
        return model

    def tokens(self, image):
        """The tokens before an image's features, their own, and those after them."""
        return [101], [self.placeholder] * self.counts[image], [102]

    def is_recording(self, image):
        """Whether it is one, in a model that takes images too."""
        return False

    def placeholder_of(self, image):
        return self.placeholder

    def kind(self, tensor):
        """The kind of a tensor's numbers; None: by its name."""
        return None

    def inputs(self, images):
        return dict(pixel_values=channels_first(images))

    def more_inputs(self, ids):
        return {}

    def features(self, model, inputs):
        return model.model.get_image_features(**inputs).pooler_output


class ByParts(Case):
    """A model whose parts are called one by one: encode(model, inputs) gives the features, embed(model, ids) the tokens'
    vectors, decode(model, vectors) the last logits, all as numpy arrays."""

    def features(self, model, inputs):
        return torch.from_numpy(self.encode(model, inputs))

    def merged(self, vectors, features):
        """The vectors that replace those of the placeholders."""
        return features

    def generate(self, model, ids, inputs):
        import numpy as np
        vectors = np.array(self.embed(model, ids))
        places = [i for i, token in enumerate(ids) if token == self.placeholder]
        vectors[places] = self.merged(vectors[places], self.encode(model, inputs))
        logits, tokens = [], []
        while len(tokens) < 12:
            logits.append(np.asarray(self.decode(model, vectors), dtype=np.float32))
            tokens.append(int(logits[-1].argmax()))
            vectors = np.concatenate([vectors, np.array(self.embed(model, tokens[-1:]))])
        return logits, tokens

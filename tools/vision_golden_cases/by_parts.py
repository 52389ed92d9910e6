"""Families that transformers lacks or computes wrongly: assembled here from parts of transformers."""

import numpy as np
import torch

from .common import PLACEHOLDER, ByParts, text_config
from .towers import TOWER


class Llama4(ByParts):
    """transformers 5.24's forward fails; its parts do not."""

    def encode(self, model, inputs):
        seen = model.vision_model(inputs["pixel_values"]).last_hidden_state
        return model.multi_modal_projector(seen.reshape(-1, seen.shape[-1])).numpy()

    def embed(self, model, ids):
        return model.get_input_embeddings()(torch.tensor(ids)).numpy()

    def decode(self, model, vectors):
        out = model.language_model(inputs_embeds=torch.from_numpy(vectors)[None])
        hidden = out.logits if hasattr(out, "logits") else model.lm_head(out.last_hidden_state)
        return hidden[0, -1].numpy()


class Phi3V(ByParts):
    """Microsoft's model from transformers' CLIP and Phi-3."""

    def make(self, folder):
        from transformers import CLIPVisionConfig, CLIPVisionModel, Phi3Config, Phi3ForCausalLM
        clip = CLIPVisionModel(CLIPVisionConfig(**self.config["img_processor"], attn_implementation="eager"))
        text = {k: v for k, v in self.config.items() if k not in ("img_processor", "model_type")}
        self.parts = clip, Phi3ForCausalLM(Phi3Config(**text, attn_implementation="eager"))
        wide, hidden = 4 * clip.config.hidden_size, self.config["hidden_size"]
        shapes = {k: list(v.shape) for k, v in self.parts[1].state_dict().items()}
        tower = "model.vision_embed_tokens."
        for k, v in clip.state_dict().items():
            if "position_ids" not in k:
                shapes[tower + "img_processor.vision_model." + k.removeprefix("vision_model.")] = list(v.shape)
        shapes.update({tower + "sub_GN": [1, 1, 1, wide], tower + "glb_GN": [1, 1, wide]})
        for i, rows, columns in ((0, hidden, wide), (2, hidden, hidden)):
            shapes.update({f"{tower}img_projection.{i}.weight": [rows, columns], f"{tower}img_projection.{i}.bias": [rows]})
        return shapes, self.config

    def load(self, folder, tensors):
        tensors = {k: torch.from_numpy(v) for k, v in tensors.items()}
        clip, text = self.parts
        prefix, own = "model.vision_embed_tokens.img_processor.vision_model.", {}
        for k in clip.state_dict():
            own[k] = tensors.pop(prefix + k.removeprefix("vision_model.")) if "position_ids" not in k else clip.state_dict()[k]
        clip.load_state_dict(own)
        self.loose = {k.removeprefix("model.vision_embed_tokens."): v for k, v in tensors.items() if "vision_embed" in k}
        text.load_state_dict({k: v for k, v in tensors.items() if "vision_embed" not in k})
        return self.parts

    def inputs(self, images):
        return dict(images=images)

    def encode(self, model, inputs):
        all_features = []
        for array, (rows, columns) in inputs["images"]:
            seen = model[0](torch.from_numpy(array).permute(0, 3, 1, 2), output_hidden_states=True).hidden_states[-2][:, 1:]
            half = int(seen.shape[1] ** 0.5) // 2
            wide = 4 * seen.shape[2]
            seen = seen.reshape(len(seen), half, 2, half, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(-1, half, half, wide)

            def sheet(tiles, rows, columns):
                tiles = tiles.reshape(rows, columns, half, half, wide).permute(0, 2, 1, 3, 4)
                tiles = tiles.reshape(rows * half, columns * half, wide)
                return torch.cat([tiles, self.loose["sub_GN"][0].expand(rows * half, 1, wide)], 1).reshape(-1, wide)
            x = torch.cat([sheet(seen[1:], rows, columns), self.loose["glb_GN"][0], sheet(seen[:1], 1, 1)])
            for i in (0, 2):
                x = x @ self.loose[f"img_projection.{i}.weight"].T + self.loose[f"img_projection.{i}.bias"]
                x = torch.nn.functional.gelu(x) if i == 0 else x
            all_features.append(x)
        return torch.cat(all_features).numpy()

    def embed(self, model, ids):
        return model[1].get_input_embeddings()(torch.tensor(ids)).numpy()

    def decode(self, model, vectors):
        return model[1](inputs_embeds=torch.from_numpy(vectors)[None]).logits[0, -1].numpy()


def cases():
    common = dict(image_token_id=PLACEHOLDER, image_token_index=PLACEHOLDER)
    untied = dict(tie_word_embeddings=False)
    llama4 = text_config("llama4_text", head_dim=16, intermediate_size_mlp=96, num_local_experts=2,
                         num_experts_per_tok=1, interleave_moe_layer_step=2, no_rope_layers=[1, 0], use_qk_norm=True,
                         attention_chunk_size=64, rope_theta=10000.0, rope_scaling=None, rms_norm_eps=1e-5, **untied)
    llama4_vision = dict(TOWER, intermediate_size=128, image_size=32, vision_output_dim=48, projector_input_dim=48, projector_output_dim=48,
                         rope_theta=10000.0, pixel_shuffle_ratio=0.5)
    clip = dict(TOWER, num_hidden_layers=3, image_size=32, projection_dim=16)
    phi3 = dict(text_config("phi3", rope_scaling=None, rope_theta=10000.0, rms_norm_eps=1e-5, sliding_window=None,
                            **untied), model_type="phi3_v", img_processor=clip)
    return {
        "llama4": Llama4(dict(common, model_type="llama4", text_config=llama4, vision_config=llama4_vision, boi_token_index=101,
                              eoi_token_index=102, tie_word_embeddings=False),
                         [((1, 32, 32, 3), (1, 1)), ((3, 32, 32, 3), (1, 2))], [4, 12]),
        "phi3_v": Phi3V(phi3, [((3, 32, 32, 3), (1, 2)), ((5, 32, 32, 3), (2, 2))],
                        [3 * 4 + 1 + 2 * 2, 5 * 4 + 1 + 3 * 2]),
    }

"""Families that transformers does not have: a tower as its authors wrote it, with a language model of transformers."""
import json

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from .common import PLACEHOLDER, ByParts, text_config
from .towers import TOWER


class Beside(ByParts):
    """`tower_shapes()` names the tensors that are not the language model's. `encode_one(w, array, grid)` computes the
    features of an image with them."""
    prefix = "language_model."  # of the language model's tensors
    text_key = "text_config"

    def text_config(self):
        return self.config[self.text_key]

    def make(self, folder):
        from transformers import AutoConfig, AutoModelForCausalLM
        self.text = AutoConfig.for_model(**json.loads(json.dumps(self.text_config())))
        AutoModelForCausalLM.from_config(self.text, dtype=torch.float32).save_pretrained(folder)
        shapes = {self.prefix + k: list(v.shape) for k, v in load_file(folder / "model.safetensors").items()}
        return {**shapes, **self.tower_shapes()}, self.config

    def load(self, folder, tensors):
        from transformers import AutoModelForCausalLM
        tensors = {k: torch.from_numpy(v) for k, v in tensors.items()}
        own = self.tower_shapes()
        save_file({k.removeprefix(self.prefix): v for k, v in tensors.items() if k not in own},
                  folder / "model.safetensors", metadata={"format": "pt"})
        text, report = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32,
                                                            output_loading_info=True)
        assert not any(report[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        self.own = {k: tensors[k] for k in own}
        return text.eval()

    def inputs(self, images):
        return dict(images=images)

    def encode(self, model, inputs):
        seen = [self.encode_one(self.own, torch.from_numpy(array), grid) for array, grid in inputs["images"]]
        return torch.cat(seen).numpy()

    def embed(self, model, ids):
        return model.get_input_embeddings()(torch.tensor(ids)).numpy()

    def decode(self, model, vectors):
        return model(inputs_embeds=torch.from_numpy(vectors)[None]).logits[0, -1].numpy()


def linear(w, name, x):
    return F.linear(x, w[name + ".weight"], w.get(name + ".bias"))


def norm(w, name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], eps)


def with_bias(name, *shape):
    """A layer's weight and bias."""
    return {name + ".weight": list(shape), name + ".bias": list(shape[:1])}


def heads(x, count):
    return x.reshape(x.shape[0], count, -1).transpose(0, 1)


def attend(q, k, v, bias=0):
    """q, k, v [heads, L, dims] → [L, heads * dims]."""
    scores = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias, -1)
    return (scores @ v).transpose(0, 1).flatten(1)


class KimiVl(Beside):
    """Moonshot's modeling_kimi_vl.py: LayerNorm's own eps, the tanh form of GELU in the tower and GELU itself after it."""

    def tower_shapes(self):
        c = self.config["vision_config"]
        wide, inner, side = c["hidden_size"], c["intermediate_size"], c["patch_size"]
        tower, hidden = "vision_tower.", self.text_config()["hidden_size"]
        shapes = {**with_bias(tower + "patch_embed.proj", wide, 3, side, side),
                  tower + "patch_embed.pos_emb.weight": [c["init_pos_emb_height"], c["init_pos_emb_width"], wide],
                  **with_bias(tower + "encoder.final_layernorm", wide), **with_bias("multi_modal_projector.pre_norm", wide),
                  **with_bias("multi_modal_projector.linear_1", 4 * wide, 4 * wide),
                  **with_bias("multi_modal_projector.linear_2", hidden, 4 * wide)}
        for i in range(c["num_hidden_layers"]):
            block = f"{tower}encoder.blocks.{i}."
            for name, *shape in (("norm0", wide), ("norm1", wide), ("wqkv", 3 * wide, wide), ("wo", wide, wide),
                                 ("mlp.fc0", inner, wide), ("mlp.fc1", wide, inner)):
                shapes.update(with_bias(block + name, *shape))
        return shapes

    def encode_one(self, w, rows, grid):
        c, (height, width) = self.config["vision_config"], grid
        tower, count = "vision_tower.", c["num_attention_heads"]
        side = c["patch_size"]
        x = F.conv2d(rows.reshape(-1, 3, side, side), w[tower + "patch_embed.proj.weight"],
                     w[tower + "patch_embed.proj.bias"], stride=side).flatten(1)
        table = w[tower + "patch_embed.pos_emb.weight"]
        if table.shape[:2] != (height, width):
            table = F.interpolate(table.permute(2, 0, 1)[None], size=(height, width), mode="bicubic")[0].permute(1, 2, 0)
        x = x + table.flatten(0, 1)
        dims = c["hidden_size"] // count
        steps = 1 / 10000 ** (torch.arange(0, dims, 4).float() / dims)
        column, row = torch.arange(width).repeat(height).float(), torch.arange(height).repeat_interleave(width).float()
        angles = torch.stack([torch.outer(column, steps), torch.outer(row, steps)], -1).flatten(1)
        turn = torch.polar(torch.ones_like(angles), angles)

        def turned(q):
            pairs = torch.view_as_complex(q.reshape(*q.shape[:-1], -1, 2).contiguous())
            return torch.view_as_real(pairs * turn).flatten(-2)
        for i in range(c["num_hidden_layers"]):
            block = f"{tower}encoder.blocks.{i}."
            q, k, v = (heads(y, count) for y in linear(w, block + "wqkv", norm(w, block + "norm0", x)).chunk(3, -1))
            x = x + linear(w, block + "wo", attend(turned(q), turned(k), v))
            h = F.gelu(linear(w, block + "mlp.fc0", norm(w, block + "norm1", x)), approximate="tanh")
            x = x + linear(w, block + "mlp.fc1", h)
        x = norm(w, tower + "encoder.final_layernorm", x)
        x = norm(w, "multi_modal_projector.pre_norm", x)
        x = x.reshape(height // 2, 2, width // 2, 2, -1).permute(0, 2, 1, 3, 4).reshape(height * width // 4, -1)
        return linear(w, "multi_modal_projector.linear_2", F.gelu(linear(w, "multi_modal_projector.linear_1", x)))


class InternVlChat(Beside):
    """OpenGVLab's names; the tower is the one that transformers has under other names."""
    text_key = "llm_config"

    def names(self):
        """transformers' names of the tower's tensors, and OpenGVLab's."""
        own = {"embeddings.cls_token": "embeddings.class_embedding",
               "embeddings.position_embeddings": "embeddings.position_embedding",
               "embeddings.patch_embeddings.projection.weight": "embeddings.patch_embedding.weight",
               "embeddings.patch_embeddings.projection.bias": "embeddings.patch_embedding.bias"}
        parts = [("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("lambda_1", "ls1"), ("lambda_2", "ls2"),
                 ("attention.projection_layer", "attn.proj"), ("attention.q_norm", "attn.q_norm"),
                 ("attention.k_norm", "attn.k_norm"), ("mlp", "mlp")]
        for name in self.tower().state_dict():
            if not name.startswith("encoder.layer."):
                continue
            _, _, i, rest = name.split(".", 3)
            for theirs, ours in parts:
                if rest.startswith(theirs):
                    own[name] = f"encoder.layers.{i}.{ours}{rest[len(theirs):]}"
        return own

    def tower(self):
        from transformers import InternVLVisionConfig, InternVLVisionModel
        c = dict(self.config["vision_config"])
        c.update(attention_bias=c.pop("qkv_bias"), use_qk_norm=c.pop("qk_normalization"), attn_implementation="eager")
        c.pop("model_type")
        return InternVLVisionModel(InternVLVisionConfig(**c)).eval()

    def tower_shapes(self):
        state = self.tower().state_dict()
        shapes = {"vision_model." + ours: list(state[theirs].shape) for theirs, ours in self.names().items()}
        wide, hidden = self.config["vision_config"]["hidden_size"], self.text_config()["hidden_size"]
        for i in range(self.config["vision_config"]["num_hidden_layers"]):
            qkv = with_bias(f"vision_model.encoder.layers.{i}.attn.qkv", 3 * wide, wide)
            shapes.update({k: v for k, v in qkv.items() if k.endswith("weight") or self.config["vision_config"]["qkv_bias"]})
        return {**shapes, **with_bias("mlp1.0", 4 * wide), **with_bias("mlp1.1", hidden, 4 * wide),
                **with_bias("mlp1.3", hidden, hidden)}

    def encode_one(self, w, tiles, grid):
        tower = self.tower()
        state = {theirs: w["vision_model." + ours] for theirs, ours in self.names().items()}
        for name in tower.state_dict():
            for number, part in enumerate(("q_proj", "k_proj", "v_proj")):
                if f".attention.{part}." in name:
                    fused = name.replace("encoder.layer.", "vision_model.encoder.layers.").replace(f"attention.{part}", "attn.qkv")
                    state[name] = w[fused].chunk(3)[number]
        report = tower.load_state_dict(state, strict=False)
        assert not report.unexpected_keys and all("layernorm." in k for k in report.missing_keys), report
        hidden = tower.encoder(tower.embeddings(tiles.permute(0, 3, 1, 2)))
        x = getattr(hidden, "last_hidden_state", hidden)[:, 1:]
        half = int(x.shape[1] ** 0.5) // 2
        x = x.reshape(len(x), half, 2, half, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(len(x) * half * half, -1)
        return linear(w, "mlp1.3", F.gelu(linear(w, "mlp1.1", norm(w, "mlp1.0", x))))


class FastVlm(Beside):
    """Apple's names; the tower is the one that timm has under other names."""
    prefix = ""

    def text_config(self):
        own = ("mm_projector_type", "mm_hidden_size", "vision_config", "tower")
        return dict({k: v for k, v in self.config.items() if k not in own}, model_type="qwen2")

    def tower(self):
        from functools import partial
        from timm.models.fastvit import FastVit, LayerNorm2d, RepConditionalPosEnc
        positions = partial(RepConditionalPosEnc, spatial_shape=(7, 7))
        return FastVit(layers=(1, 2, 1), embed_dims=(8, 16, 32), mlp_ratios=(2, 2, 2), downsamples=(False, True, True),
                       se_downsamples=(False,) * 3, pos_embs=(None, None, positions), num_classes=0, lkc_use_act=True,
                       token_mixers=("repmixer", "repmixer", "attention"), norm_layer=partial(LayerNorm2d, eps=1e-5),
                       stem_use_scale_branch=False, inference_mode=True).eval()

    def names(self):
        """timm's names of the tower's tensors, and Apple's."""
        own, at, network = {}, {}, 0
        for name in self.tower().state_dict():  # stages become entries of one list
            part = name.split(".")
            kind = ".".join(part[:3]) if part[0] == "stages" and part[2] != "blocks" else ".".join(part[:2])
            if part[0] == "stages" and kind not in at:
                at[kind], network = network, network + 1
        parts = [("stem.", "patch_embed."), ("final_conv.se.fc1", "conv_exp.se.reduce"),
                 ("final_conv.se.fc2", "conv_exp.se.expand"), ("final_conv.", "conv_exp.")]
        for name in self.tower().state_dict():
            new = name
            for theirs, ours in parts:
                new = ours + new[len(theirs):] if new.startswith(theirs) else new
            part = name.split(".")
            if part[0] == "stages":
                kind = ".".join(part[:3]) if part[2] != "blocks" else ".".join(part[:2])
                rest = ".".join(part[3:])
                rest = rest.replace("mlp.", "convffn.").replace(".gamma", "").replace("proj.0.reparam_conv", "proj.0.lkb_reparam")
                new = f"network.{at[kind]}.{rest}"
            own[name] = "model.vision_tower.vision_tower.model." + new
        return own

    def tower_shapes(self):
        state, hidden = self.tower().state_dict(), self.config["hidden_size"]
        shapes = {ours: list(state[theirs].shape) for theirs, ours in self.names().items() if state[theirs].ndim}
        return {**shapes, **with_bias("model.mm_projector.0", hidden, 64), **with_bias("model.mm_projector.2", hidden, hidden)}

    def encode_one(self, w, pixels, grid):
        tower, names = self.tower(), self.names()
        report = tower.load_state_dict({theirs: w[ours] for theirs, ours in names.items() if ours in w}, strict=False)
        assert not report.unexpected_keys and all("num_batches" in k for k in report.missing_keys), report
        x = tower.forward_features(pixels.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)[0]
        return linear(w, "model.mm_projector.2", F.gelu(linear(w, "model.mm_projector.0", x)))


class Molmo(Beside):
    """Ai2's modeling_molmo.py; the language model is Qwen2's under other names."""
    prefix = "model.transformer."
    NAMES = [("model.layers.", "blocks."), ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ff_norm"),
             ("self_attn.o_proj", "attn_out"), ("mlp.down_proj", "ff_out"), ("model.norm", "ln_f"), ("lm_head", "ff_out")]
    MORE = 8  # tokens after the vocabulary

    def text_config(self):
        c = {k: v for k, v in self.config.items() if k != "vision_config"}
        return dict(c, model_type="qwen2", intermediate_size=c["intermediate_size"] // 2, rms_norm_eps=c["layer_norm_eps"])

    def renamed(self, name):
        for theirs, ours in self.NAMES:
            name = name.replace(theirs, ours)
        return self.prefix + name

    def make(self, folder):
        from transformers import Qwen2Config, Qwen2ForCausalLM
        self.text = Qwen2ForCausalLM(Qwen2Config(**self.text_config(), attn_implementation="eager")).eval()
        hidden, shapes = self.config["hidden_size"], {}
        for name, tensor in self.text.state_dict().items():
            if not any(part in name for part in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "embed_tokens")):
                shapes[self.renamed(name)] = list(tensor.shape)
        for i in range(self.config["num_hidden_layers"]):
            block, dims = f"{self.prefix}blocks.{i}.", hidden // self.config["num_attention_heads"]
            shapes.update(with_bias(block + "att_proj", hidden + 2 * dims * self.config["num_key_value_heads"], hidden))
            shapes[block + "ff_proj.weight"] = [self.config["intermediate_size"], hidden]
        shapes[self.prefix + "wte.embedding"] = [self.config["vocab_size"] - self.MORE, hidden]
        shapes[self.prefix + "wte.new_embedding"] = [self.MORE, hidden]
        shapes[self.prefix + "ff_out.weight"][0] -= self.MORE
        return {**shapes, **self.tower_shapes()}, dict(self.config, vocab_size=self.config["vocab_size"] - self.MORE,
                                                       additional_vocab_size=self.MORE)

    def load(self, folder, tensors):
        self.own = {k: torch.from_numpy(v) for k, v in tensors.items()}
        heads_of = [self.config["num_attention_heads"]] + [self.config["num_key_value_heads"]] * 2
        dims, state = self.config["hidden_size"] // heads_of[0], {}
        for name in self.text.state_dict():
            part = name.split(".")
            if "self_attn" in name and part[4] != "o_proj":
                fused = self.own[f"{self.prefix}blocks.{part[2]}.att_proj.{part[5]}"].split([n * dims for n in heads_of])
                state[name] = fused["qkv".index(part[4][0])]
            elif name.startswith("model.layers") and part[4] in ("gate_proj", "up_proj"):
                state[name] = self.own[f"{self.prefix}blocks.{part[2]}.ff_proj.weight"].chunk(2)[part[4] == "gate_proj"]
            elif "embed_tokens" in name:
                state[name] = torch.cat([self.own[f"{self.prefix}wte.{table}embedding"] for table in ("", "new_")])
            else:
                state[name] = self.own[self.renamed(name)]
        head = state["lm_head.weight"]
        state["lm_head.weight"] = torch.cat([head, torch.zeros(self.MORE, head.shape[1])])
        self.text.load_state_dict(state)
        return self.text

    def decode(self, model, vectors):
        logits = super().decode(model, vectors).copy()
        logits[-self.MORE:] = -1e9  # they have no logits
        return logits

    def merged(self, vectors, features):
        return vectors + features

    def tower_shapes(self):
        c, hidden = self.config["vision_config"], self.config["hidden_size"]
        wide, inner, root = c["image_emb_dim"], c["image_mlp_dim"], "model.vision_backbone."
        tower = root + "image_vit."
        shapes = {tower + "class_embedding": [wide], tower + "positional_embedding": [c["image_num_pos"], wide],
                  tower + "patch_embedding.weight": [wide, 3 * c["image_patch_size"] ** 2],
                  **with_bias(tower + "pre_ln", wide), root + "pad_embed": [2, 2 * wide],
                  root + "image_projector.w1.weight": [self.config["intermediate_size"] // 2, wide],
                  root + "image_projector.w2.weight": [hidden, self.config["intermediate_size"] // 2],
                  root + "image_projector.w3.weight": [self.config["intermediate_size"] // 2, wide]}
        for name in ("wq", "wk", "wv", "wo"):
            shapes.update(with_bias(f"{root}image_pooling_2d.{name}", wide, wide if name == "wo" else 2 * wide))
        for i in range(c["image_num_layers"]):
            block = f"{tower}transformer.resblocks.{i}."
            for name, *shape in (("attention_norm", wide), ("ffn_norm", wide), ("feed_forward.w1", inner, wide),
                                 ("feed_forward.w2", wide, inner), *((f"attention.w{n}", wide, wide) for n in "qkvo")):
                shapes.update(with_bias(block + name, *shape))
        return shapes

    def encode_one(self, w, crops, grid):
        c, root = self.config["vision_config"], "model.vision_backbone."
        count, (n, patches) = c["image_num_heads"], crops.shape[:2]
        side = int(patches ** 0.5)
        order, padding = torch.tensor(grid[1:1 + n * patches // 4]), torch.tensor(grid[1 + n * patches // 4:]).reshape(n, patches)
        tower, all_pooled = root + "image_vit.", []

        def attention(at, q, kv):
            split = [heads(linear(w, at + name, x), count) for name, x in (("wq", q), ("wk", kv), ("wv", kv))]
            return linear(w, at + "wo", attend(*split))
        for rows, pads in zip(crops, padding):
            x = torch.cat([w[tower + "class_embedding"][None], linear(w, tower + "patch_embedding", rows)])
            x = norm(w, tower + "pre_ln", x + w[tower + "positional_embedding"])
            states = []
            for i in range(c["image_num_layers"]):
                block = f"{tower}transformer.resblocks.{i}."
                h = norm(w, block + "attention_norm", x)
                x = x + attention(block + "attention.", h, h)
                h = linear(w, block + "feed_forward.w1", norm(w, block + "ffn_norm", x))
                x = x + linear(w, block + "feed_forward.w2", h * torch.sigmoid(1.702 * h))
                states.append(x)
            x = torch.cat([states[-2], states[-9]], -1)[1:]
            x = x + torch.cat([w[root + "pad_embed"], torch.zeros(1, x.shape[-1])])[pads]
            x = x.reshape(side // 2, 2, side // 2, 2, -1).permute(0, 2, 1, 3, 4).reshape(-1, 4, x.shape[-1])
            for four in x:
                all_pooled.append(attention(root + "image_pooling_2d.", four.mean(0, keepdim=True), four))
        x = torch.cat(all_pooled)
        gated = F.silu(linear(w, root + "image_projector.w1", x)) * linear(w, root + "image_projector.w3", x)
        x = linear(w, root + "image_projector.w2", gated)
        found = torch.zeros(int(order.max()) + 1, x.shape[1])
        found[order[order >= 0]] = x[order >= 0]
        return found


class DeepSeekOcr(Beside):
    """DeepSeek's names; the tower is that of Unlimited-OCR in transformers, and the language model is Llama with
    DeepSeek's experts in its last layer."""
    prefix = ""
    text_key = "language_config"

    def make(self, folder):
        shapes, config = super().make(folder)
        c, hidden = self.text_config(), self.text_config()["hidden_size"]
        last = f"model.layers.{c['num_hidden_layers'] - 1}.mlp."
        shapes = {k: v for k, v in shapes.items() if not k.startswith(last)}
        experts = [f"experts.{i}." for i in range(c["n_routed_experts"])] + ["shared_experts."]
        for expert in experts:
            wide = c["moe_intermediate_size"] * (c["n_shared_experts"] if expert[0] == "s" else 1)
            shapes.update({last + expert + "gate_proj.weight": [wide, hidden], last + expert + "up_proj.weight": [wide, hidden],
                           last + expert + "down_proj.weight": [hidden, wide]})
        return {**shapes, last + "gate.weight": [c["n_routed_experts"], hidden]}, config

    def text_config(self):
        c = self.config[self.text_key]
        return dict(c, model_type="llama") if not hasattr(self, "text") else c

    def load(self, folder, tensors):
        from transformers import LlamaConfig, LlamaForCausalLM
        w = {k: torch.from_numpy(v) for k, v in tensors.items()}
        c, self.own = self.config[self.text_key], w
        model = LlamaForCausalLM(LlamaConfig(**dict(c, model_type="llama"), attn_implementation="eager")).eval()
        last = f"model.layers.{c['num_hidden_layers'] - 1}.mlp."
        report = model.load_state_dict({k: v for k, v in w.items() if k in model.state_dict()}, strict=False)
        assert all(k.startswith(last) for k in report.missing_keys), report

        def gated(at, x):
            return linear(w, at + "down_proj", F.silu(linear(w, at + "gate_proj", x)) * linear(w, at + "up_proj", x))

        def mixture(x):
            scores, ids = torch.softmax(linear(w, last + "gate", x), -1).topk(c["num_experts_per_tok"], -1)
            y = gated(last + "shared_experts.", x)
            for i in range(c["n_routed_experts"]):
                y = y + (scores * (ids == i)).sum(-1, keepdim=True) * gated(f"{last}experts.{i}.", x)
            return y
        model.model.layers[-1].mlp.forward = mixture
        return model

    def tower(self):
        from transformers.models.unlimited_ocr import modeling_unlimited_ocr as ocr
        said = self.config["vision_config"]["width"]
        clip, sam = said["clip-l-14-224"], said["sam_vit_b"]
        config = ocr.UnlimitedOcrVisionConfig(
            sam_config=dict(hidden_size=sam["width"], output_channels=16, num_hidden_layers=sam["layers"], mlp_dim=64,
                            num_attention_heads=sam["heads"], image_size=96, patch_size=8, window_size=5,
                            global_attn_indexes=sam["global_attn_indexes"], downsample_channels=[24, clip["width"]]),
            encoder_config=dict(hidden_size=clip["width"], intermediate_size=4 * clip["width"], num_hidden_layers=clip["layers"],
                                num_attention_heads=clip["heads"], image_size=clip["image_size"], patch_size=clip["patch_size"]))
        config._attn_implementation = config.sam_config._attn_implementation = "eager"
        config.encoder_config._attn_implementation = "eager"
        return ocr.UnlimitedOcrVisionModel(config).eval()

    def names(self):
        """transformers' names of the tower's tensors, and DeepSeek's."""
        parts = [("sam_encoder.", "sam_model."), ("vision_encoder.encoder.", "vision_model.transformer."),
                 ("vision_encoder.", "vision_model.")]
        of_sam = [("layers.", "blocks."), ("layer_norm", "norm"), ("patch_embed.projection", "patch_embed.proj"),
                  ("neck.conv1", "neck.0"), ("neck.norm1", "neck.1"), ("neck.conv2", "neck.2"), ("neck.norm2", "neck.3"),
                  ("proj.conv1", "net_2"), ("proj.conv2", "net_3")]
        own = {}
        for name in self.tower().state_dict():
            new = name
            for theirs, ours in parts:
                new = ours + new[len(theirs):] if new.startswith(theirs) else new
            if new.startswith("sam_model."):
                for theirs, ours in of_sam:
                    new = new.replace(theirs, ours)
            own[name] = "model." + new
        return own

    def tower_shapes(self):
        state, hidden = self.tower().state_dict(), self.config[self.text_key]["hidden_size"]
        shapes, wide = {}, self.config["vision_config"]["width"]["clip-l-14-224"]["width"]
        for theirs, ours in self.names().items():
            shape = list(state[theirs].shape)
            for part in ("q_proj", "k_proj", "v_proj"):
                if part in ours:
                    ours, shape[0] = ours.replace(part, "qkv_proj"), 3 * wide
            shapes[ours] = shape
        return {**shapes, **with_bias("model.projector.layers", hidden, 2 * wide), "model.image_newline": [hidden],
                "model.view_seperator": [hidden], "model.vision_model.embeddings.patch_embedding.weight": [wide, 3, 4, 4]}

    def encode_one(self, w, values, grid):
        base, side, columns, rows = grid
        tower, state = self.tower(), {}
        for theirs, ours in self.names().items():
            part = next((i for i, p in enumerate(("q_proj", "k_proj", "v_proj")) if p in ours), None)
            state[theirs] = w[ours] if part is None else w[ours.replace("qkv"[part] + "_proj", "qkv_proj")].chunk(3)[part]
        tower.load_state_dict(state)

        def see(pixels):
            return linear(w, "model.projector.layers", tower(pixels.permute(0, 3, 1, 2)).last_hidden_state)

        def sheet(tiles, rows, columns):
            n = int(tiles.shape[1] ** 0.5)
            x = tiles.reshape(rows, columns, n, n, -1).permute(0, 2, 1, 3, 4).reshape(rows * n, columns * n, -1)
            return torch.cat([x, w["model.image_newline"].expand(rows * n, 1, -1)], 1).flatten(0, 1)
        whole = values[:base * base * 3].reshape(1, base, base, 3)
        parts = [sheet(see(whole), 1, 1), w["model.view_seperator"][None]]
        if rows * columns > 1:
            parts.insert(0, sheet(see(values[base * base * 3:].reshape(-1, side, side, 3)), rows, columns))
        return torch.cat(parts)


def cases():
    common = dict(image_token_id=PLACEHOLDER, image_token_index=PLACEHOLDER, tie_word_embeddings=False)
    untied = dict(tie_word_embeddings=False)
    deepseek = text_config("deepseek_v3", num_key_value_heads=4, kv_lora_rank=32, q_lora_rank=24, qk_nope_head_dim=16,
                           qk_rope_head_dim=8, v_head_dim=16, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
                           topk_group=1, moe_intermediate_size=32, n_shared_experts=1, first_k_dense_replace=1,
                           rope_theta=10000.0, rms_norm_eps=1e-6, routed_scaling_factor=1.0, norm_topk_prob=True,
                           attention_bias=False, rope_interleave=True, **untied)
    deepseek["num_key_value_heads"] = 4
    moon = dict(model_type="moonvit", num_hidden_layers=2, num_attention_heads=2, hidden_size=32, intermediate_size=48,
                patch_size=4, init_pos_emb_height=8, init_pos_emb_width=8, merge_kernel_size=[2, 2])
    intern = dict(TOWER, model_type="intern_vit_6b", image_size=32, qkv_bias=True, qk_normalization=False,
                  norm_type="layer_norm")
    qwen2 = text_config("qwen2", rms_norm_eps=1e-6, rope_theta=1e6, **untied)
    tiles = [((1, 32, 32, 3), (1, 1)), ((3, 32, 32, 3), (1, 2))], [4, 12]
    clip = dict(image_emb_dim=32, image_mlp_dim=48, image_num_heads=2, image_num_layers=9, image_num_pos=17,
                image_patch_size=4)
    molmo = dict(text_config("qwen2", layer_norm_eps=1e-6, rope_theta=1e6, **untied), model_type="molmo", qkv_bias=True,
                 intermediate_size=192, vision_config=clip)
    # The whole image, then a sheet of a crop, and of two crops whose first and last columns overlap.
    one = (2, 0, 1, 2, 3, 4, 5, 6, 7, *[0, 1, 2, 2] * 4, *[1] * 16)
    two = (3, 0, 1, 2, 3, 4, -1, 6, -1, 5, -1, 7, -1, *[2] * 16, *[0, 0, 1, 2] * 4, *[1] * 16)
    experts = text_config("deepseek_v2", num_key_value_heads=4, rms_norm_eps=1e-6, rope_theta=10000.0, n_routed_experts=4,
                          num_experts_per_tok=2, moe_intermediate_size=32, n_shared_experts=2, first_k_dense_replace=1,
                          topk_method="greedy", norm_topk_prob=False, qk_nope_head_dim=0, qk_rope_head_dim=0, n_group=1,
                          topk_group=1, kv_lora_rank=None, q_lora_rank=None, v_head_dim=0, use_mla=False, **untied)
    experts["num_key_value_heads"] = 4
    towers = {"clip-l-14-224": dict(width=32, layers=2, heads=2, image_size=12, patch_size=4),
              "sam_vit_b": dict(width=32, layers=3, heads=2, global_attn_indexes=[1])}
    square = 3 * 96 * 96
    return {
        "deepseekocr": DeepSeekOcr(dict(common, model_type="deepseekocr", language_config=experts,
                                        vision_config=dict(model_type="vision", width=towers)),
                                   [((square,), (96, 64, 1, 1)), ((square + 2 * 3 * 64 * 64,), (96, 64, 2, 1))],
                                   [13, 13 + 5 * 2]),
        "molmo": Molmo(molmo, [((2, 16, 48), one), ((3, 16, 48), two)], [8, 8]),
        "fastvlm": FastVlm(dict(text_config("qwen2", rms_norm_eps=1e-6, rope_theta=1e6, **untied), model_type="llava_qwen2",
                                mm_projector_type="mlp2x_gelu", mm_hidden_size=64),
                           [((1, 32, 32, 3), ()), ((1, 16, 48, 3), ())], [4, 3]),
        "kimi_vl": KimiVl(dict(common, model_type="kimi_vl", vision_config=moon, text_config=deepseek, vocab_size=128,
                               media_placeholder_token_id=PLACEHOLDER),
                          [((4 * 6, 48), (4, 6)), ((10 * 2, 48), (10, 2))], [6, 5]),
        "internvl_chat": InternVlChat(dict(common, model_type="internvl_chat", downsample_ratio=0.5, select_layer=-1,
                                           vision_config=intern, llm_config=qwen2), *tiles),
        "internvl_chat_6b": InternVlChat(dict(common, model_type="internvl_chat", downsample_ratio=0.5,
                                              vision_config=dict(intern, qkv_bias=False, qk_normalization=True,
                                                                 norm_type="rms_norm"), llm_config=qwen2), *tiles),
    }

#!/usr/bin/env python3
"""Records transformers' results for tiny encoders, for src/models/embedding/goldens_test.cpp.

Needs transformers 5.24.0 with torch. As in make_model_goldens.py, weights are computed from the tensors' names and not
stored. Each case is two files: its configuration and tensors, and what is expected.

    tools/make_embedding_goldens.py tests/data/models/embedding [CASE…]      # default: all
"""
import json
import pathlib
import re
import sys

import numpy as np
import safetensors.numpy
import torch
import transformers

from make_model_goldens import fill

LENGTHS = [5, 1, 17, 9, 40]  # of the texts, in tokens
VOCAB = 100

SIZES = dict(vocab_size=VOCAB, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=64,
             max_position_embeddings=64)
BERT = dict(SIZES, model_type="bert", type_vocab_size=2, layer_norm_eps=1e-12, hidden_act="gelu")
XLM_ROBERTA = dict(SIZES, model_type="xlm_roberta", type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
LABELS = {"0": "a", "1": "b", "2": "c"}

DISTILBERT = dict(model_type="distilbert", vocab_size=VOCAB, dim=48, n_layers=2, n_heads=3, hidden_dim=64,
                  max_position_embeddings=64)
MPNET = dict(SIZES, model_type="mpnet", layer_norm_eps=1e-5, max_position_embeddings=300)
MODERNBERT = dict(SIZES, model_type="modernbert", num_hidden_layers=4, local_attention=12, pad_token_id=0)
NOMIC = dict(SIZES, model_type="nomic_bert", type_vocab_size=2, layer_norm_eps=1e-12)
GTE = dict(SIZES, model_type="gte", type_vocab_size=1, pad_token_id=1)
JINA = dict(SIZES, model_type="jina_embeddings_v3", type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
TASKS = ["retrieval.query", "retrieval.passage", "text-matching"]

# The configurations of the models' own code, as they are published.
NOMIC_PUBLISHED = dict(model_type="nomic_bert", vocab_size=VOCAB, n_embd=48, n_layer=2, n_head=3, n_inner=64,
                       n_positions=64, layer_norm_epsilon=1e-12, type_vocab_size=2, activation_function="swiglu",
                       rotary_emb_base=1000, rotary_emb_fraction=1.0, rotary_scaling_factor=None, prenorm=False,
                       moe_every_n_layers=0)
NOMIC_MIXTURE = dict(NOMIC_PUBLISHED, activation_function="gelu", rotary_emb_base=10000, type_vocab_size=1,
                     layer_norm_epsilon=1e-5, moe_every_n_layers=2, num_experts=4, moe_top_k=2,
                     moe_normalize_expert_weights=False)
NEW = dict(SIZES, model_type="new", type_vocab_size=0, layer_norm_eps=1e-12, hidden_act="gelu", rope_theta=160000,
           rope_scaling=dict(type="ntk", factor=2.0), position_embedding_type="rope")
FLASH = dict(SIZES, model_type="xlm-roberta", type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
             position_embedding_type="rotary", rotary_emb_base=20000.0, hidden_act="gelu")

DECODER = dict(SIZES, num_key_value_heads=1, rms_norm_eps=1e-6, tie_word_embeddings=False, rope_theta=10000.0)
QWEN3 = dict(DECODER, model_type="qwen3", head_dim=16)
GEMMA3 = dict(DECODER, model_type="gemma3_text", head_dim=16, query_pre_attn_scalar=16, sliding_window=12,
              layer_types=["sliding_attention", "full_attention"], use_bidirectional_attention=True,
              tie_word_embeddings=True, rope_theta=1e6, rope_local_base_freq=1e4)

LFM2 = dict(SIZES, model_type="lfm2", num_key_value_heads=1, tie_word_embeddings=False, rope_theta=1e6, norm_eps=1e-5,
            layer_types=["conv", "full_attention"], block_dim=48, conv_L_cache=3, block_ff_dim=64,
            block_auto_adjust_ff_dim=False)

# name: (transformers' class, configuration)
CASES = {
    "bert": ("BertModel", BERT),
    "bert_wide": ("BertModel", dict(BERT, hidden_size=64, num_attention_heads=4)),  # quantised by the test
    "bert_classifier": ("BertForSequenceClassification", dict(BERT, id2label=LABELS)),
    "bert_masked_lm": ("BertForMaskedLM", dict(BERT, hidden_act="gelu_new")),
    "bert_colbert": ("BertModel", BERT),  # with ColBERT's matrix
    "xlm_roberta": ("XLMRobertaModel", XLM_ROBERTA),
    "xlm_roberta_reranker": ("XLMRobertaForSequenceClassification", dict(XLM_ROBERTA, id2label={"0": "LABEL_0"})),
    "xlm_roberta_m3": ("XLMRobertaModel", dict(XLM_ROBERTA, model_type="xlm-roberta")),  # with BGE-M3's heads
    "roberta_masked_lm": ("RobertaForMaskedLM", dict(XLM_ROBERTA, model_type="roberta")),
    "electra_reranker": ("ElectraForSequenceClassification",
                         dict(BERT, model_type="electra", embedding_size=48, id2label={"0": "LABEL_0"})),
    "camembert": ("CamembertModel", dict(XLM_ROBERTA, model_type="camembert")),
    "distilbert": ("DistilBertModel", DISTILBERT),
    "distilbert_classifier": ("DistilBertForSequenceClassification", dict(DISTILBERT, id2label=LABELS)),
    "distilbert_masked_lm": ("DistilBertForMaskedLM", DISTILBERT),
    "mpnet": ("MPNetModel", MPNET),
    "mpnet_classifier": ("MPNetForSequenceClassification", dict(MPNET, id2label=LABELS)),
    "mpnet_masked_lm": ("MPNetForMaskedLM", MPNET),
    "modernbert": ("ModernBertModel", MODERNBERT),
    "modernbert_reranker": ("ModernBertForSequenceClassification",
                            dict(MODERNBERT, id2label={"0": "LABEL_0"}, classifier_pooling="mean")),
    "modernbert_classifier": ("ModernBertForSequenceClassification",
                              dict(MODERNBERT, id2label=LABELS, classifier_pooling="cls", norm_bias=True,
                                   attention_bias=True, mlp_bias=True, classifier_bias=True)),
    "modernbert_masked_lm": ("ModernBertForMaskedLM", MODERNBERT),
    "nomic_bert": ("NomicBertModel", NOMIC),
    "gte": ("GteModel", GTE),
    "gte_classifier": ("GteForSequenceClassification", dict(GTE, id2label=LABELS)),
    "gte_masked_lm": ("GteForMaskedLM", GTE),
    "jina_v3": ("JinaEmbeddingsV3Model", JINA),
    "jina_v3_reranker": ("JinaEmbeddingsV3ForSequenceClassification", dict(JINA, id2label={"0": "LABEL_0"})),
    "qwen3": ("Qwen3Model", QWEN3),
    "qwen3_reranker": ("Qwen3ForCausalLM", dict(QWEN3, tie_word_embeddings=True)),
    "qwen3_classifier": ("Qwen3ForSequenceClassification", dict(QWEN3, id2label={"0": "LABEL_0"}, pad_token_id=0)),
    "gemma3_text": ("Gemma3TextModel", GEMMA3),
    "mistral_window": ("MistralModel", dict(DECODER, model_type="mistral", sliding_window=8)),
    "llama": ("LlamaModel", dict(DECODER, model_type="llama")),
    "qwen2": ("Qwen2Model", dict(DECODER, model_type="qwen2")),
    "qwen2_both_ways": ("Qwen2Model", dict(DECODER, model_type="qwen2", is_causal=False)),
    "llama_bidirec": ("LlamaModel", dict(DECODER, model_type="llama_bidirec")),
    "lfm2": ("Lfm2Model", LFM2),
    "nomic_bert_published": ("NomicBertModel", NOMIC_PUBLISHED),
    "nomic_bert_mixture": ("NomicBertModel", NOMIC_MIXTURE),
    "new_published": ("GteModel", NEW),
    "jina_v3_published": ("JinaEmbeddingsV3Model", dict(FLASH, lora_adaptations=TASKS, lora_rank=4, lora_alpha=1)),
    "jina_reranker_published": ("XLMRobertaForSequenceClassification",
                                dict(FLASH, position_embedding_type="absolute", id2label={"0": "LABEL_0"})),
}


def texts():
    """Ids, none of which is a padding's, and token types that begin with 0 and end with 1."""
    ids = [[(i * 37 + n * 11 + 5) % (VOCAB - 10) + 5 for i in range(n)] for n in LENGTHS]
    return ids, [[int(i > n // 2) for i in range(n)] for n in LENGTHS]


def kind_of(name):
    return "norm" if re.search(r"norm|_ln|ln_", name.lower()) and name.endswith("weight") else "float"


def build(class_name, config):
    arguments = {k: v for k, v in config.items() if k != "model_type"}
    model_class = getattr(transformers, class_name)
    if config["model_type"] == "llama_bidirec":
        arguments["is_causal"] = False
    model = model_class(model_class.config_class(**arguments, attn_implementation="eager")).eval().float()
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    shapes = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in tied:
                continue
            shapes[name] = {"shape": list(parameter.shape), "kind": kind_of(name)}
            parameter.copy_(torch.from_numpy(fill(name, parameter.shape, kind_of(name))))
    model.tie_weights()
    return model, shapes


class Mixture(torch.nn.Module):
    """nomic-embed-text-v2-moe: the two best of the experts, by a softmax over all; one bias after their sum."""

    def __init__(self, router, up, down, bias, top_k):
        super().__init__()
        self.router, self.up, self.down, self.bias, self.top_k = router, up, down, bias, top_k

    def forward(self, x):
        weights, chosen = torch.softmax(x @ self.router.T, -1).topk(self.top_k, -1)
        y = torch.zeros_like(x)
        for e in range(len(self.up)):
            share = (weights * (chosen == e)).sum(-1, keepdim=True)
            y = y + share * (torch.nn.functional.gelu(x @ self.up[e].T) @ self.down[e])
        return y + self.bias


class PlainMlp(torch.nn.Module):
    """The dense layers beside that mixture, without a gate."""

    def __init__(self, up, up_bias, down, down_bias):
        super().__init__()
        self.parts = up, up_bias, down, down_bias

    def forward(self, x):
        up, up_bias, down, down_bias = self.parts
        return torch.nn.functional.linear(torch.nn.functional.gelu(torch.nn.functional.linear(x, up, up_bias)), down,
                                          down_bias)


def published_shapes(name, config):
    """The tensors of a checkpoint as the model's own code names them."""
    hidden, wide, layers = 48, 64, 2
    shapes = {}

    def linear(path, out, inside, bias=True):
        shapes[path + ".weight"] = [out, inside]
        if bias:
            shapes[path + ".bias"] = [out]

    def norm(path):
        shapes[path + ".weight"] = shapes[path + ".bias"] = [hidden]

    root = {"new_published": "new.", "nomic_bert_published": "", "nomic_bert_mixture": ""}.get(name, "roberta.")
    shapes[root + "embeddings.word_embeddings.weight"] = [VOCAB, hidden]
    if config["type_vocab_size"]:
        shapes[root + "embeddings.token_type_embeddings.weight"] = [config["type_vocab_size"], hidden]
    if config.get("position_embedding_type") == "absolute":
        shapes[root + "embeddings.position_embeddings.weight"] = [64, hidden]
    norm(root + ("embeddings.LayerNorm" if name.startswith("new") else "emb_ln"))
    for i in range(layers):
        if name.startswith("new"):
            path = f"{root}encoder.layer.{i}."
            linear(path + "attention.qkv_proj", 3 * hidden, hidden)
            linear(path + "attention.o_proj", hidden, hidden)
            linear(path + "mlp.up_gate_proj", 2 * wide, hidden, False)
            linear(path + "mlp.down_proj", hidden, wide)
            norm(path + "attn_ln")
            norm(path + "mlp_ln")
            continue
        path = f"{root}encoder.layers.{i}."
        mixer, biased = ("attn.", "mixture" in name) if name.startswith("nomic") else ("mixer.", True)
        linear(path + mixer + "Wqkv", 3 * hidden, hidden, biased)
        linear(path + mixer + "out_proj", hidden, hidden, biased)
        if name == "nomic_bert_published":
            linear(path + "mlp.fc11", wide, hidden, False)
            linear(path + "mlp.fc12", wide, hidden, False)
            linear(path + "mlp.fc2", hidden, wide, False)
        elif name == "nomic_bert_mixture" and i % 2 == 1:
            linear(path + "mlp.router.layer", 4, hidden, False)
            shapes[path + "mlp.experts.mlp.w1"] = shapes[path + "mlp.experts.mlp.w2"] = [4 * wide, hidden]
            shapes[path + "mlp.experts.bias"] = [hidden]
        else:
            linear(path + "mlp.fc1", wide, hidden)
            linear(path + "mlp.fc2", hidden, wide)
        norm(path + "norm1")
        norm(path + "norm2")
    if "reranker" in name:
        linear("classifier.dense", hidden, hidden)
        linear("classifier.out_proj", 1, hidden)
    if "lora_adaptations" in config:
        for path in [n.removesuffix(".weight") for n in shapes if n.endswith(".weight") and len(shapes[n]) == 2]:
            out, inside = shapes.pop(path + ".weight")
            shapes[path + ".parametrizations.weight.original"] = [out, inside]
            tasks, rank = len(TASKS), config["lora_rank"]
            a, b = ([out, rank], [rank, inside]) if "_embeddings" in path else ([rank, inside], [out, rank])
            shapes[path + ".parametrizations.weight.0.lora_A"] = [tasks, *a]
            shapes[path + ".parametrizations.weight.0.lora_B"] = [tasks, *b]
    return shapes


def merged(tensors, task, scaling):
    """The matrices with a task's adapters added."""
    out = {}
    for name, tensor in tensors.items():
        if ".parametrizations.weight.original" in name:
            path = name.removesuffix("original")
            a, b = tensors[path + "0.lora_A"][task], tensors[path + "0.lora_B"][task]
            change = a @ b if "_embeddings" in name else b @ a
            out[name.replace(".parametrizations.weight.original", ".weight")] = tensor + scaling * change
        elif ".lora_" not in name:
            out[name] = tensor
    return out


def published_model(name, config, tensors):
    """transformers' model of those tensors."""
    sizes = dict(SIZES, layer_norm_eps=config.get("layer_norm_eps", config.get("layer_norm_epsilon")))
    rope = config.get("rope_theta", config.get("rotary_emb_base"))
    if name == "jina_reranker_published":
        model = transformers.XLMRobertaForSequenceClassification(
            transformers.XLMRobertaConfig(**sizes, type_vocab_size=1, pad_token_id=1, num_labels=1,
                                          attn_implementation="eager"))
        renames = [(".mixer.out_proj.", ".attention.output.dense."), (".norm1.", ".attention.output.LayerNorm."),
                   (".norm2.", ".output.LayerNorm."), (".mlp.fc1.", ".intermediate.dense."),
                   (".mlp.fc2.", ".output.dense."), ("emb_ln", "embeddings.LayerNorm"), (".layers.", ".layer.")]
        split = "attention.self.query attention.self.key attention.self.value".split()
    else:
        types = {"new": "Gte", "nom": "NomicBert", "jin": "JinaEmbeddingsV3"}[name[:3]]
        arguments = dict(type_vocab_size=config["type_vocab_size"],
                         rope_parameters=dict(rope_type="default", rope_theta=rope), attn_implementation="eager")
        if name.startswith("jin"):
            arguments["pad_token_id"] = 1
        model = getattr(transformers, types + "Model")(
            getattr(transformers, types + "Config")(**sizes, **arguments))
        renames = [("encoder.layers.", "layers."), ("encoder.layer.", "layers."), ("roberta.", ""), ("new.", ""),
                   ("emb_ln", "embeddings.LayerNorm"), ("attn.out_proj", "self_attn.o_proj"),
                   ("mixer.out_proj", "self_attn.o_proj"), ("attention.o_proj", "self_attn.o_proj"),
                   ("attn_ln", "post_attention_layernorm"), ("mlp_ln", "post_mlp_layernorm"),
                   ("norm1", "post_attention_layernorm"), ("norm2", "post_mlp_layernorm"), ("fc11", "up_proj"),
                   ("fc12", "gate_proj")]
        if name == "nomic_bert_published":
            renames.append(("mlp.fc2", "mlp.down_proj"))
        split = "self_attn.q_proj self_attn.k_proj self_attn.v_proj".split()
    state = {}
    for key, tensor in tensors.items():
        for old, new in renames:
            key = key.replace(old, new)
        fused = [f for f in ("attn.Wqkv", "mixer.Wqkv", "attention.qkv_proj") if f in key]
        if fused:
            for part, piece in zip(split, tensor.chunk(3, 0)):
                state[key.replace(fused[0], part)] = piece
        elif "up_gate_proj" in key:
            up, gate = tensor.chunk(2, 0)
            state[key.replace("up_gate_proj", "up_proj")], state[key.replace("up_gate_proj", "gate_proj")] = up, gate
        else:
            state[key] = tensor
    if name == "nomic_bert_mixture":
        for i, layer in enumerate(model.layers):
            for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
                getattr(layer.self_attn, part).bias = torch.nn.Parameter(torch.zeros(48))
            path = f"layers.{i}.mlp."
            own = {k.removeprefix(path): state.pop(k) for k in list(state) if k.startswith(path)}
            if i % 2 == 1:
                experts = [own[f"experts.mlp.{w}"].reshape(4, 64, 48) for w in ("w1", "w2")]
                layer.mlp = Mixture(own["router.layer.weight"], *experts, own["experts.bias"], config["moe_top_k"])
            else:
                layer.mlp = PlainMlp(*(own[f"{fc}.{w}"] for fc in ("fc1", "fc2") for w in ("weight", "bias")))
    if name == "new_published":
        model.embeddings.token_type_embeddings = None
        factor = config["rope_scaling"]["factor"]
        steps = 1 / (rope * factor) ** (torch.arange(0, 16, 2).float() / 16) / factor ** (2 / 16)
        model.rotary_emb.inv_freq.copy_(steps)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("pooler" in m for m in missing), (missing, unexpected)
    return model.eval()


UNSEEN = 3  # tokens at the end of a text that no token sees, like the padding of ColBERT's queries


def attended(length):
    return max(1, length - UNSEEN)


def run(model, ids, types, seen=None):
    inputs = dict(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    if seen is not None:
        inputs["attention_mask"][0, seen:] = 0
    if types:
        inputs["token_type_ids"] = torch.tensor([types])
    with torch.no_grad():
        return model(**inputs, output_hidden_states=True)


def linear_of(path, out):
    return [torch.from_numpy(fill(f"{path}.{n}", s, "float")) for n, s in (("weight", [out, 48]), ("bias", [out]))]


def record(out, name, class_name, config):
    ids, types = texts()
    tasks = [(i % (len(TASKS) + 1)) - 1 for i in range(len(ids))] if "lora_adaptations" in config else []
    if "published" in name or "mixture" in name:
        shapes = published_shapes(name, config)
        tensors = {n: torch.from_numpy(fill(n, s, kind_of(n))) for n, s in shapes.items()}
        shapes = {n: {"shape": s, "kind": kind_of(n)} for n, s in shapes.items()}
        scaling = config.get("lora_alpha", 0) / config.get("lora_rank", 1)
        models = {t: published_model(name, config, merged(tensors, max(t, 0), scaling if t >= 0 else 0))
                  for t in set(tasks or [-1])}
    else:
        model, shapes = build(class_name, config)
        models = {-1: model}
    colbert = name == "bert_colbert"
    if colbert:
        shapes["linear.weight"] = dict(shape=[16, 48], kind="float")
    hidden, logits, tokens, splade = [], [], [], []
    for i in range(len(ids)):
        typed = config.get("type_vocab_size", 0) > 1
        given = run(models[tasks[i] if tasks else -1], ids[i], types[i] if typed else None,
                    attended(len(ids[i])) if colbert else None)
        hidden.append((given.last_hidden_state if "last_hidden_state" in given else given.hidden_states[-1])[0])
        if "SequenceClassification" in class_name:
            logits.append(given.logits[0])
        if "MaskedLM" in class_name or "CausalLM" in class_name:
            tokens.append(given.logits[0, -1])
        if name == "bert_masked_lm":  # SpladePooling of sentence-transformers
            splade.append(torch.log1p(torch.relu(given.logits[0])).max(0).values)
    expected = {"hidden": torch.cat(hidden)}
    for key, rows in (("logits", logits), ("token_logits", tokens), ("splade", splade)):
        if rows:
            expected[key] = torch.stack(rows)
    if colbert:
        weight = torch.from_numpy(fill("linear.weight", [16, 48], "float"))
        vectors = torch.nn.functional.linear(expected["hidden"], weight)
        expected["colbert"] = torch.nn.functional.normalize(vectors, dim=-1)
    if name.endswith("_m3"):
        weight, bias = linear_of("sparse_linear", 1)
        expected["sparse"] = torch.relu(torch.nn.functional.linear(expected["hidden"], weight, bias))
        torch.save({"weight": weight, "bias": bias}, out / f"{name}.sparse_linear.pt")
        weight, bias = linear_of("colbert_linear", 32)
        vectors = torch.nn.functional.linear(expected["hidden"], weight, bias)
        expected["colbert"] = torch.nn.functional.normalize(vectors, dim=-1)
        torch.save({"weight": weight, "bias": bias}, out / f"{name}.colbert_linear.pt")
    case = dict(config=dict(config, architectures=[class_name]), tensors=shapes, lengths=LENGTHS)
    if tasks:
        case["tasks"] = tasks
    if colbert:
        case["attended"] = [attended(n) for n in LENGTHS]
    return case, {k: v.numpy() for k, v in expected.items()}


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in sys.argv[2:] or CASES:
        case, expected = record(out, name, *CASES[name])
        (out / f"{name}.json").write_text(json.dumps(case, indent=1) + "\n")
        expected = {k: np.ascontiguousarray(v) for k, v in expected.items()}
        safetensors.numpy.save_file(expected, out / f"{name}.safetensors")
        print(name, {k: v.shape for k, v in expected.items()})


if __name__ == "__main__":
    main()

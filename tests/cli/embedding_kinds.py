"""Folders of other kinds of encoders, made from all-MiniLM-L6-v2 and matrices computed here: late interaction, SPLADE (also a
masked language model), a reranker, a classifier. They are not trained for these tasks; they test how such models are read.
tools/make_kind_goldens.py records the outputs of sentence-transformers and transformers for them."""
import json
import os
import shutil
import struct

COLBERT_SIZE = 16
HIDDEN = 384
VOCABULARY = 30522
THRESHOLD = -6.0  # the bias of the vocabulary's logits, so that few are above zero


def link_or_copy(source, target):
    """A symbolic link out of the home is not served."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy(source, target)


def link(source, folder, name, new_name=None):
    link_or_copy(os.path.join(source, name), os.path.join(folder, new_name or name))


def write_json(folder, name, content):
    os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(content, file)


def write_safetensors(path, tensors):
    """name → (shape, numbers), as float32."""
    header, at = {}, 0
    for name, (shape, numbers) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * len(numbers)]}
        at += 4 * len(numbers)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, numbers in tensors.values():
            file.write(struct.pack(f"<{len(numbers)}f", *numbers))


def read_names(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return [name for name in json.loads(file.read(size)) if name != "__metadata__"]


def start(minilm, folder, architectures):
    os.makedirs(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        link(minilm, folder, name)
    with open(os.path.join(minilm, "config.json"), encoding="utf-8") as file:
        write_json(folder, "config.json", dict(json.load(file), architectures=architectures))


def modules(folder, *types):
    """(path, type) of each; "" is the transformer's."""
    write_json(folder, "modules.json", [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(types)])


def write_colbert(minilm, folder):
    """As PyLate saves it: queries are padded with mask tokens that no token sees, punctuation in documents gets no vector."""
    start(minilm, folder, ["BertModel"])
    link(minilm, folder, "model.safetensors")
    modules(folder, ("", "sentence_transformers.models.Transformer"), ("1_Dense", "pylate.models.Dense.Dense"))
    write_json(folder, "1_Dense/config.json", {"in_features": HIDDEN, "out_features": COLBERT_SIZE, "bias": False,
                                               "activation_function": "torch.nn.modules.linear.Identity"})
    numbers = [(i * 2654435761 % 2**32 / 2**32 - 0.5) / 10 for i in range(COLBERT_SIZE * HIDDEN)]
    write_safetensors(os.path.join(folder, "1_Dense", "model.safetensors"), {"linear.weight": ([COLBERT_SIZE, HIDDEN], numbers)})
    write_json(folder, "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    write_json(folder, "config_sentence_transformers.json", {
        "model_type": "ColBERT", "query_prefix": "[unused0] ", "document_prefix": "[unused1] ", "query_length": 16,
        "document_length": 32, "attend_to_expansion_tokens": False, "do_query_expansion": True, "skiplist_words": [".", ",", "!"]})


def write_splade(minilm, folder):
    start(minilm, folder, ["BertForMaskedLM"])
    link(minilm, folder, "model.safetensors", "model-00001-of-00002.safetensors")
    place = "cls.predictions."
    identity = [float(i % (HIDDEN + 1) == 0) for i in range(HIDDEN * HIDDEN)]
    head = {
        place + "transform.dense.weight": ([HIDDEN, HIDDEN], identity), place + "transform.dense.bias": ([HIDDEN], [0.0] * HIDDEN),
        place + "transform.LayerNorm.weight": ([HIDDEN], [1.0] * HIDDEN), place + "transform.LayerNorm.bias": ([HIDDEN], [0.0] * HIDDEN),
        place + "bias": ([VOCABULARY], [THRESHOLD] * VOCABULARY)}
    write_safetensors(os.path.join(folder, "model-00002-of-00002.safetensors"), head)
    files = {name: "model-00001-of-00002.safetensors" for name in read_names(os.path.join(minilm, "model.safetensors"))}
    files.update({name: "model-00002-of-00002.safetensors" for name in head})
    write_json(folder, "model.safetensors.index.json", {"metadata": {}, "weight_map": files})
    modules(folder, ("", "sentence_transformers.sparse_encoder.models.MLMTransformer"),
            ("1_SpladePooling", "sentence_transformers.sparse_encoder.models.SpladePooling"))
    write_json(folder, "1_SpladePooling/config.json", {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": None})
    write_json(folder, "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})


def write_nan(minilm, folder, word):
    """The embedder with NaN for the embedding of `word`."""
    shutil.copytree(minilm, folder)
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
        row = json.load(file)["model"]["vocab"][word]
    with open(os.path.join(folder, "model.safetensors"), "r+b") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        (start, _) = json.loads(file.read(size))["embeddings.word_embeddings.weight"]["data_offsets"]
        file.seek(8 + size + start + 4 * HIDDEN * row)
        file.write(struct.pack("<f", float("nan")) * HIDDEN)


def write_classifier(minilm, folder, labels, bias=None):
    """With one label a reranker, whose score is the raw logit; `bias`: a number for each label."""
    start(minilm, folder, ["BertForSequenceClassification"])
    link(minilm, folder, "model.safetensors", "model-00001-of-00002.safetensors")
    size = len(labels) * HIDDEN
    head = {"classifier.weight": ([len(labels), HIDDEN], [(i * 2654435761 % 2**32 / 2**32 - 0.5) / 2 for i in range(size)]),
            "classifier.bias": ([len(labels)], bias or [i / 8 for i in range(len(labels))])}
    write_safetensors(os.path.join(folder, "model-00002-of-00002.safetensors"), head)
    files = {name: "model-00001-of-00002.safetensors" for name in read_names(os.path.join(minilm, "model.safetensors"))}
    files.update({name: "model-00002-of-00002.safetensors" for name in head})
    write_json(folder, "model.safetensors.index.json", {"metadata": {}, "weight_map": files})
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["id2label"] = {str(i): label for i, label in enumerate(labels)}
    config["label2id"] = {label: i for i, label in enumerate(labels)}
    if len(labels) == 1:
        config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
    write_json(folder, "config.json", config)

#!/usr/bin/env python3
"""make_kind_goldens.py MINILM: writes tests/data/embedding/kinds.json: the outputs of sentence-transformers' MultiVectorEncoder
and SpladePooling and of transformers' models with heads for the folders of tests/cli/embedding_kinds.py. Needs sentence-transformers 6.2.0 and
torch."""
import json
import sys
import tempfile
from pathlib import Path

import safetensors.torch
import torch
import transformers
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "cli"))
import embedding_kinds  # noqa: E402

QUERIES = ["How do I cook rice?", "capital of France"]
DOCUMENTS = ["Rinse the rice, then simmer it in water.", "Paris is the capital of France!"]
MASKED = ["Paris is the [MASK] of France.", "The cat [MASK] on the sofa."]
OUT = ROOT / "tests" / "data" / "embedding" / "kinds.json"


def rounded(numbers, digits=6):
    return [round(float(x), digits) for x in numbers]


def main(minilm):
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "colbert"
        embedding_kinds.write_colbert(minilm, str(folder))
        model = MultiVectorEncoder(str(folder), device="cpu")
        document = {"late_interaction": {
            kind: [{"text": text, "vectors": [rounded(row) for row in encode([text], show_progress_bar=False)[0]]} for text in texts]
            for kind, texts, encode in (("query", QUERIES, model.encode_query), ("document", DOCUMENTS, model.encode_document))}}

        folder = Path(temporary) / "splade"
        embedding_kinds.write_splade(minilm, str(folder))
        config = transformers.BertConfig.from_pretrained(str(folder))
        model = transformers.BertForMaskedLM(config).eval()
        state = {}
        for file in sorted(folder.glob("model-*.safetensors")):
            for name, tensor in safetensors.torch.load_file(file).items():
                state[name if name.startswith("cls.") else "bert." + name] = tensor.float()
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert all("decoder" in name for name in missing), missing
        assert all("pooler" in name or "position_ids" in name for name in unexpected), unexpected
        model.tie_weights()
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
        document["splade"], document["fill_mask"] = [], []
        with torch.no_grad():
            for text in DOCUMENTS:
                inputs = tokenizer(text, return_tensors="pt")
                features = {"token_embeddings": model(**inputs).logits, "attention_mask": inputs["attention_mask"]}
                weights = SpladePooling("max").eval()(features)["sentence_embedding"][0]
                ids = torch.nonzero(weights)[:, 0].tolist()
                document["splade"].append({"text": text, "indices": ids, "values": rounded(weights[ids])})
            for text in MASKED:
                inputs = tokenizer(text, return_tensors="pt")
                at = inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)
                best = torch.softmax(model(**inputs).logits[0, at], -1).topk(4)
                document["fill_mask"].append({"text": text, "tokens": best.indices.tolist(), "scores": rounded(best.values),
                                              "words": [tokenizer.decode([i]) for i in best.indices.tolist()]})
        for name, labels in (("rerank", ["score"]), ("classify", ["calm", "angry", "sad"])):
            folder = Path(temporary) / name
            embedding_kinds.write_classifier(minilm, str(folder), labels)
            model = transformers.BertForSequenceClassification(transformers.BertConfig.from_pretrained(str(folder))).eval()
            state = {}
            for file in sorted(folder.glob("model-*.safetensors")):
                for key, tensor in safetensors.torch.load_file(file).items():
                    state[key if key.startswith("classifier.") else "bert." + key] = tensor.float()
            missing, unexpected = model.load_state_dict(state, strict=False)
            assert not missing and all("position_ids" in key for key in unexpected), (missing, unexpected)
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
            document[name] = []
            with torch.no_grad():
                for text in DOCUMENTS + [" ".join(DOCUMENTS * 60)]:
                    pair = (QUERIES[0], text) if name == "rerank" else (text,)
                    inputs = tokenizer(*pair, truncation="longest_first", max_length=512, return_tensors="pt")
                    logits = model(**inputs).logits[0]
                    scores = logits if name == "rerank" else torch.softmax(logits, -1)
                    document[name].append({"text": text, "scores": rounded(scores)})
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    OUT.write_text("{" + rows + "}\n", encoding="utf-8")
    print({key: [len(one.get("indices", [])) for one in value] if isinstance(value, list) else "" for key, value in document.items()})
    print(document["fill_mask"])


if __name__ == "__main__":
    main(sys.argv[1])

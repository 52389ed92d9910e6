"""Log-likelihoods as evaluation harnesses request them. MLXK_TEST_MODEL names a workspace of SmolLM2; where MLXK_LM_EVAL
names a Python that has lm_eval, lm-evaluation-harness is run too; its scores are compared with those of mlx_lm, which the same
Python has or that of MLXK_MLX_LM."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

from server_case import MODEL, SharedServerTest, link_model

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "scoring")
LM_EVAL = os.environ.get("MLXK_LM_EVAL", "")
MLX_LM_PYTHON = os.environ.get("MLXK_MLX_LM", LM_EVAL)
if not os.path.isfile(os.path.join(MODEL, "config.json")):
    print("no model")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

# The log-likelihood of each continuation by mlx-lm, all in float32: standard input and output are JSON.
MLX_LM = """
import json, sys
import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm import load
mx.set_default_device(mx.cpu)
asked = json.load(sys.stdin)
model, tokenizer = load(asked["model"])
model.update(tree_map(lambda p: p.astype(mx.float32) if mx.issubdtype(p.dtype, mx.floating) else p, model.parameters()))
scores = []
for ids, first in asked["texts"]:
    logits = model(mx.array([ids[:-1]]))[0].astype(mx.float32)
    of_all = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    scores.append(sum(of_all[at - 1, ids[at]].item() for at in range(first, len(ids))))
json.dump(scores, sys.stdout)
"""


def questions():
    with open(os.path.join(DATA, "questions.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class ScoringTest(SharedServerTest):
    @classmethod
    def start(cls, holder):
        home = os.path.join(holder.home, "workspaces")
        link_model(MODEL, os.path.join(home, "smollm2"))
        cls.server = holder.serve("--model", "smollm2", env={"MLXK_WORKSPACE_HOME": home})

    def ids_of(self, text):
        return self.server.post("/tokenize", {"model": "smollm2", "content": text})[2]["tokens"]

    def texts(self):
        """(ids, where the continuation begins) of each choice of each question, as a harness cuts them."""
        texts = []
        for one in questions():
            context = f"Question: {one['question']}\nAnswer:"
            for choice in one["choices"]:
                whole = self.ids_of(f"{context} {choice}")
                texts.append((whole, len(self.ids_of(context))))
        return texts

    def score(self, prompts, **fields):
        status, _, answer = self.server.post("/v1/completions", {
            "model": "smollm2", "prompt": prompts, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True,
            **fields}, timeout=600)
        self.assertEqual(status, 200, answer)
        return [choice["logprobs"] for choice in answer["choices"]]

    def test_every_token_has_a_score_whatever_the_form(self):
        texts = self.texts()
        together = self.score([ids for ids, _ in texts])
        self.assertEqual(len(together), 80)
        for (ids, _), scored in zip(texts, together):
            self.assertEqual(len(scored["token_logprobs"]), len(ids) + 1)
            self.assertIsNone(scored["token_logprobs"][0])
            self.assertTrue(all(value <= 0 for value in scored["token_logprobs"][1:]))
        ids, first = texts[0]
        self.assertEqual(self.score(ids)[0]["token_logprobs"], together[0]["token_logprobs"])
        without = self.score([ids], max_tokens=0)[0]["token_logprobs"]
        self.assertEqual(without, together[0]["token_logprobs"][:len(ids)])
        text = self.server.post("/detokenize", {"model": "smollm2", "tokens": ids})[2]["content"]
        self.assertEqual(self.score([text], max_tokens=0)[0]["token_logprobs"], without)

    def test_the_right_answer_is_often_the_likeliest(self):
        texts = self.texts()
        scores = [sum(scored["token_logprobs"][first:len(ids)])
                  for (ids, first), scored in zip(texts, self.score([ids for ids, _ in texts], max_tokens=0))]
        right = sum(max(range(4), key=lambda k: scores[4 * i + k]) == one["answer"] for i, one in enumerate(questions()))
        self.assertGreaterEqual(right, 9)  # mlx-lm in float32 gets 11 of 20; chance gives 5

    @unittest.skipUnless(LM_EVAL, "MLXK_LM_EVAL names no Python with lm_eval")
    def test_the_harness_sees_what_mlx_lm_computes(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(DATA, "capitals.yaml"), encoding="utf-8") as file:
                task = file.read() + f"dataset_kwargs:\n  data_files:\n    test: {os.path.join(DATA, 'questions.jsonl')}\n"
            with open(os.path.join(folder, "capitals.yaml"), "w", encoding="utf-8") as file:
                file.write(task)
            subprocess.run([LM_EVAL, "-m", "lm_eval", "run", "--model", "local-completions", "--model_args",
                            f"model=smollm2,base_url={self.server.url}/v1/completions,tokenizer_backend=huggingface,"
                            f"tokenizer={os.path.realpath(MODEL)}",
                            "--batch_size", "40", "--tasks", "mlxk_capitals", "--include_path", folder, "--output_path", os.path.join(folder, "out"),
                            "--log_samples"], check=True, timeout=600, cwd=folder,
                           env={**os.environ, "HF_HOME": folder, "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"})
            found = [os.path.join(at, name) for at, _, names in os.walk(os.path.join(folder, "out")) for name in names
                     if name.startswith("samples_")]
            self.assertEqual(len(found), 1)
            with open(found[0], encoding="utf-8") as file:
                samples = sorted((json.loads(line) for line in file), key=lambda one: one["doc_id"])
        self.assertEqual(len(samples), 20)
        seen = [float(one[0][0]) for sample in samples for one in sample["resps"]]
        texts = self.texts()
        wanted = subprocess.run([MLX_LM_PYTHON, "-c", MLX_LM], input=json.dumps({"model": os.path.realpath(MODEL), "texts": texts}),
                                capture_output=True, text=True, timeout=600)
        if "No module named 'mlx" in wanted.stderr:
            self.skipTest("no mlx_lm")
        self.assertEqual(wanted.returncode, 0, wanted.stderr)
        with open(os.path.join(MODEL, "config.json"), encoding="utf-8") as file:
            packed = "quantization" in json.load(file)
        for ours, theirs in zip(seen, json.loads(wanted.stdout)):
            self.assertAlmostEqual(ours, theirs, delta=0.02 if packed else 1e-3)


if __name__ == "__main__":
    unittest.main()

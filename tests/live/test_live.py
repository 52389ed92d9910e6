"""The contract of every trained model in MLXK_TEST_MODELS: one `mlxk selftest` of them all, and its report.

By hand, in full, for the models of this machine:

    mlxk selftest --all --report report.jsonl
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import jsonschema
except ImportError:
    jsonschema = None  # `mlxk report --validate` checks the records in any case

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = os.path.join(HERE, "..", "..", "docs", "report.schema.json")
PROGRAM = os.environ["MLXK_PROGRAM"]
MODELS = sorted(os.path.dirname(path) for path in glob.glob(os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "*", "config.json")))
if not MODELS or not os.environ.get("MLXK_TEST_MODELS"):
    print("no models: MLXK_TEST_MODELS is not set")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

# The checks that must pass for each model: a skip is an error too.
ANSWERED = {
    "SmolLM2-135M-Instruct-4bit": ["template", "stop tokens", "streaming", "batch", "prefix cache", "cut prompts", "JSON schema",
                                   "tool calls", "long context", "speed"],
    "gemma-3-270m-8bit": ["streaming", "batch", "prefix cache", "cut prompts", "JSON schema", "long context", "speed"],
    "shapes-smolvlm-4bit": ["template", "batch", "vision"],
    "whisper-base-mlx": ["speech"],
    "all-MiniLM-L6-v2": ["vectors", "batch", "order"],
}


class Live(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        home = tempfile.TemporaryDirectory(prefix="mlxk_live_")
        cls.addClassCleanup(home.cleanup)
        cls.report = os.path.join(home.name, "report.jsonl")
        cls.env = {**os.environ, "HF_HOME": os.path.join(home.name, "hf")}
        cls.env.pop("HF_HUB_CACHE", None)
        cls.done = subprocess.run([PROGRAM, "selftest", *MODELS, "--quick", "--json", "--report", cls.report], capture_output=True,
                                  text=True, env=cls.env, timeout=900, check=False)

    def test_every_model_keeps_its_contract(self):
        document = json.loads(self.done.stdout)
        data = document["data"]
        checks = {os.path.basename(model["model"]): {one["name"]: one for one in model["checks"]} for model in data["models"]}
        failed = [f"{model}: {name}: {one['reason']}" for model, all_of in checks.items() for name, one in all_of.items()
                  if one["outcome"] == "failed"]
        self.assertEqual(failed, [])
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        self.assertEqual(len(checks), len(MODELS))
        for model, names in ANSWERED.items():
            for name in names if model in checks else []:
                one = checks[model][name]
                self.assertEqual(one["outcome"], "passed", f"{model}: {name}: {one['reason']}")

    def test_the_report_holds_to_the_schema(self):
        done = subprocess.run([PROGRAM, "report", "--validate", self.report], capture_output=True, text=True, env=self.env, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(self.report, encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        self.assertEqual({record["model"]["id"] for record in records}, set(MODELS))
        self.assertTrue(any(record.get("performance", {}).get("tokens_per_sec", 0) > 0 for record in records))
        if jsonschema:
            with open(SCHEMA, encoding="utf-8") as file:
                validator = jsonschema.Draft7Validator(json.load(file))
            for record in records:
                validator.validate(record)

    def test_verdicts_are_kept(self):
        for model in MODELS:
            done = subprocess.run([PROGRAM, "show", model, "--json"], capture_output=True, text=True, env=self.env, check=True)
            verdict = json.loads(done.stdout)["data"]["selftest"]
            self.assertEqual(verdict["failed"], [], model)
            self.assertTrue(verdict["quick"])


if __name__ == "__main__":
    unittest.main()

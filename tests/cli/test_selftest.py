"""`mlxk selftest`, its verdicts in `list` and `show`, and `run --record` with `replay`. Models with trained weights are in
MLXK_TEST_MODELS."""
import glob
import json
import os
import shutil
import subprocess
import unittest
import urllib.request

from program import MODEL, PROGRAM, ProgramTest, needs_engine

HAS_MODEL = os.path.isfile(os.path.join(MODEL, "config.json"))


class Usage(ProgramTest):
    def test_models_or_all(self):
        for args in (["selftest"], ["selftest", "--all", "some"]):
            self.assertEqual(self.run_json(*args, "--json", code=2)["error"]["type"], "CommandError")
        self.assertEqual(self.run_json("selftest", "nowhere", "--json", code=1)["error"]["type"], "model_not_found")

    def test_a_broken_model_fails_without_an_engine(self):
        self.write("hf/hub/models--acme--Broken/snapshots/" + "a" * 40 + "/config.json", b"{\"model_type\": \"llama\"}")
        document = self.run_json("selftest", "--all", "--quick", "--json", code=1)
        self.assertEqual(document["error"]["type"], "selftest_failed")
        model = document["data"]["models"][0]
        self.assertEqual([(one["name"], one["outcome"]) for one in model["checks"]], [("health", "failed"), ("hashes", "skipped")])
        self.assertFalse(model["passed"])
        done = self.run_program("selftest", "acme/Broken", "--quick", "--report", "report.jsonl")
        self.assertEqual(done.returncode, 1)
        self.assertIn("✗ health: ", done.stdout.decode())
        self.assertEqual(self.run_program("report", "--validate", "report.jsonl").returncode, 0)
        with open(os.path.join(self.home, "report.jsonl"), encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        self.assertEqual([(one["test"], one["outcome"]) for one in records], [("selftest::health", "failed"), ("selftest::hashes", "skipped")])

    def test_nothing_to_test_is_not_a_failure(self):
        self.assertEqual(self.run_json("selftest", "--all", "--json")["data"], {"passed": True, "models": []})

    def test_record_options(self):
        self.assertEqual(self.run_program("run", "x", "y", "--record-redact").returncode, 2)
        self.assertEqual(self.run_program("run", "x", "y", "--record", "").returncode, 2)

    def test_a_broken_record_names_its_field(self):
        for content, message in ((b"", "record.json"), (b"{}", "record.json.format is missing"), (b"[1", "record.json")):
            path = self.write("record.json", content)
            document = self.run_json("replay", path, "--json", code=1)
            self.assertIn(message, document["error"]["message"])
        self.assertEqual(self.run_program("replay", "nowhere.json").returncode, 1)
        self.assertEqual(self.run_program("replay", "record.json", "--device", "tpu").returncode, 2)


@needs_engine
@unittest.skipUnless(HAS_MODEL, "no model")
class Replay(ProgramTest):
    def record(self, *args):
        """The one file that `mlxk run --record` writes."""
        folder = os.path.join(self.home, "records")
        shutil.rmtree(folder, True)
        done = self.run_program("run", MODEL, "Name a colour.", "--max-tokens", "8", "--record", folder, *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        files = glob.glob(os.path.join(folder, "*.json"))
        self.assertEqual(len(files), 1)
        return files[0]

    def test_same_tokens(self):
        for args in ([], ["--temperature", "0"], ["--stop", "e"]):
            done = self.run_program("replay", self.record(*args))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout.decode(), r"^same \d+ tokens?\n$")

    def test_the_first_token_that_differs(self):
        path = self.record()
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        recorded, record["tokens"][2] = record["tokens"][2], 7
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file)
        done = self.run_program("replay", path, "--device", "cpu")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stdout.decode(), rf'^token 3 of \d+ differs: recorded 7 ".*" \(-[\d.]+\), now {recorded} ".*" \(-[\d.]+\)\n$')
        difference = self.run_json("replay", path, "--json", code=1)["data"]["difference"]
        self.assertEqual((difference["index"], difference["recorded"]["token"], difference["now"]["token"]), (2, 7, recorded))

    def test_answers_of_a_server(self):
        folder = os.path.join(self.home, "records")
        server = subprocess.Popen([PROGRAM, "serve", "--json", "--model", MODEL, "--port", "0", "--record", folder], cwd=self.home,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.env, text=True)
        try:
            lines = iter(server.stdout.readline, "}\n")  # of one document
            port = json.loads("".join(lines) + "}")["data"]["port"]
            tool = {"type": "function", "function": {"name": "f", "parameters": {
                "type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"], "additionalProperties": False}}}
            for fields in ({"n": 2}, {"response_format": {"type": "json_object"}}, {"tools": [tool], "tool_choice": "required"},
                           {"stop": ["e"], "temperature": 1.5}):
                body = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 12, **fields}
                request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(),
                                                 {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=120) as answer:
                    self.assertEqual(answer.status, 200)
        finally:
            server.terminate()
            server.communicate(timeout=60)
        files = sorted(glob.glob(os.path.join(folder, "*.json")))
        self.assertEqual(len(files), 5)
        for path in files:
            self.assertTrue(self.run_json("replay", path, "--json")["data"]["same"], path)

    def test_redacted(self):
        path = self.record("--record-redact")
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        self.assertIsNone(record["request"]["prompt"])
        self.assertGreater(record["request"]["prompt_tokens"], 0)
        self.assertIn("has no prompt", self.run_json("replay", path, "--json", code=1)["error"]["message"])


@needs_engine
@unittest.skipUnless(HAS_MODEL, "no model")
class Verdict(ProgramTest):
    def test_is_stored_and_shown(self):
        self.env["MLXK_WORKSPACE_HOME"] = os.path.join(self.home, "workspaces")
        folder = os.path.join(self.home, "workspaces", "tested")
        shutil.copytree(MODEL, folder)
        before = sorted(os.listdir(folder))
        self.assertIsNone(self.run_json("show", "tested", "--json")["data"]["selftest"])
        done = self.run_program("selftest", "tested", "--quick", timeout=600)
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        for line in ("✓ health", "✓ template", "✓ batch", "✓ prefix cache", "✓ cut prompts", "✓ JSON schema", "✓ speed", "– vision"):
            self.assertIn("  " + line, done.stdout.decode())
        verdict = self.run_json("show", "tested", "--json")["data"]["selftest"]
        self.assertEqual(verdict["failed"], [])
        self.assertGreater(verdict["tokens_per_s"], 0)
        self.assertIn("Selftest: ✓ (", self.run_program("show", "tested").stdout.decode())
        row = [line for line in self.run_program("list", "--selftest").stdout.decode().splitlines() if "tested" in line]
        self.assertIn("✓", row[0])
        self.assertEqual(self.run_json("list", "--selftest", "--json")["data"]["models"][0]["selftest"], verdict)
        self.assertEqual(sorted(os.listdir(folder)), before)
        self.assertEqual(len(glob.glob(os.path.join(self.home, "hf", "mlxk-selftest", "*.json"))), 1)


if __name__ == "__main__":
    unittest.main()

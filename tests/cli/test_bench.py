"""`mlxk bench` and its kinds audio, vision and embed: refusals, and figures of the models in MLXK_TEST_MODELS."""
import json
import os
import unittest
import xml.etree.ElementTree

from program import MODEL, ProgramTest

MODELS = os.environ.get("MLXK_TEST_MODELS", "")
CLIP = os.path.join(os.path.dirname(__file__), "..", "data", "audio", "tone.flac")


class Refusals(ProgramTest):
    def refused(self, *args):
        done = self.run_program("bench", *args)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, b"")
        return done.stderr.decode()

    def test_unknown_model(self):
        self.assertIn("nowhere/such-model", self.refused("nowhere/such-model"))

    def test_bad_numbers(self):
        self.assertIn("argument --threads: must be between 1 and 256, got 0", self.refused("m", "--threads", "0"))
        self.assertIn("argument --generate", self.refused("m", "--generate", "1"))


@unittest.skipUnless(os.path.isfile(os.path.join(MODEL, "config.json")), "MLXK_TEST_MODEL is not set")
class Figures(ProgramTest):
    def test_json_has_every_point(self):
        plot = os.path.join(self.home, "plot.svg")
        data = self.run_json("bench", MODEL, "--prompt", "8,40", "--generate", "4", "--batch", "1,2", "--runs", "2",
                             "--threads", "1", "--plot", plot, "--json", timeout=300)["data"]
        points = [(r["prompt_tokens"], r["batch"]) for r in data["results"]]
        self.assertEqual(points, [(8, 1), (8, 2), (40, 1), (40, 2)])
        for result in data["results"]:
            for phase in ("prefill", "decode"):
                self.assertGreater(result[phase]["tokens_per_s"], 0)
                self.assertGreaterEqual(result[phase]["spread"], 0)
            self.assertGreater(result["first_token_s"], 0)
            self.assertGreater(result["peak_bytes"], data["step_bytes"])
        self.assertEqual(data["machine"]["threads"], 1)
        self.assertGreater(data["machine"]["read_bytes_per_s"], 1e8)
        self.assertTrue(data["machine"]["kernels"])
        self.assertEqual(len(xml.etree.ElementTree.parse(plot).findall(".//{*}rect")), 1 + 2 * len(points))

    def test_refuses_lists_that_are_none_and_prompts_past_the_context(self):
        for words, message in ((("--batch", "1,x"), "argument --batch: must be numbers from 1 to 1024 separated by commas"),
                               (("--prompt", "0"), "argument --prompt: must be numbers from 1 to "),
                               (("--prompt", "9999999"), "exceed the context of")):
            done = self.run_program("bench", MODEL, *words)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(message, done.stderr.decode())


@unittest.skipUnless(MODELS, "MLXK_TEST_MODELS is not set")
class OtherKinds(ProgramTest):
    def results(self, kind, model, *args):
        """The results of `bench KIND` as JSON, and their records, which must be valid."""
        report = os.path.join(self.home, "bench.jsonl")
        data = self.run_json("bench", kind, os.path.join(MODELS, model), *args, "--runs", "2", "--report", report, "--json",
                             timeout=600)["data"]
        self.assertEqual(self.run_program("report", "--validate", report).returncode, 0)
        with open(report, encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        self.assertEqual(len(records), len(data["results"]))
        for result, record in zip(data["results"], records):
            self.assertEqual({key: record["metadata"][key] for key in result}, result)
            self.assertEqual(record["outcome"], "passed")
        self.assertGreater(records[0]["performance"]["model_load_time_s"], 0)
        return data["results"], records

    def test_audio(self):
        (result,), (record,) = self.results("audio", "whisper-base-mlx", CLIP, "--language", "en")
        self.assertEqual(result["file"], "tone.flac")
        self.assertGreater(result["audio_s"], 0.3)
        self.assertAlmostEqual(result["realtime_factor"], result["audio_s"] / result["transcribe_s"], places=2)
        self.assertLessEqual(result["first_segment_s"], result["transcribe_s"] * 1.5)
        self.assertEqual(record["metadata"]["inference_modality"], "audio")

    def test_vision(self):
        results, records = self.results("vision", "shapes-smolvlm-4bit", "--size", "64,96", "--images", "1,2", "--generate", "4")
        self.assertEqual([(r["image"], r["images"]) for r in results],
                         [("64x64", 1), ("64x64", 2), ("96x96", 1), ("96x96", 2)])
        for one, two in (results[:2], results[2:]):
            self.assertEqual(two["image_tokens"], 2 * one["image_tokens"])
            self.assertGreater(one["prompt_tokens"], one["image_tokens"])
            self.assertGreater(one["decode"]["tokens_per_s"], 0)
            self.assertGreaterEqual(one["first_token_s"], one["process_s"])
        self.assertEqual({record["metadata"]["inference_modality"] for record in records}, {"vision"})

    def test_embed(self):
        results, _ = self.results("embed", "all-MiniLM-L6-v2", "--prompt", "8,32", "--batch", "1,4")
        self.assertEqual([(r["prompt_words"], r["batch"]) for r in results], [(8, 1), (8, 4), (32, 1), (32, 4)])
        for result in results:
            self.assertGreaterEqual(result["tokens"], result["batch"] * result["prompt_words"])
            self.assertGreater(result["texts_per_s"], 0)

    def test_a_model_of_another_kind_is_refused(self):
        for kind, model, args in (("audio", "all-MiniLM-L6-v2", [CLIP]), ("vision", "SmolLM2-135M-Instruct-4bit", []),
                                  ("embed", "whisper-base-mlx", [])):
            done = self.run_program("bench", kind, os.path.join(MODELS, model), *args)
            self.assertEqual((done.returncode, done.stdout), (1, b""), kind)
            self.assertIn(model, done.stderr.decode())
        done = self.run_program("bench", "audio", os.path.join(MODELS, "whisper-base-mlx"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("the following argument is required: file", done.stderr.decode())

"""`mlxk bench`: refusals, and with a model (MLXK_TEST_MODEL) its figures."""
import os
import unittest
import xml.etree.ElementTree

from program import MODEL, ProgramTest


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

"""How a model is named on the command line: folders in every spelling, GGUF files, and no model at all."""
import json
import os
import shutil
import unittest

import tiny_gguf
import tiny_models
from program import ProgramTest, needs_engine


class Folders(ProgramTest):
    def setUp(self):
        super().setUp()
        tiny_models.write_model(os.path.join(self.home, "build/models/mine"), "llama")
        self.real = os.path.realpath(os.path.join(self.home, "build/models/mine"))

    def cached(self, name):
        snapshot = os.path.join(self.home, "hf/hub", "models--" + name.replace("/", "--"), "snapshots", "a" * 40)
        tiny_models.write_model(snapshot, "llama")

    def shown(self, *args, **kwargs):
        return os.path.realpath(self.run_json("show", *args, "--json", **kwargs)["data"]["model"]["name"])

    def test_a_folder_is_a_model_however_it_is_written(self):
        for word in ("build/models/mine", "build/models/mine/", "build//models/mine", "build/../build/models/mine",
                     "./build/models/mine", self.real):
            with self.subTest(word):
                self.assertEqual(self.shown(word), self.real)
        shutil.copytree(self.real, os.path.join(self.home, "mine"))
        self.assertEqual(self.shown("mine"), os.path.realpath(os.path.join(self.home, "mine")))
        os.rename(os.path.join(self.home, "mine"), os.path.join(self.home, "mine@home"))
        self.assertEqual(self.shown("mine@home"), os.path.realpath(os.path.join(self.home, "mine@home")))

    def test_every_command_takes_it(self):
        self.assertIn("healthy   ", self.run_program("health", "build/models/mine").stdout.decode())
        self.assertIn("Cannot delete workspace", self.run_program("rm", "build/models/mine").stderr.decode())
        self.assertIn("it has no recorded hashes", self.run_program("verify", "build/models/mine").stderr.decode())

    def test_what_the_cache_has_goes_first_and_is_said(self):
        shutil.copytree(self.real, os.path.join(self.home, "mine"))
        self.cached("org/mine")
        done = self.run_program("show", "mine")
        self.assertIn("Model: org/mine@", done.stdout.decode())
        self.assertEqual(done.stderr.decode(), "Note: 'mine' means the cached model org/mine; for the folder in the current "
                                               "directory, write ./mine\n")
        self.assertEqual(self.run_program("show", "./mine").stderr, b"")
        self.cached("other/mine")
        document = self.run_json("show", "mine", "--json", code=1)
        self.assertEqual(document["error"]["matches"], ["org/mine", "other/mine", "./mine"])

    def test_a_workspace_that_is_the_folder_needs_no_note(self):
        env = {"MLXK_WORKSPACE_HOME": self.home}
        done = self.run_program("show", "build/models/mine", env=env)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_a_folder_that_is_no_model_is_said_to_be_none(self):
        done = self.run_program("show", "build/models")
        self.assertEqual(done.returncode, 1)
        self.assertIn("No model found matching 'build/models'\n./build/models is a folder, but it has no config.json",
                      done.stderr.decode())


@needs_engine
class Gguf(ProgramTest):
    def setUp(self):
        super().setUp()
        self.file = os.path.join(self.home, "some.gguf")
        tiny_gguf.write_gguf(self.file)

    def imports(self):
        folder = os.path.join(self.home, ".cache/mlxk/gguf")
        return sorted(name for name in os.listdir(folder) if not name.endswith(".lock")) if os.path.isdir(folder) else []

    def test_is_imported_once_which_is_said(self):
        done = self.run_program("show", "some.gguf")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr.decode(), r"^Importing some\.gguf \(.*\) into .*/\.cache/mlxk/gguf/some-.*, once\n$")
        self.assertIn("Health: healthy", done.stdout.decode())
        self.assertEqual(self.run_program("show", "./some.gguf").stderr, b"")
        self.assertEqual(self.run_program("show", self.file).stderr, b"")
        self.assertEqual(len(self.imports()), 1)

    def test_is_imported_again_when_it_changed_and_pruned_when_it_is_gone(self):
        self.run_program("show", "some.gguf")
        before = self.imports()
        os.utime(self.file, (1, 1))
        self.assertIn(b"Importing", self.run_program("show", "some.gguf").stderr)
        self.assertEqual(len(self.imports()), 1)
        self.assertNotEqual(self.imports(), before)
        self.assertEqual(self.run_json("prune", "--json")["data"]["removed"], [])
        os.remove(self.file)
        removed = self.run_json("prune", "--json")["data"]["removed"]
        self.assertEqual([item["kind"] for item in removed], ["import"])
        self.assertEqual(self.imports(), [])

    def test_health_reads_its_header(self):
        data = self.run_json("health", "some.gguf", "--json")["data"]
        self.assertEqual(data["summary"], {"total": 1, "healthy_count": 1, "unhealthy_count": 0})
        with open(self.file, "r+b") as file:
            file.truncate(os.path.getsize(self.file) - 7)
        data = self.run_json("health", "some.gguf", "--json")["data"]
        self.assertIn("end past the file", data["unhealthy"][0]["reason"])
        self.assertEqual(self.imports(), [])

    def test_what_is_none_is_said_to_be_none(self):
        with open(self.file, "wb") as file:
            file.write(b"GGML" + bytes(64))
        for command in (["run", "some.gguf", "hi"], ["show", "some.gguf"], ["convert", "some.gguf", "there"]):
            done = self.run_program(*command)
            self.assertEqual(done.returncode, 1)
            self.assertIn("some.gguf is not a GGUF file", done.stderr.decode())
        os.rename(self.file, os.path.join(self.home, "some.txt"))
        self.assertIn("some.txt is neither a model folder nor a GGUF file",
                      self.run_program("convert", "some.txt", "there").stderr.decode())
        self.assertEqual(self.imports(), [])


class Default(ProgramTest):
    def test_is_named_by_list_and_needed_by_bench(self):
        # The tests' program may be beside a quickstart's model; this copy is beside none.
        env = {"MLXK_DEFAULT_MODEL": "build/mine"}
        tiny_models.write_model(os.path.join(self.home, "build/mine"), "llama")
        self.assertIn("Default model (of bench): build/mine\n", self.run_program("list", env=env).stdout.decode())
        done = self.run_program("bench", "--generate", "100000", env=env)
        self.assertIn("Model: build/mine\n", done.stderr.decode())
        self.assertIn("exceed the context of", done.stderr.decode())

    def test_an_empty_list_says_what_to_do(self):
        text = self.run_program("list").stdout.decode()
        self.assertIn("`mlxk search WORDS` finds some, `mlxk pull ORG/NAME` downloads one", text)
        self.assertIn("No model matches 'nothing'", self.run_program("list", "nothing").stdout.decode())
        self.assertEqual(self.run_json("list", "--json")["data"], {"models": [], "count": 0})
        self.write("hf/hub/models--o--m/snapshots/" + "a" * 40 + "/config.json", json.dumps({"model_type": "llama"}).encode())
        self.assertIn("1 model broken or not runnable here: `mlxk list --all --health` shows it",
                      self.run_program("list").stdout.decode())


if __name__ == "__main__":
    unittest.main()

"""verify, lock files and pull --locked against a hub on loopback."""
import json
import os
import shutil
import unittest

from hub_case import HubTest, model

NAME = "org/model"


class Verify(HubTest):
    def setUp(self):
        super().setUp()
        self.files = model(300_000)
        self.commit = self.hub.add(NAME, self.files)
        self.pull(NAME)

    def damage(self, path, content=None):
        """Changes the blob behind `path` without changing its length (or to `content`)."""
        blob = os.path.realpath(os.path.join(self.snapshot(NAME, self.commit), path))
        if content is None:
            content = bytearray(self.files[path])
            content[-1] ^= 1
        with open(blob, "wb") as file:
            file.write(content)

    def states(self, *args, code=0):
        document = self.run_json("verify", *args, "--json", code=code)
        return {file["path"]: file["state"] for file in document["data"]["models"][0]["files"]}

    def test_a_whole_model_is_ok_by_the_record_and_by_the_hub(self):
        for how in ([], ["--hub"]):
            self.assertEqual(self.states(NAME, *how), {path: "ok" for path in self.files})

    def test_one_flipped_bit_is_found_in_small_and_large_files(self):
        self.damage("model.safetensors")
        self.damage("config.json")
        states = self.states(NAME, code=1)
        self.assertEqual([path for path, state in states.items() if state == "wrong"], ["config.json", "model.safetensors"])
        done = self.run_program("verify", NAME)
        self.assertEqual(done.returncode, 1)
        self.assertIn("does not match the recorded hashes: 2 ok, 2 wrong", done.stdout.decode())

    def test_a_cache_of_another_program_is_verified_by_the_names_of_its_blobs(self):
        trees = os.path.join(self.repo(NAME), "trees")
        for name in os.listdir(trees):
            os.remove(os.path.join(trees, name))
        self.damage("model.safetensors", b"short")
        self.assertEqual(self.states(NAME, code=1)["model.safetensors"], "wrong")

    def test_what_health_calls_unhealthy_is_never_whole(self):
        shutil.rmtree(os.path.join(self.repo(NAME), "trees"))  # as programs left it before that folder existed
        self.assertIn("matches the recorded hashes: 4 files", self.run_program("verify", NAME).stdout.decode())
        os.remove(os.path.join(self.snapshot(NAME, self.commit), "model.safetensors"))
        cases = [("a torn snapshot", lambda: None, "No model weights found"),
                 ("an empty folder of snapshots", lambda: shutil.rmtree(self.snapshot(NAME, self.commit)), "interrupted"),
                 ("no snapshots", lambda: shutil.rmtree(os.path.join(self.repo(NAME), "snapshots")), "interrupted")]
        for name, break_it, reason in cases:
            break_it()
            with self.subTest(name):
                document = self.run_json("verify", NAME, "--json", code=1)
                self.assertEqual(document["error"]["type"], "verification_failed")
                self.assertFalse(document["data"]["verified"])
                self.assertIn(reason, document["data"]["models"][0]["unhealthy"])
                done = self.run_program("verify", NAME)
                self.assertEqual(done.returncode, 1)
                self.assertIn("unhealthy: ", done.stdout.decode())

    def test_a_missing_and_an_added_file_are_named(self):
        os.remove(os.path.join(self.snapshot(NAME, self.commit), "README.md"))
        with open(os.path.join(self.snapshot(NAME, self.commit), "notes.txt"), "w") as file:
            file.write("mine")
        states = self.states(NAME, code=1)
        self.assertEqual((states["README.md"], states["notes.txt"]), ("missing", "unrecorded"))

    def test_a_lock_file_reproduces_a_model(self):
        lock = os.path.join(self.home, "mlxk.lock")
        self.run_json("verify", NAME, "--write-lock", lock, "--json")
        with open(lock) as file:
            entry = json.load(file)["models"][0]
        self.assertEqual((entry["name"], entry["revision"], len(entry["files"])), (NAME, self.commit, len(self.files)))
        self.hub.add(NAME, {**self.files, "config.json": b'{"model_type": "qwen3"}'})  # the branch moves on
        self.run_json("rm", NAME, "--json")
        data = self.run_json("pull", "--locked", lock, "--json")["data"]
        self.assertEqual(data["models"][0]["commit_hash"], self.commit)
        self.assertEqual(self.files_in(self.snapshot(NAME, self.commit)), self.files)
        self.assertEqual(self.run_json("verify", "--lock", lock, "--json")["data"]["verified"], True)

    def test_a_pull_that_is_not_what_the_lock_fixes_fails(self):
        lock = os.path.join(self.home, "mlxk.lock")
        self.run_json("verify", NAME, "--write-lock", lock, "--json")
        with open(lock) as file:
            document = json.load(file)
        document["models"][0]["files"][0]["sha256"] = "0" * 64
        with open(lock, "w") as file:
            json.dump(document, file)
        out, err = self.pull("--locked", lock, code=1)
        self.assertIn("does not match the lock file", err)
        self.states("--lock", lock, code=1)

    def test_a_broken_lock_file_is_refused_by_place(self):
        for content in [b"", b"[]", b'{"lock_version":2,"models":[]}', b'{"lock_version":1,"models":[{"name":"../x"}]}',
                        b'{"lock_version":1,"models":[{"name":"o/m","revision":"main","files":[]}]}']:
            path = self.write("bad.lock", content)
            with self.subTest(content):
                self.assertEqual(self.run_program("verify", "--lock", path).returncode, 1)
                self.pull("--locked", path, code=1)

    def test_a_workspace_is_verified_by_its_own_hashes(self):
        folder = os.path.join(self.home, "ws")
        for path, content in self.files.items():
            self.write(f"ws/{path}", content)
        self.write("ws/.mlxk_workspace.json", b'{"managed": true, "hash_algorithm": "v2"}')
        self.run_json("show", folder, "--recalc-hash", "--json")
        self.assertEqual(set(self.states(folder).values()), {"ok"})
        self.write("ws/config.json", b'{"model_type": "lxama"}')
        self.assertEqual(self.states(folder, code=1)["config.json"], "wrong")


if __name__ == "__main__":
    unittest.main()

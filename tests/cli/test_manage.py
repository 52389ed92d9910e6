"""rm, du, prune and doctor on a cache of Hugging Face's layout."""
import fcntl
import json
import os
import unittest

from program import ProgramTest

A, B = "a" * 40, "b" * 40


class Cache(ProgramTest):
    def setUp(self):
        super().setUp()
        self.hub = os.path.join(self.home, "hf", "hub")

    def folder(self, name):
        return os.path.join(self.hub, "models--" + name.replace("/", "--"))

    def add_file(self, name, revision, path, blob, content=b"x"):
        folder = self.folder(name)
        os.makedirs(os.path.join(folder, "blobs"), exist_ok=True)
        os.makedirs(os.path.join(folder, "snapshots", revision), exist_ok=True)
        with open(os.path.join(folder, "blobs", blob), "wb") as file:
            file.write(content)
        os.symlink(f"../../blobs/{blob}", os.path.join(folder, "snapshots", revision, path))

    def add_model(self, name, revision=A):
        self.add_file(name, revision, "config.json", "c", b'{"model_type":"llama"}')
        self.add_file(name, revision, "model.safetensors", "w-" + revision[:4], b"1234")

    def lock(self, name):
        folder = os.path.join(self.hub, ".locks", os.path.basename(self.folder(name)))
        os.makedirs(folder, exist_ok=True)
        file = open(os.path.join(folder, "c.lock"), "w")
        self.addCleanup(file.close)
        return file


class Rm(Cache):
    def test_removes_a_whole_model_and_its_locks(self):
        self.add_model("org/m")
        self.lock("org/m")  # a lock file that nobody holds does not block
        data = self.run_json("rm", "org/m", "--json")["data"]
        self.assertEqual(data["action"], "deleted")
        self.assertEqual(data["message"], "Deleted entire model org/m")
        self.assertEqual(data["lock_files_cleaned"], 1)
        self.assertEqual(os.listdir(self.hub), [".locks"])
        self.assertEqual(os.listdir(os.path.join(self.hub, ".locks")), [])

    def test_removes_one_snapshot_alone(self):
        self.add_model("org/m", A)
        os.makedirs(os.path.join(self.folder("org/m"), "snapshots", B))
        os.symlink("../../blobs/c", os.path.join(self.folder("org/m"), "snapshots", B, "config.json"))
        data = self.run_json("rm", "org/m@aaaa", "--json")["data"]
        self.assertEqual((data["commit_hash"], data["message"]), (A, "Deleted org/m@aaaaaaaa"))
        self.assertEqual(os.listdir(os.path.join(self.folder("org/m"), "snapshots")), [B])
        self.assertEqual(os.listdir(os.path.join(self.folder("org/m"), "blobs")), ["c"])

    def test_a_missing_revision_deletes_nothing_and_names_what_is_there(self):
        self.add_model("org/m")
        document = self.run_json("rm", "org/m@ffff", "--json", code=1)
        self.assertEqual(document["error"]["type"], "hash_not_found")
        self.assertEqual(document["error"]["available_hashes"], ["aaaaaaaa"])
        self.assertTrue(os.path.exists(self.folder("org/m")))

    def test_never_deletes_by_a_part_of_a_name(self):
        self.add_model("org/model-one")
        data = self.run_json("rm", "model-on", "--json")["data"]
        self.assertEqual(data["action"], "requires_confirmation")
        self.assertTrue(data["requires_confirmation"])
        self.assertEqual(data["message"], "Would delete 'org/model-one' (matched from 'model-on'); to delete it, give the full name")
        self.assertIn("give the full name", self.run_program("rm", "model-on", "--dry-run").stdout.decode())
        self.assertEqual(self.run_json("rm", "--force", "model-on", "--json", code=1)["error"]["type"], "ValidationError")
        self.assertTrue(os.path.exists(self.folder("org/model-one")))

    def test_force_takes_the_short_name_of_mlx_community(self):
        self.add_model("mlx-community/m")
        data = self.run_json("rm", "m", "--json")["data"]
        self.assertEqual(data["action"], "requires_confirmation")
        self.assertTrue(data["message"].endswith("give the full name or add --force"), data["message"])
        self.assertEqual(self.run_json("rm", "m", "-f", "--json")["data"]["action"], "deleted")
        self.assertFalse(os.path.exists(self.folder("mlx-community/m")))

    def test_an_ambiguous_name_lists_its_matches(self):
        self.add_model("a/m1")
        self.add_model("b/m2")
        document = self.run_json("rm", "m", "-f", "--json", code=1)
        self.assertEqual(document["error"]["type"], "ambiguous_match")
        self.assertEqual(document["data"]["matches"], ["a/m1", "b/m2"])
        self.assertEqual(document["data"]["action"], "ambiguous")

    def test_a_held_lock_blocks_until_forced(self):
        self.add_model("org/m")
        lock = self.lock("org/m")
        fcntl.flock(lock, fcntl.LOCK_EX)
        document = self.run_json("rm", "org/m", "--json", code=1)
        self.assertEqual(document["error"]["type"], "locks_present")
        self.assertEqual(document["data"]["lock_files"], [lock.name])
        self.assertTrue(os.path.exists(self.folder("org/m")))
        self.assertEqual(self.run_json("rm", "org/m", "--force", "--json")["data"]["action"], "deleted")

    def test_refuses_a_workspace(self):
        path = os.path.dirname(self.write("ws/config.json", b"{}"))
        document = self.run_json("rm", path, "--json", code=1)
        self.assertEqual(document["error"]["type"], "workspace_model")
        self.assertIn(f"rm -rf {path}", document["error"]["message"])

    def test_says_what_would_go(self):
        self.add_model("org/m")
        done = self.run_program("rm", "org/m", "--dry-run")
        self.assertEqual(done.stdout.decode(), "rm: org/m — delete_model: Would delete 'org/m'\n  4 files, 26B\n")
        self.assertTrue(os.path.exists(self.folder("org/m")))

    def test_the_switch_for_tests_keeps_a_users_cache(self):
        self.add_model("org/m")
        document = self.run_json("rm", "org/m", "--json", code=1, env={"MLXK2_STRICT_TEST_DELETE": "1"})
        self.assertEqual(document["error"]["type"], "permission_denied")
        self.assertTrue(os.path.exists(self.folder("org/m")))

    def test_names_that_could_leave_the_cache_are_refused(self):
        for name in ["../x", "a/../../x", "org/m@../..", "-x", "a\nb"]:
            with self.subTest(name):
                self.assertEqual(self.run_program("rm", "--json", "--", name).returncode, 1)


class DuAndPrune(Cache):
    def setUp(self):
        super().setUp()
        self.add_model("org/m")
        blobs = os.path.join(self.folder("org/m"), "blobs")
        self.orphan, self.partial = os.path.join(blobs, "orphan"), os.path.join(blobs, "etag.incomplete")
        for path in (self.orphan, self.partial):
            with open(path, "wb") as file:
                file.write(b"12345")

    def test_du_counts_a_blob_once(self):
        data = self.run_json("du", "--json")["data"]
        self.assertEqual(data["models"], [{"name": "org/m", "snapshots": 1, "bytes": 36, "orphan_bytes": 5, "partial_bytes": 5}])
        self.assertGreater(data["free_bytes"], 0)
        self.assertIn("mlxk prune would free 10B", self.run_program("du").stdout.decode())

    def test_prune_frees_what_nobody_uses(self):
        dry = self.run_json("prune", "--dry-run", "--json")["data"]
        self.assertEqual(dry["bytes"], 10)
        self.assertTrue(os.path.exists(self.orphan))
        self.assertEqual(self.run_json("prune", "--json")["data"]["bytes"], 10)
        self.assertFalse(os.path.exists(self.orphan) or os.path.exists(self.partial))
        self.assertEqual(self.run_json("health", "org/m", "--json")["data"]["summary"]["total"], 1)

    def test_prune_leaves_a_running_download_alone(self):
        fcntl.flock(self.lock("org/m"), fcntl.LOCK_EX)
        self.assertEqual(self.run_json("prune", "--json")["data"]["skipped"], ["org/m"])
        self.assertTrue(os.path.exists(self.partial))


class Doctor(Cache):
    def checks(self, **env):
        done = self.run_program("doctor", "--json", env=env)
        data = json.loads(done.stdout)["data"]
        self.assertEqual(done.returncode, 0 if data["healthy"] else 1)
        return {check["name"]: check for check in data["checks"]}

    def test_names_what_is_wrong_and_what_helps(self):
        self.add_model("org/m")
        self.write("hf/hub/models--org--m/blobs/etag.incomplete", b"12345")
        checks = self.checks(MLXK_MEMORY_LIMIT="lots", MLXK_WORKSPACE_HOME="/nowhere")
        self.assertEqual(checks["memory"]["status"], "error")
        self.assertIn("lots", checks["memory"]["message"])
        self.assertEqual(checks["workspaces"]["status"], "warning")
        self.assertEqual(checks["unused"]["message"], "5B in unfinished downloads and unused blobs")
        self.assertIn("1 model in ", checks["cache"]["message"])
        self.assertEqual((checks["models"]["status"], checks["models"]["message"]), ("warning", "1 of 1 model unhealthy"))

    def test_a_cache_that_is_a_file_is_an_error(self):
        path = self.write("file", b"")
        self.assertEqual(self.checks(HF_HUB_CACHE=path)["cache"]["status"], "error")

    def test_never_prints_the_token(self):
        self.assertNotIn(b"hf_secret", self.run_program("doctor", env={"HF_TOKEN": "hf_secret"}).stdout)


if __name__ == "__main__":
    unittest.main()

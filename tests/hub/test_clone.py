"""clone against a hub on loopback."""
import json
import os
import signal
import unittest

from hub_case import HubTest, model

NAME = "org/model"


class Clone(HubTest):
    def setUp(self):
        super().setUp()
        self.files = model(2_000_000)
        self.commit = self.hub.add(NAME, self.files)
        self.target = os.path.join(self.home, "work", "mine")
        os.mkdir(os.path.dirname(self.target))

    def assert_cloned(self, files=None, commit=None):
        found = self.files_in(self.target)
        sentinel = json.loads(found.pop(".mlxk_workspace.json"))
        self.assertEqual(found, files or self.files)
        self.assertEqual((sentinel["source_repo"], sentinel["source_revision"], sentinel["operation"], sentinel["managed"]),
                         (NAME, commit or self.commit, "clone", True))
        self.assertTrue(sentinel["content_hash"].startswith("sha256:"))
        self.assertFalse(any(os.path.islink(os.path.join(self.target, path)) for path in found))
        self.assertEqual(os.listdir(os.path.dirname(self.target)), ["mine"])  # nothing temporary is left

    def test_makes_a_clean_workspace_and_leaves_the_cache_alone(self):
        data = self.run_json("clone", NAME, self.target, "--json")["data"]
        self.assertEqual((data["clone_status"], data["target_dir"], data["health"]), ("success", self.target, "healthy"))
        self.assert_cloned()
        self.assertEqual(os.listdir(self.cache), [])
        shown = self.run_json("list", self.target, "--json")["data"]["models"][0]
        self.assertEqual((shown["clean"], shown["origin"]), (True, NAME))

    def test_a_branch_is_that_branch(self):
        other = {**self.files, "config.json": b'{"model_type": "qwen3"}'}
        commit = self.hub.add(NAME, other, branch="dev")
        self.run_json("clone", NAME, self.target, "--branch", "dev", "--json")
        self.assert_cloned(other, commit)

    def test_a_model_that_the_cache_has_is_copied_not_downloaded(self):
        self.pull(NAME)
        before = len(self.hub.requests("/blobs/", "cdn"))
        self.run_json("clone", NAME, self.target, "--json")
        self.assertEqual(len(self.hub.requests("/blobs/", "cdn")), before)
        self.assert_cloned()
        with open(os.path.join(self.target, "model.safetensors"), "r+b") as file:
            file.write(b"changed")
        self.assertEqual(self.files_in(self.snapshot(NAME, self.commit)), self.files)

    def test_offline_takes_what_the_cache_has(self):
        self.pull(NAME)
        before = len(self.hub.requests())
        self.run_json("clone", NAME, self.target, "--json", env={"HF_HUB_OFFLINE": "1"})
        self.assertEqual(len(self.hub.requests()), before)
        self.assert_cloned()

    def test_a_bare_name_lies_in_the_workspace_home(self):
        home = {"MLXK_WORKSPACE_HOME": os.path.dirname(self.target)}
        self.run_json("clone", NAME, "mine", "--json", env=home)
        self.assert_cloned()
        data = self.run_json("clone", NAME, "--json", env=home)["data"]
        self.assertEqual(data["target_dir"], os.path.join(os.path.dirname(self.target), "model"))

    def test_goes_on_after_a_kill(self):
        self.hub.fault("/blobs/.*", drip=(2_000, 0.05), times=100)
        process = self.start("clone", NAME, self.target)
        self.wait_until(lambda: self.partial_bytes() > 50_000)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        self.assertFalse(os.path.exists(self.target))
        had = self.partial_bytes()
        self.hub.faults.clear()
        self.run_json("clone", NAME, self.target, "--json")
        self.assert_cloned()
        self.assertGreater(had, 0)

    def partial_bytes(self):
        total = 0
        for parent, _, names in os.walk(os.path.dirname(self.target)):
            total += sum(os.path.getsize(os.path.join(parent, name)) for name in names if "incomplete" in name)
        return total

    def test_an_interrupt_says_how_to_go_on(self):
        self.hub.fault("/blobs/.*", drip=(2_000, 0.05), times=100)
        process = self.start("clone", NAME, self.target, "--json")
        self.wait_until(lambda: self.partial_bytes() > 0)
        self.interrupt(process)
        self.assertEqual(process.returncode, 130)
        document = json.loads(process.stdout.read())
        self.assertEqual((document["error"]["type"], document["data"]["clone_status"]), ("UserCancelledError", "cancelled"))
        self.assertFalse(os.path.exists(self.target))

    def test_targets_that_cannot_be(self):
        self.write("work/full/x", b"")
        self.write("work/file", b"")
        for target in ["work/full", "work/file", "work/no/parent", os.path.join(self.cache, "x")]:
            with self.subTest(target):
                document = self.run_json("clone", NAME, target, "--json", code=1)
                self.assertEqual(document["error"]["type"], "InvalidTargetError")
        self.assertEqual(self.hub.requests(), [])
        done = self.run_program("clone", NAME)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"Target directory required.", done.stderr)

    def test_a_model_that_is_not_there_leaves_nothing(self):
        document = self.run_json("clone", "org/absent", self.target, "--json", code=1)
        self.assertEqual((document["error"]["type"], document["data"]["clone_status"]), ("access_denied", "pull_failed"))
        self.assertEqual(os.listdir(os.path.dirname(self.target)), [])

    def test_a_broken_model_is_cloned_and_named_unhealthy(self):
        self.hub.add(NAME, {**self.files, "model.safetensors": b""})
        done = self.run_program("clone", NAME, self.target)
        self.assertEqual(done.returncode, 0)
        self.assertIn("⚠ unhealthy:", done.stdout.decode())


if __name__ == "__main__":
    unittest.main()

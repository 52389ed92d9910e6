"""push against a hub on loopback, which huggingface_hub accepts as one, too."""
import importlib.util
import json
import os
import unittest

import push_routes  # noqa: F401 (adds its routes to the hub)
from hub_case import HubTest, model

NAME = "org/mine"


class Push(HubTest):
    def setUp(self):
        super().setUp()
        self.env["HF_TOKEN"] = self.hub.token
        self.folder = os.path.join(self.home, "ws")
        self.files = model(900_000)  # in five parts, the last one short
        self.files["sub/notes.txt"] = b"n\n"
        for path, content in self.files.items():
            self.write(f"ws/{path}", content)

    def on_hub(self, branch="main", name=NAME):
        repo = self.hub.repos[name]
        return {path: content for path, content in repo.commits[repo.refs[branch]].items() if path != ".gitattributes"}

    def push(self, *args, **kwargs):
        done = self.run_program("push", self.folder, NAME, *args, "--json", **{k: v for k, v in kwargs.items() if k != "code"})
        self.assertEqual(done.returncode, kwargs.get("code", 0), done.stdout.decode())
        document = json.loads(done.stdout)
        self.assert_valid(document)
        self.assertNotIn("secret", json.dumps(document))
        return document

    def create(self):
        return self.push("--private", "--create")["data"]

    def test_makes_a_private_repository_with_all_files_in_one_commit(self):
        data = self.create()
        self.assertTrue(data["created_repo"] and self.hub.repos[NAME].private)
        self.assertEqual(self.on_hub(), self.files)
        self.assertEqual(len(self.hub.repos[NAME].commits), 2)  # the first is the hub's own
        self.assertEqual(data["commit_sha"], self.hub.repos[NAME].refs["main"])
        self.assertEqual(data["change_summary"], {"added": 5, "modified": 0, "deleted": 0})
        self.assertEqual(self.hub.repos[NAME].messages[data["commit_sha"]], "mlx-knife push")
        self.assertEqual([r for r in self.hub.requests("", "cdn") if "Authorization" in r.headers], [])

    def test_what_was_pushed_can_be_pulled(self):
        self.create()
        self.pull(NAME)
        self.assertEqual(self.run_json("verify", NAME, "--hub", "--json")["data"]["verified"], True)

    def test_sends_only_what_changed(self):
        self.create()
        self.assertTrue(self.push("--private")["data"]["no_changes"])
        self.write("ws/config.json", b'{"model_type": "qwen3"}')
        before = len(self.hub.requests("", "cdn"))
        data = self.push("--private", "--commit", "another type")["data"]
        self.assertEqual(data["change_summary"], {"added": 0, "modified": 1, "deleted": 0})
        self.assertEqual(len(self.hub.requests("", "cdn")), before)
        self.assertEqual(self.on_hub()["config.json"], b'{"model_type": "qwen3"}')
        self.assertEqual(self.hub.repos[NAME].messages[data["commit_sha"]], "another type")

    def test_a_dry_run_tells_what_would_change_and_changes_nothing(self):
        data = self.push("--private", "--create", "--dry-run")["data"]
        self.assertEqual((data["would_create_repo"], data["dry_run_summary"]["added"]), (True, 5))
        self.assertNotIn(NAME, self.hub.repos)
        self.create()
        head = self.hub.repos[NAME].refs["main"]
        self.write("ws/new.txt", b"new")
        self.write("ws/README.md", b"# changed\n")
        os.remove(os.path.join(self.folder, "tokenizer.json"))
        data = self.push("--private", "--dry-run")["data"]
        self.assertEqual((data["added_files"], data["modified_files"], data["deleted_files"], data["kept_files"]),
                         (["new.txt"], ["README.md"], [], ["tokenizer.json"]))
        data = self.push("--private", "--dry-run", "--delete")["data"]
        self.assertEqual((data["dry_run_summary"], data["deleted_files"]),
                         ({"added": 1, "modified": 1, "deleted": 1}, ["tokenizer.json"]))
        self.assertEqual(self.hub.repos[NAME].refs["main"], head)

    def test_removes_what_is_gone_only_when_asked(self):
        self.create()
        os.remove(os.path.join(self.folder, "tokenizer.json"))
        self.assertTrue(self.push("--private")["data"]["no_changes"])
        self.push("--private", "--delete")
        self.assertNotIn("tokenizer.json", self.on_hub())

    def test_a_branch_of_its_own(self):
        self.create()
        self.write("ws/README.md", b"# dev\n")
        self.assertEqual(self.push("--private", "--branch", "dev", code=1)["error"]["type"], "branch_not_found")
        self.push("--private", "--branch", "dev", "--create")
        self.assertEqual((self.on_hub("dev")["README.md"], self.on_hub()["README.md"]), (b"# dev\n", b"# a model\n"))

    def test_paths_of_this_machine_stay_here(self):
        sentinel = {"managed": True, "source_repo": "/home/me/secret.gguf", "operation": "convert", "n": 1}
        config = {"model_type": "llama", "_name_or_path": "/home/me/secret", "text_config": {"name_or_path": "~/secret"}}
        tokenizer = {"name_or_path": "org/base", "special_tokens_map_file": "/root/.cache/secret.json"}
        names = {".mlxk_workspace.json": sentinel, "config.json": config, "tokenizer_config.json": tokenizer}
        for name, document in names.items():
            self.write(f"ws/{name}", json.dumps(document).encode())
        self.create()
        there = self.on_hub()
        for name in names:
            self.assertNotIn(b"secret", there[name])
        self.assertEqual(json.loads(there[".mlxk_workspace.json"]), {"managed": True, "operation": "convert", "n": 1})
        self.assertEqual(json.loads(there["config.json"]), {"model_type": "llama", "text_config": {}})
        self.assertEqual(json.loads(there["tokenizer_config.json"]), {"name_or_path": "org/base"})
        self.assertTrue(self.push("--private")["data"]["no_changes"])
        sentinel["source_repo"] = "org/base"  # a name on the hub is not a path
        self.write("ws/.mlxk_workspace.json", json.dumps(sentinel).encode())
        self.push("--private")
        self.assertEqual(self.on_hub()[".mlxk_workspace.json"], json.dumps(sentinel).encode())

    def test_ignores_what_is_no_part_of_a_model(self):
        for path in [".git/config", "a/__pycache__/x.pyc", ".DS_Store", "venv/bin/x", "secret.key", "logs/1.txt"]:
            self.write(f"ws/{path}", b"x")
        self.write("ws/.hfignore", b"# private\n*.key\nlogs/\n")
        self.create()
        self.assertEqual(self.on_hub(), self.files)

    def test_needs_a_token_a_repository_and_a_word_on_privacy(self):
        self.assertEqual(self.push("--private", code=1, env={"HF_TOKEN": ""})["error"]["type"], "auth_error")
        self.assertEqual(self.push("--private", code=1)["error"]["type"], "repo_not_found")
        self.push("--create", code=2)
        self.assertNotIn(NAME, self.hub.repos)
        self.assertEqual(self.push("--private", "--create", code=1, env={"HF_TOKEN": "hf_secret_wrong"})["error"]["type"], "access_denied")

    def test_a_commit_made_meanwhile_is_not_overwritten(self):
        self.create()
        self.write("ws/README.md", b"# mine\n")
        self.hub.fault("POST hub /api/models/.*/commit", status=412, text=b"{}")
        self.assertEqual(self.push("--private", code=1)["error"]["type"], "upload_failed")
        self.assertEqual(self.on_hub()["README.md"], b"# a model\n")

    def test_goes_on_over_a_stumbling_store(self):
        self.hub.fault("PUT cdn", status=503, times=2)
        self.hub.fault("POST hub .*batch", status=429, retry_after=0, times=1)
        self.create()
        self.assertEqual(self.on_hub(), self.files)

    def test_a_link_that_leaves_the_folder_is_refused(self):
        self.write("outside.txt", b"private")
        os.symlink("../outside.txt", os.path.join(self.folder, "leak.txt"))
        self.assertIn("leak.txt", self.push("--private", "--create", code=1)["error"]["message"])
        self.assertNotIn(NAME, self.hub.repos)

    def test_check_only_asks_nobody(self):
        env = {"HF_TOKEN": "", "HF_HUB_OFFLINE": "1"}
        health = self.push("--check-only", env=env)["data"]["workspace_health"]
        self.assertTrue(health["healthy"])
        self.assertEqual((health["files_count"], health["weights"]["count"], health["weights"]["formats"]), (5, 1, ["safetensors"]))
        self.write("ws/model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        self.write("ws/config.json", b"{")
        self.write("ws/model.safetensors.index.json", b'{"weight_map": {"w": "model-00001-of-00002.safetensors"}}')
        self.write("ws/x.tmp", b"")
        health = self.push("--check-only", env=env)["data"]["workspace_health"]
        self.assertFalse(health["healthy"])
        self.assertEqual({anomaly["code"] for anomaly in health["anomalies"]},
                         {"config_invalid_json", "lfs_pointer_detected", "index_missing_shard", "partial_marker"})
        self.assertEqual(self.hub.requests(), [])

    @unittest.skipUnless(importlib.util.find_spec("huggingface_hub"), "huggingface_hub is not installed")
    def test_the_hub_of_these_tests_is_one_to_huggingface_hub(self):
        os.environ["HF_HUB_DISABLE_XET"] = "1"
        from huggingface_hub import HfApi
        api = HfApi(endpoint=self.hub.url, token=self.hub.token)
        api.create_repo("org/theirs", private=True)
        api.upload_folder(repo_id="org/theirs", folder_path=self.folder)
        self.assertEqual(self.on_hub(name="org/theirs"), self.files)


if __name__ == "__main__":
    unittest.main()

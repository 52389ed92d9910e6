"""mlxk pull against a hub that behaves: names, revisions, choice of files, output, the environment."""
import json
import os
import pty
import re
import subprocess
import time
import unittest

from hub_case import HubTest, PROGRAM, model, safetensors
from program import error


class Pull(HubTest):
    def test_brings_every_file_and_the_ref(self):
        files = model(**{"sub/dir/notes.txt": b"hi", "empty": b"", "copy.json": b'{"model_type": "llama"}'})
        commit = self.hub.add("org/model", files)
        out, err = self.pull("org/model")
        self.assertEqual(out, f"pull: org/model — Downloaded to {self.snapshot('org/model', commit)}\n")
        self.assertIn("pull: model.safetensors\n", err)
        self.assert_pulled("org/model", commit, files)

    def test_fetches_a_large_file_in_ranges_and_asks_for_each_byte_once(self):
        self.hub.add("org/model", model())
        self.pull("org/model")
        ranges = sorted(tuple(map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", r.headers["Range"]).groups()))
                        for r in self.hub.requests("/blobs/", "cdn"))
        self.assertEqual(len(ranges), 8)
        self.assertEqual(ranges[0][0], 0)
        for (_, end), (start, _) in zip(ranges, ranges[1:]):
            self.assertEqual(start, end + 1)

    def test_knows_what_is_there_without_asking_the_hub(self):
        commit = self.hub.add("org/model", model())
        self.pull("org/model")
        asked = len(self.hub.log)
        document = self.run_json("pull", "org/model", "--json")
        self.assertEqual(document["data"], {
            "model": "org/model", "download_status": "already_exists", "message": "Model org/model already exists in cache",
            "expanded_name": None, "commit_hash": commit})
        self.assertEqual(len(self.hub.log), asked)

    def test_as_json_prints_the_document_and_nothing_else(self):
        commit = self.hub.add("org/model", model())
        done = self.run_program("pull", "org/model", "--json")
        self.assertEqual(done.stderr, b"")
        document = json.loads(done.stdout)
        self.assertEqual((document["status"], document["command"], document["error"]), ("success", "pull", None))
        data = document["data"]
        self.assertEqual(data["download_status"], "success")
        self.assertEqual(data["message"], f"Downloaded to {self.snapshot('org/model', commit)}")
        self.assertEqual((data["commit_hash"], data["path"]), (commit, self.snapshot("org/model", commit)))
        self.assertEqual(data["downloaded_bytes"], sum(map(len, model().values())))

    def test_a_new_commit_comes_with_force_and_only_its_new_files(self):
        files = model()
        first = self.hub.add("org/model", files)
        self.pull("org/model")
        second = self.hub.add("org/model", {**files, "README.md": b"# anew\n"})
        before = len(self.hub.requests("/resolve/"))
        self.pull("org/model", "--force-resume")
        self.assertEqual(len(self.hub.requests("/resolve/")), before + 1)
        self.assert_pulled("org/model", second, {**files, "README.md": b"# anew\n"})
        self.assert_pulled("org/model", first, files, ref=None)

    def test_a_name_that_is_part_of_a_cached_one_is_another_model(self):
        self.hub.add("org/plain", model(seed=1))
        commit = self.hub.add("org/pla", model(seed=2))
        self.pull("org/plain")
        self.pull("org/pla")
        self.assert_pulled("org/pla", commit, model(seed=2))

    def test_a_short_name_means_mlx_community_unless_the_hub_has_it(self):
        commit = self.hub.add("mlx-community/tiny", model())
        document = self.run_json("pull", "tiny", "--json")
        self.assertEqual((document["data"]["model"], document["data"]["expanded_name"]), ("mlx-community/tiny",) * 2)
        self.assert_pulled("mlx-community/tiny", commit, model())
        self.assertEqual(self.run_json("pull", "tiny", "--json")["data"]["download_status"], "already_exists")
        commit = self.hub.add("gpt", model(seed=3))
        self.hub.add("mlx-community/gpt", model(seed=4))
        self.pull("gpt")
        self.assert_pulled("gpt", commit, model(seed=3))


class Revisions(HubTest):
    def setUp(self):
        super().setUp()
        self.old = self.hub.add("org/model", model(seed=1))
        self.new = self.hub.add("org/model", model(seed=2))
        self.tag = self.hub.add("org/model", model(seed=3), branch="refs/pr/1")

    def test_a_commit_leaves_no_ref(self):
        self.pull("org/model@" + self.old)
        self.assert_pulled("org/model", self.old, model(seed=1), ref=None)
        self.assertFalse(os.path.exists(os.path.join(self.repo("org/model"), "refs")))

    def test_a_branch_has_its_own_ref(self):
        self.pull("org/model@refs/pr/1")
        self.assert_pulled("org/model", self.tag, model(seed=3), ref="refs/pr/1")

    def test_another_revision_of_a_cached_model_is_pulled(self):
        self.pull("org/model")
        self.pull("org/model@" + self.old)
        self.assert_pulled("org/model", self.new, model(seed=2))
        self.assert_pulled("org/model", self.old, model(seed=1), ref=None)
        document = self.run_json("pull", f"org/model@{self.old[:8]}", "--json")
        self.assertEqual((document["data"]["download_status"], document["data"]["commit_hash"]), ("already_exists", self.old))

    def test_one_that_is_not_there_is_an_error(self):
        document = self.run_json("pull", "org/model@nope", "--json", code=1)
        self.assertEqual(document["error"]["message"], "Revision 'nope' not found for model 'org/model'")
        self.assertEqual(document["data"]["download_status"], "failed")
        self.assertFalse(os.path.exists(self.repo("org/model")))


class Names(HubTest):
    def test_what_the_hub_cannot_have_is_refused_without_asking_it(self):
        long = "org/" + "x" * 93
        for name in (long, "/org/x", "org/x/", "org//x"):
            message = "Invalid model name: must be <= 96 chars and not contain leading/trailing or double slashes"
            document = self.run_json("pull", name, "--json", code=1)
            self.assertEqual(document["error"], {"type": "ValidationError", "message": message})
        self.assertEqual(self.run_json("pull", "", "--json", code=1)["error"]["message"], "Invalid model name: empty")
        for name in ("../x", "org/..", "./x", "a/b/c", "org/x\ny", "org/x@../../refs", "org/x@a//b", "org/x@", "org/ä", "org/x%2e%2e",
                     "org/a--b"):
            document = self.run_json("pull", name, "--json", code=1)
            self.assertEqual(document["error"]["type"], "ValidationError", name)
        self.run_json("pull", "--json", "--", "-org/x", code=1)
        self.assertEqual(self.hub.log, [])
        self.assertEqual(os.listdir(self.cache), [])


class Choice(HubTest):
    def test_include_and_exclude(self):
        files = {"a.json": b"1", "b.json": b"2", "sub/c.json": b"3", "w.bin": b"4"}
        commit = self.hub.add("org/model", files)
        self.pull("org/model", "--include", "*.json", "--exclude", "b*", "--exclude", "nothing")
        self.assert_pulled("org/model", commit, {"a.json": b"1", "sub/c.json": b"3"})
        self.pull("org/model", "--include", "b.json")
        self.assert_pulled("org/model", commit, {"a.json": b"1", "b.json": b"2", "sub/c.json": b"3"})
        document = self.run_json("pull", "org/model", "--include", "*.gguf", "--json", code=1)
        self.assertIn("--include and --exclude select no file of 'org/model'", document["error"]["message"])

    def test_a_model_that_lacks_files_is_completed_by_a_plain_pull(self):
        commit = self.hub.add("org/model", model())
        self.pull("org/model", "--exclude", "README.md")
        _, err = self.pull("org/model")
        self.assertIn("org/model: 1 file missing; completing it\n", err)
        self.assert_pulled("org/model", commit, model())
        self.assertIn("already exists", self.pull("org/model")[0])

    def test_without_symbolic_links_the_files_themselves_stand_in_the_snapshot(self):
        files = {**model(), "again.json": b'{"model_type": "llama"}'}
        commit = self.hub.add("org/model", files)
        env = {"HF_HUB_DISABLE_SYMLINKS": "1"}
        self.pull("org/model", env=env)
        self.assertEqual(self.files_in(self.snapshot("org/model", commit)), files)
        for name in files:
            self.assertFalse(os.path.islink(os.path.join(self.snapshot("org/model", commit), name)))
        self.assertEqual(os.listdir(os.path.join(self.repo("org/model"), "blobs")), [])
        asked = len(self.hub.requests("/resolve/"))
        self.pull("org/model", "--force-resume", env=env)
        self.pull("org/model", "--force-resume")
        self.assertEqual(len(self.hub.requests("/resolve/")), asked, "nothing is fetched twice")
        self.assertEqual(self.run_json("health", "org/model", "--json")["data"]["summary"]["healthy_count"], 1)
        second = self.hub.add("org/model", {**files, "README.md": b"# anew\n"})
        self.pull("org/model", "--force-resume")
        self.pull("org/model@" + commit, "--force-resume", env=env)
        self.assertEqual(self.files_in(self.snapshot("org/model", second)), {**files, "README.md": b"# anew\n"})
        self.assertEqual(self.files_in(self.snapshot("org/model", commit)), files)

    def test_dry_run_writes_nothing(self):
        self.hub.add("org/model", model())
        out, _ = self.pull("org/model", "--dry-run")
        self.assertIn("File              | Size  | Cached\n", out)
        self.assertIn("model.safetensors | 2.0MB | -", out)
        self.assertIn("Total: 4 files, 2.0MB; 2.0MB to download\n", out)
        self.assertIn("Disk: fits (", out)
        self.assertIn("Memory: fits (2.0MB of weights, ", out)
        self.assertEqual(os.listdir(self.cache), [])
        data = self.run_json("pull", "org/model", "--dry-run", "--json", env={"MLXK_MEMORY_LIMIT": "2000000"})["data"]
        self.assertEqual((data["download_status"], data["fits_disk"], data["fits_memory"]), ("dry_run", True, False))
        self.assertEqual(data["files"][0], {"name": "README.md", "size_bytes": 10, "cached": False})
        self.assertEqual(data["download_bytes"], data["total_bytes"])

    def test_dry_run_of_a_cached_model_has_nothing_to_download(self):
        self.hub.add("org/model", model())
        self.pull("org/model")
        data = self.run_json("pull", "org/model", "--dry-run", "--json")["data"]
        self.assertEqual(data["download_bytes"], 0)
        self.assertTrue(all(file["cached"] for file in data["files"]))


class Broken(HubTest):
    """A model in the cache that is incomplete."""

    def setUp(self):
        super().setUp()
        self.commit = self.hub.add("org/model", model())
        self.pull("org/model")
        os.remove(os.path.join(self.snapshot("org/model", self.commit), "config.json"))

    def test_is_completed_without_being_asked(self):
        out, err = self.pull("org/model")
        self.assertIn("org/model: 1 file missing; completing it\n", err)
        self.assertIn("Downloaded to", out)
        self.assert_pulled("org/model", self.commit, model())

    def test_is_completed_as_json(self):
        document = self.run_json("pull", "org/model", "--json")
        self.assertEqual((document["status"], document["data"]["download_status"]), ("success", "success"))
        self.assert_pulled("org/model", self.commit, model())

    def test_an_interrupted_pull_that_cannot_go_on_is_no_success(self):
        document = self.run_json("pull", "org/model", "--json", code=1, env={"HF_HUB_OFFLINE": "1"})
        self.assertEqual(document["status"], "error")
        self.hub.fault("/api/models/", status=503, retry_after=3600, times=None)
        begin = time.monotonic()
        document = self.run_json("pull", "org/model", "--json", code=1)
        self.assertIn("503 and asks to wait 3600 s", document["error"]["message"])
        self.assertLess(time.monotonic() - begin, 60)

    def test_a_blob_of_the_wrong_length_is_fetched_again(self):
        blob = os.path.realpath(os.path.join(self.snapshot("org/model", self.commit), "model.safetensors"))
        with open(blob, "ab") as file:
            file.truncate(1000)
        self.pull("org/model", "--force-resume")
        self.assert_pulled("org/model", self.commit, model())


class Access(HubTest):
    def refusal(self, *args, **kwargs):
        document = self.run_json("pull", *args, "--json", code=1, **kwargs)
        self.assertEqual((document["error"]["type"], document["data"]["download_status"]), ("access_denied",) * 2)
        self.assertEqual(os.listdir(self.cache), [])
        self.assertNotIn("secret", json.dumps(document))
        return document["error"]["message"]

    def test_unknown_model(self):
        self.assertEqual(self.refusal("org/nope"), "Access denied or not found for 'org/nope'.")
        self.assertEqual(self.refusal("nope"), "Access denied or not found for 'nope'.")

    def test_private_model_needs_the_token(self):
        commit = self.hub.add("org/model", model(), private=True)
        self.assertEqual(self.refusal("org/model"), "Access denied or not found for 'org/model'.")
        self.pull("org/model", env={"HF_TOKEN": self.hub.token})
        self.assert_pulled("org/model", commit, model())

    def test_gated_model_needs_the_terms(self):
        self.hub.add("org/model", model(), gated="manual")
        message = "Access denied: gated/private model 'org/model'. Accept terms and set HF_TOKEN."
        self.assertEqual(self.refusal("org/model"), message)
        _, err = self.pull("org/model", code=1)
        self.assertIn(f"pull: Error: {message}\naccept the terms at {self.hub.url}/org/model", err)
        self.pull("org/model", env={"HF_TOKEN": self.hub.token})

    def test_a_wrong_token_is_named_but_not_shown(self):
        self.hub.add("org/model", model())
        message = self.refusal("org/model", env={"HF_TOKEN": "hf_secret_but_wrong"})
        self.assertEqual(message, "Access denied to model 'org/model'. Set HF_TOKEN.")
        _, err = self.pull("org/model", code=1, env={"HF_TOKEN": "hf_secret_but_wrong"})
        self.assertIn("Invalid credentials in Authorization header (Bearer …)", err)

    def test_token_of_the_environment_and_of_the_file(self):
        for place in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME"):
            with self.subTest(place):
                self.hub.add("org/" + place, {"a": b"x"}, private=True)
                env = {place: self.hub.token}
                if place in ("HF_TOKEN_PATH", "HF_HOME"):
                    path = self.write("hf/token" if place == "HF_HOME" else "elsewhere", self.hub.token.encode() + b"\n")
                    env = {"HF_TOKEN_PATH": path} if place == "HF_TOKEN_PATH" else {}
                self.pull("org/" + place, env=env)

    def test_a_token_with_a_line_end_inside_goes_nowhere(self):
        done = self.run_program("pull", "org/model", env={"HF_TOKEN": "hf_secret\r\nX-Evil: 1"})
        self.assertEqual(done.returncode, 2)
        self.assertNotIn(b"secret", done.stdout + done.stderr)
        self.assertEqual(self.hub.log, [])

    def test_the_token_goes_to_the_hub_alone(self):
        self.hub.add("org/model", model())
        self.pull("org/model", env={"HF_TOKEN": self.hub.token})
        self.assertTrue(all("Authorization" in r.headers for r in self.hub.requests(server="hub")))
        self.assertEqual([r for r in self.hub.requests(server="cdn") if "Authorization" in r.headers], [])
        self.assertEqual(len(self.hub.requests(server="cdn")), 8)


class Environment(HubTest):
    def test_offline_makes_no_connection(self):
        self.hub.add("org/model", model())
        document = self.run_json("pull", "org/model", "--json", code=1, env={"HF_HUB_OFFLINE": "1"})
        self.assertEqual(document["error"]["type"], "download_failed")
        self.assertIn("HF_HUB_OFFLINE is set", document["error"]["message"])
        self.assertEqual(self.run_program("search", "x", env={"HF_HUB_OFFLINE": "yes"}).returncode, 1)
        self.assertEqual(self.hub.log, [])
        self.pull("org/model", env={"HF_HUB_OFFLINE": "0"})
        asked = len(self.hub.log)
        self.assertIn("already exists", self.pull("org/model", env={"HF_HUB_OFFLINE": "1"})[0])
        self.assertEqual(len(self.hub.log), asked)

    def test_the_cache_lies_where_the_variables_say(self):
        self.hub.add("org/model", {"a": b"x"})
        other = os.path.join(self.home, "other cache")
        self.pull("org/model", env={"HF_HUB_CACHE": other})
        self.assertEqual(sorted(os.listdir(other)), [".locks", "models--org--model"])

    def test_goes_through_the_proxy_unless_told_not_to(self):
        commit = self.hub.add("org/model", {"a": b"x"})
        proxy, elsewhere = self.hub.cdn, "http://hub.invalid"
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            before = len(self.hub.log)
            self.run_program("pull", "org/model", "--force-resume",
                             env={name: proxy, "HF_ENDPOINT": elsewhere, "NO_PROXY": "", "MLXK_PULL_TRIES": "1"})
            self.assertTrue(self.hub.log[before].path.startswith("http://hub.invalid/api/models/org/model"), name)
        self.pull("org/model", "--force-resume", env={"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"})
        self.assert_pulled("org/model", commit, {"a": b"x"})

    def test_what_makes_no_sense_is_misuse(self):
        for env in ({"HF_ENDPOINT": "ftp://x"}, {"HF_HUB_DOWNLOAD_TIMEOUT": "soon"}, {"MLXK_PULL_TRIES": "0"}):
            self.assertEqual(self.run_program("pull", "org/model", env=env).returncode, 2, env)

    def test_a_hub_that_is_not_there_is_an_error_that_names_it(self):
        document = self.run_json("pull", "org/model", "--json", code=1,
                                 env={"HF_ENDPOINT": "http://127.0.0.1:1/secret?key=secret", "MLXK_PULL_TRIES": "2"})
        self.assertEqual(document["error"]["type"], "download_failed")
        self.assertTrue(document["error"]["message"].startswith("Download failed: http://127.0.0.1:1: "), document)
        self.assertNotIn("secret", json.dumps(document))


class Bars(HubTest):
    def test_on_a_terminal(self):
        self.hub.add("org/model", model())
        self.hub.fault("/blobs/", drip=(16384, 0.02), times=None)
        master, slave = pty.openpty()
        process = subprocess.Popen([PROGRAM, "pull", "org/model"], stdin=slave, stdout=subprocess.PIPE, stderr=slave,
                                   env={**self.env, "TERM": "xterm"})
        os.close(slave)
        seen = b""
        while True:
            try:
                seen += os.read(master, 65536)
            except OSError:
                break
        process.communicate(timeout=60)
        os.close(master)
        text = seen.decode()
        self.assertRegex(text, r"model\.safetensors +\d+% ▕█")
        self.assertRegex(text, r"3 of 4 files +\d+% ▕█.*MB/s, \d+s left")
        self.assertTrue(text.endswith("\x1b[J"), "the bars are taken away")


class Search(HubTest):
    def setUp(self):
        super().setUp()
        self.hub.add("mlx-community/Small-4bit", model(), downloads=10, likes=2, tags=["mlx"], pipeline_tag="text-generation")
        self.hub.add("org/small\x1b[31m", {"a": b""}, downloads=20, tags=["mlx"])
        self.hub.add("org/other", {"a": b""}, downloads=30, tags=["mlx"])
        self.hub.add("org/small-torch", {"a": b""}, downloads=40, gated="auto")

    def test_prints_a_table(self):
        self.pull("mlx-community/Small-4bit")
        done = self.run_program("search", "small")
        self.assertEqual(done.stdout.decode(), (
            "Name                     | Downloads | Likes | Modified   | Task            | Access | Cached\n"
            "-------------------------+-----------+-------+------------+-----------------+--------+-------\n"
            "org/small?[31m           | 20        | 0     | 2026-01-31 | -               | open   | -     \n"
            "mlx-community/Small-4bit | 10        | 2     | 2026-01-31 | text-generation | open   | ✓     \n"))

    def test_as_json(self):
        document = self.run_json("search", "small", "--all", "--limit", "1", "--json")
        self.assertEqual(document, {"status": "success", "command": "search", "error": None, "data": {
            "query": "small", "count": 1, "models": [{
                "name": "org/small-torch", "downloads": 40, "likes": 0, "last_modified": "2026-01-31T12:00:00Z",
                "task": None, "gated": True, "private": False, "cached": False}]}})

    def test_a_query_is_one_value_of_the_address(self):
        self.run_json("search", "a&limit=1000#x", "--json")
        self.assertIn("search=a%26limit%3D1000%23x&limit=20&", self.hub.log[-1].path)


class Schema(HubTest):
    def test_documents_are_valid(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("no jsonschema")
        ours = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "json-api.schema.json")
        with open(os.environ.get("MLXK_JSON_SCHEMA", ours), encoding="utf-8") as file:
            schema = json.load(file)
        self.hub.add("org/model", model())
        for args, code in ((("org/nope",), 1), (("org/model", "--dry-run"), 0), (("org/model",), 0), (("org/model",), 0), (("",), 1)):
            jsonschema.validate(self.run_json("pull", *args, "--json", code=code), schema)


if __name__ == "__main__":
    unittest.main()

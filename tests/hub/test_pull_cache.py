"""The cache after mlxk pull: when it is killed, with concurrent pulls, without space; and its use by huggingface_hub."""
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

from hub import etag_of, is_lfs
from hub_case import PIECE, HubTest, model

FAULT = r"GET cdn /blobs/"
try:
    import huggingface_hub
except ImportError:
    huggingface_hub = None


class Killed(HubTest):
    def setUp(self):
        super().setUp()
        self.files = model()
        self.commit = self.hub.add("org/model", self.files)
        self.weights = etag_of(self.files["model.safetensors"])

    def assert_whole_or_nothing(self, name, commit):
        if os.path.exists(self.snapshot(name, commit)):
            self.assertEqual(self.files_in(self.snapshot(name, commit)), self.files)
        else:
            self.assert_nothing_visible(name)

    def on_disk(self, name):
        """Bytes of the weights in partial files."""
        path = os.path.join(self.repo(name), "blobs", self.weights + ".mlxk.incomplete")
        return os.stat(path).st_blocks * 512 if os.path.exists(path) else 0

    def slow(self):
        self.hub.fault(FAULT, drip=(16384, 0.05), times=None)

    def asked(self):
        """Bytes of weights that were requested."""
        ranges = [re.fullmatch(r"bytes=(\d+)-(\d+)", r.headers["Range"]) for r in self.hub.requests("/blobs/", "cdn")]
        return sum(int(match[2]) + 1 - int(match[1]) for match in ranges)

    def finish(self):
        """Pulls without faults; returns the bytes of weights requested."""
        self.hub.faults.clear()
        self.hub.log.clear()
        self.pull("org/model")
        self.assert_pulled("org/model", self.commit, self.files)
        return self.asked()

    def test_interrupt_leaves_what_can_be_taken_up(self):
        self.slow()
        process = self.start("pull", "org/model")
        self.wait_until(lambda: self.on_disk("org/model") > 400_000)
        self.interrupt(process)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b"pull: Error: interrupted\nwhat was downloaded is kept", process.stderr.read())
        self.assert_nothing_visible("org/model")
        self.assertEqual(self.partials("org/model"), [self.weights + ".mlxk.incomplete"])
        self.assertEqual(self.run_json("list", "--json")["data"]["models"][0]["health"], "unhealthy")
        self.assertLess(self.finish(), len(self.files["model.safetensors"]) - 100_000)

    def test_interrupt_as_json(self):
        self.slow()
        process = self.start("pull", "org/model", "--json")
        self.wait_until(lambda: self.hub.requests("/blobs/"))
        self.interrupt(process)
        self.assertEqual((process.returncode, process.stderr.read()), (130, b""))
        document = json.loads(process.stdout.read())
        self.assertEqual((document["error"]["type"], document["data"]["download_status"]), ("cancelled", "failed"))

    def test_interrupt_while_the_hub_is_silent(self):
        self.hub.fault(FAULT, stall=0, times=None)
        process = self.start("pull", "org/model", HF_HUB_DOWNLOAD_TIMEOUT="100000")
        self.wait_until(lambda: self.hub.requests("/blobs/"))
        self.interrupt(process)
        self.assertEqual(process.returncode, 130)

    def test_killed_at_many_points(self):
        chance = random.Random(5)
        self.slow()
        for _ in range(12):
            process = self.start("pull", "org/model")
            time.sleep(chance.uniform(0.005, 0.25))
            self.interrupt(process, signal.SIGKILL)
            self.assert_whole_or_nothing("org/model", self.commit)
        self.assertLessEqual(self.finish(), len(self.files["model.safetensors"]))

    def test_killed_around_the_end(self):
        """Without delays the blobs, the snapshot and the ref arrive within milliseconds."""
        chance = random.Random(6)
        for turn in range(12):
            name = f"org/model{turn}"
            commit = self.hub.add(name, self.files)
            process = self.start("pull", name)
            self.wait_until(lambda: self.hub.requests(f"{name}/resolve/.*model") or process.poll() is not None)
            time.sleep(chance.uniform(0, 0.06))
            self.interrupt(process, signal.SIGKILL)
            self.assert_whole_or_nothing(name, commit)
            self.pull(name, "--force-resume")  # for the ref, if that alone is missing
            self.assert_pulled(name, commit, self.files)

    def test_a_map_that_makes_no_sense_is_not_believed(self):
        path = os.path.join(self.repo("org/model"), "blobs", self.weights + ".mlxk.incomplete")
        size = len(self.files["model.safetensors"])
        rubbish = [b"", b"x", b"x" * size, b"x" * (size + 24), b"y" * size + b"MLXKMAP1" + size.to_bytes(8, "little") + bytes(8),
                   b"z" * size + b"MLXKMAP1" + size.to_bytes(8, "little") + PIECE.to_bytes(8, "little") + b"\xff" * 64,
                   b"w" * size + b"MLXKMAP1" + size.to_bytes(8, "little") + PIECE.to_bytes(8, "little") +
                   b"".join(n.to_bytes(8, "little") for n in [PIECE] * 7 + [size - 7 * PIECE])]
        for content in rubbish:
            shutil.rmtree(self.repo("org/model"), True)
            self.write(path, content)
            self.assertEqual(self.finish(), size)

    def test_the_same_partial_file_serves_another_length_of_pieces(self):
        self.slow()
        process = self.start("pull", "org/model")
        self.wait_until(lambda: self.on_disk("org/model") > 400_000)
        self.interrupt(process)
        self.env["MLXK_PULL_PIECE_BYTES"] = "1000000"
        self.assertLess(self.finish(), len(self.files["model.safetensors"]) - 100_000)


class Beside(HubTest):
    """Other processes using the same cache."""

    def setUp(self):
        super().setUp()
        self.files = model()
        self.commit = self.hub.add("org/model", self.files)
        self.weights = etag_of(self.files["model.safetensors"])
        self.locks = os.path.join(self.cache, ".locks", "models--org--model")

    def test_two_pulls_share_the_work(self):
        self.hub.fault(FAULT, drip=(65536, 0.01), times=None)
        pulls = [self.start("pull", "org/model", "--force-resume") for _ in range(2)]
        self.assertEqual([process.wait(60) for process in pulls], [0, 0])
        self.assert_pulled("org/model", self.commit, self.files)
        ranges = [r.headers["Range"] for r in self.hub.requests("/blobs/", "cdn")]
        self.assertEqual(len(ranges), len(set(ranges)))

    def test_a_lock_that_another_holds_is_waited_for(self):
        os.makedirs(self.locks)
        with open(os.path.join(self.locks, self.weights + ".lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = self.start("pull", "org/model")
            self.wait_until(lambda: len(self.blobs("org/model")) == 3 and self.has_open(process, lock.name))
            self.assertIsNone(process.poll())
            self.assertEqual(self.hub.requests("/blobs/"), [])
            fcntl.flock(lock, fcntl.LOCK_UN)
            self.assertEqual(process.wait(20), 0)
        self.assert_pulled("org/model", self.commit, self.files)

    def has_open(self, process, path):
        folder = f"/proc/{process.pid}/fd"
        if not os.path.isdir(folder):
            return True  # not to be known here
        return any(os.path.realpath(os.path.join(folder, name)) == os.path.realpath(path) for name in os.listdir(folder))

    def test_waiting_can_be_interrupted(self):
        os.makedirs(self.locks)
        with open(os.path.join(self.locks, self.weights + ".lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = self.start("pull", "org/model")
            self.wait_until(lambda: len(self.blobs("org/model")) == 3)
            self.interrupt(process)
        self.assertEqual(process.returncode, 130)

    def test_a_lock_file_that_nobody_holds_is_no_lock(self):
        for content in self.files.values():
            self.write(os.path.join(self.locks, etag_of(content) + ".lock"), b"")
        self.pull("org/model")
        self.assert_pulled("org/model", self.commit, self.files)

    def test_holds_its_own_lock(self):
        self.hub.fault(FAULT, drip=(16384, 0.05), times=None)
        process = self.start("pull", "org/model")
        self.wait_until(lambda: self.hub.requests("/blobs/"))
        with open(os.path.join(self.locks, self.weights + ".lock"), "w", encoding="ascii") as lock:
            with self.assertRaises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.interrupt(process)

    def test_rm_refuses_unless_forced_and_a_forced_one_leaves_nothing_half(self):
        self.hub.fault(FAULT, drip=(16384, 0.05), times=None)
        process = self.start("pull", "org/model")
        self.wait_until(lambda: self.hub.requests("/blobs/"))
        document = self.run_json("rm", "org/model", "--json", code=1)
        self.assertEqual(document["error"]["type"], "locks_present")
        self.assertEqual(self.run_program("rm", "org/model", "--force").returncode, 0)
        process.wait(30)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"cannot write", process.stderr.read())
        self.assertFalse(os.path.exists(self.snapshot("org/model", self.commit)))
        self.hub.faults.clear()
        self.pull("org/model", "--force-resume")
        self.assert_pulled("org/model", self.commit, self.files)

    def test_the_prefix_of_another_program_is_used_and_left_alone(self):
        content = self.files["model.safetensors"]
        path = os.path.join(self.repo("org/model"), "blobs", self.weights + ".incomplete")
        other = os.path.join(self.repo("org/model"), "blobs", self.weights + ".0123abcd.incomplete")
        self.write(path, content[:700_001])
        self.write(other, b"of a process")
        self.pull("org/model", "--force-resume")
        with open(path, "rb") as file:
            self.assertEqual(file.read(), content[:700_001])
        self.assertEqual(sorted(self.partials("org/model")), sorted([os.path.basename(path), os.path.basename(other)]))
        starts = sorted(int(r.headers["Range"][6:].split("-")[0]) for r in self.hub.requests("/blobs/", "cdn"))
        self.assertEqual(starts[0], 700_001)

    def test_a_prefix_of_something_else_is_found_out(self):
        self.write(os.path.join(self.repo("org/model"), "blobs", self.weights + ".incomplete"), b"x" * 300_000)
        _, err = self.pull("org/model", "--force-resume")
        self.assertIn("downloading it again", err)
        self.assertEqual(self.files_in(self.snapshot("org/model", self.commit)), self.files)

    def test_links_that_lead_out_of_the_cache_are_not_followed(self):
        outside = os.path.join(self.home, "outside")
        os.makedirs(outside)
        commit = self.hub.add("org/linked", {"sub/file": b"x", "top": b"y"})
        os.makedirs(self.snapshot("org/linked", commit))
        os.symlink(outside, os.path.join(self.snapshot("org/linked", commit), "sub"))
        self.pull("org/linked", "--force-resume", code=1)
        self.assertEqual(os.listdir(outside), [])
        victim = self.write("victim", b"precious")
        self.write(os.path.join(self.repo("org/model"), "blobs", "x"), b"")
        os.symlink(victim, os.path.join(self.repo("org/model"), "blobs", self.weights + ".mlxk.incomplete"))
        self.pull("org/model", "--force-resume", code=1)
        with open(victim, "rb") as file:
            self.assertEqual(file.read(), b"precious")


class Disk(HubTest):
    """On a small disk of its own."""

    def setUp(self):
        super().setUp()
        self.disk = os.path.join(self.home, "disk")
        os.makedirs(self.disk)
        mounted = shutil.which("mount") and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self.disk],
                                                           capture_output=True, check=False).returncode == 0
        if not mounted:
            self.skipTest("mounting is not permitted")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=False)
        self.env["HF_HUB_CACHE"] = self.cache = os.path.join(self.disk, "hub")

    def test_what_does_not_fit_is_not_begun(self):
        self.hub.add("org/model", model(5_000_000))
        _, err = self.pull("org/model", code=1)
        self.assertRegex(err, r"pull: Error: Download failed: org/model needs 50\d{5} more bytes on the disk of .*, which has \d+\n")
        self.assertEqual(os.listdir(self.disk), [])
        out, _ = self.pull("org/model", "--dry-run")
        self.assertIn("Disk: does not fit (4.2MB free)", out)

    def test_a_disk_that_fills_up_keeps_what_has_come(self):
        commit = self.hub.add("org/model", model(3_000_000))
        self.hub.fault(FAULT, drip=(16384, 0.03), times=None)
        process = self.start("pull", "org/model")
        self.wait_until(lambda: len(self.hub.requests("/blobs/", "cdn")) >= 8)
        with open(os.path.join(self.disk, "filler"), "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
        process.wait(30)
        err = process.stderr.read().decode()
        self.assertEqual(process.returncode, 1, err)
        self.assertIn("No space left on device\nmake room, then pull again: what is here is kept\n", err)
        self.assert_nothing_visible("org/model")
        os.remove(os.path.join(self.disk, "filler"))
        self.hub.faults.clear()
        self.pull("org/model", "--force-resume")
        self.assert_pulled("org/model", commit, model(3_000_000))

    def test_a_cache_that_cannot_be_written_to_can_be_read(self):
        self.hub.add("org/model", model(100_000))
        self.hub.add("org/other", model(100_000))
        self.pull("org/model")
        subprocess.run(["mount", "-o", "remount,ro", self.disk], check=True)
        self.assertIn("already exists", self.pull("org/model")[0])
        self.assertIn("Downloaded to", self.pull("org/model", "--force-resume")[0])
        _, err = self.pull("org/other", code=1)
        self.assertIn(f"cannot write {self.repo('org/other')}/blobs: Read-only file system", err)


@unittest.skipUnless(huggingface_hub, "no huggingface_hub")
class HuggingFace(HubTest):
    """The cache is shared with huggingface_hub, in both directions; this shows that the hub of these tests is faithful."""

    def setUp(self):
        super().setUp()
        self.files = model(**{"sub/notes.txt": b"hi"})
        self.commit = self.hub.add("org/model", self.files)

    def python(self, code, **env):
        """The output of `code`, parsed as JSON."""
        done = subprocess.run([sys.executable, "-c", "import json, sys, huggingface_hub as hf\n" + code], capture_output=True,
                              text=True, env={**self.env, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **env}, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_reads_what_we_pulled(self):
        self.pull("org/model")
        found = self.python("""
info = hf.scan_cache_dir()
path = hf.snapshot_download("org/model", local_files_only=True)
print(json.dumps([[str(w) for w in info.warnings], [[r.repo_id, sorted(r.refs), r.nb_files, r.size_on_disk] for r in info.repos], path]))""")
        size = sum(map(len, self.files.values()))
        self.assertEqual(found, [[], [["org/model", ["main"], 5, size]], self.snapshot("org/model", self.commit)])

    def test_has_nothing_to_fetch_after_us(self):
        self.pull("org/model")
        before = len(self.hub.requests("/blobs/"))
        self.assertEqual(self.python('print(json.dumps(hf.snapshot_download("org/model")))'), self.snapshot("org/model", self.commit))
        self.assertEqual(len(self.hub.requests("/blobs/")), before)

    def test_knows_when_a_choice_of_ours_is_not_all(self):
        self.pull("org/model", "--include", "*.json")
        self.assertIn("incomplete", self.python("""
try:
    hf.snapshot_download("org/model", local_files_only=True); print('""')
except Exception as error: print(json.dumps(str(error)))"""))

    def test_pulls_from_this_hub_and_we_have_nothing_to_do(self):
        path = self.python('print(json.dumps(hf.snapshot_download("org/model")))')
        self.assertEqual(path, self.snapshot("org/model", self.commit))
        before = len(self.hub.log)
        self.assertIn("already exists", self.pull("org/model")[0])
        self.assertEqual(len(self.hub.log), before)
        self.pull("org/model", "--force-resume")
        self.assertFalse([r for r in self.hub.requests("/resolve/") if r.headers["User-Agent"].startswith("mlxk")])
        self.assert_pulled("org/model", self.commit, self.files)

    def test_we_complete_what_it_began(self):
        self.python('print(json.dumps(hf.snapshot_download("org/model", allow_patterns=["*.json"])))')
        self.hub.log.clear()
        self.pull("org/model", "--force-resume")
        self.assert_pulled("org/model", self.commit, self.files)
        self.assertEqual(len(self.hub.requests("/resolve/.*json")), 0)

    def test_both_at_once(self):
        self.hub.fault(FAULT, drip=(65536, 0.02), times=None)
        ours = self.start("pull", "org/model")
        self.wait_until(lambda: self.hub.requests("/blobs/"))
        self.python('print(json.dumps(hf.snapshot_download("org/model")))')
        self.assertEqual(ours.wait(30), 0)
        self.assert_pulled("org/model", self.commit, self.files)
        self.assertEqual(len(self.hub.requests("/blobs/", "cdn")), 8, "it waited for our lock")

    def test_is_refused_with_its_own_errors(self):
        self.hub.add("org/gated", self.files, gated="auto")
        self.hub.add("org/private", self.files, private=True)
        found = self.python("""
names = []
for name, revision, file in (("org/gated", None, "config.json"), ("org/private", None, "config.json"), ("org/nope", None, "x"),
                             ("org/model", "nope", "config.json"), ("org/model", None, "nope")):
    try: hf.hf_hub_download(name, file, revision=revision)
    except Exception as error: names.append(type(error).__name__)
print(json.dumps(names))""")
        self.assertEqual(found[:1] + found[2:4], ["GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError"])
        self.assertEqual((found[1], "EntryNotFoundError" in found[4]), ("RepositoryNotFoundError", True))

    def test_searches_this_hub(self):
        self.hub.add("org/tagged", {"a": b"x"}, tags=["mlx"], downloads=3)
        self.assertEqual(self.python('print(json.dumps([[m.id, m.downloads] for m in hf.list_models(search="tag", filter="mlx")]))'),
                         [["org/tagged", 3]])


if __name__ == "__main__":
    unittest.main()

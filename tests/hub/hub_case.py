"""A test with a hub of its own, a home of its own, and models to pull."""
import fnmatch
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from hub import Hub, etag_of  # noqa: E402
from program import PROGRAM, ProgramTest  # noqa: E402

PIECE = 1 << 18


def safetensors(size, seed=0):
    """A valid file with one tensor of about `size` random bytes."""
    count = size // 4 * 4
    header = json.dumps({"w": {"dtype": "F32", "shape": [count // 4], "data_offsets": [0, count]}}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(count)


def model(size=2_000_000, seed=0, **more):
    """The files of a small model; its weights come in eight ranges."""
    return {"config.json": b'{"model_type": "llama"}', "README.md": b"# a model\n", "tokenizer.json": b'{"version": "1.0"}',
            "model.safetensors": safetensors(size, seed), **{name: content for name, content in more.items()}}


class HubTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.hub = Hub()
        self.addCleanup(self.hub.close)
        self.cache = os.path.join(self.home, "hf", "hub")
        self.env.update(HF_ENDPOINT=self.hub.url, MLXK_PULL_PIECE_BYTES=str(PIECE), MLXK_PULL_TRIES="4", NO_PROXY="*")

    def repo(self, name):
        return os.path.join(self.cache, "models--" + name.replace("/", "--"))

    def snapshot(self, name, commit):
        return os.path.join(self.repo(name), "snapshots", commit)

    def files_in(self, folder):
        """Every file below `folder` by its path there."""
        found = {}
        for parent, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(parent, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
        return found

    def assert_pulled(self, name, commit, files, ref="main"):
        self.assertEqual(self.files_in(self.snapshot(name, commit)), files)
        for path, content in files.items():
            link = os.readlink(os.path.join(self.snapshot(name, commit), path))
            self.assertEqual(link, "../" * (2 + path.count("/")) + "blobs/" + etag_of(content))
        if ref:
            with open(os.path.join(self.repo(name), "refs", ref), encoding="ascii") as file:
                self.assertEqual(file.read(), commit)
        self.assertEqual(self.partials(name), [])

    def assert_nothing_visible(self, name):
        """Checks that every file, snapshot and ref is complete."""
        for folder in ("refs", "snapshots"):
            path = os.path.join(self.repo(name), folder)
            self.assertEqual(os.listdir(path) if os.path.isdir(path) else [], [])
        for blob in self.blobs(name):
            if not fnmatch.fnmatch(blob, "*.incomplete"):
                with open(os.path.join(self.repo(name), "blobs", blob), "rb") as file:
                    self.assertEqual(etag_of(file.read()), blob)

    def blobs(self, name):
        folder = os.path.join(self.repo(name), "blobs")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def partials(self, name):
        return [blob for blob in self.blobs(name) if blob.endswith("incomplete")]

    def pull(self, *args, code=0, **kwargs):
        """(stdout, stderr) of `mlxk pull args`, which must exit with `code`; the token is in neither."""
        done = self.run_program("pull", *args, **kwargs)
        out, err = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(done.returncode, code, out + err)
        self.assertNotIn("secret", out + err)
        return out, err

    def start(self, *args, **kwargs):
        process = subprocess.Popen([PROGRAM, *args], env={**self.env, **kwargs}, cwd=self.home, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def wait_until(self, condition, seconds=120):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "it did not happen")
            time.sleep(0.01)

    def interrupt(self, process, number=signal.SIGINT):
        process.send_signal(number)
        process.wait(120)

    def received(self, path="model.safetensors"):
        """Bytes of `path`'s content that were requested from the hub, by ranges."""
        return [r.headers.get("Range") for r in self.hub.requests("/blobs/", "cdn")]

"""Runs every command of README.md, docs/*.md and CONTRIBUTING.md as it is written, in a folder that looks like the repository's
root and has the files that the pages name. Commands that are not run are in SKIPPED, with the reason. A server is started, asked and ended;
a chat is left; pulls go to the hub on loopback of tests/hub. Port 8000 becomes a free one.

Commands in the running text (`mlxk …`) are checked against the options in --help.
"""
import glob
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "hub"), os.path.join(ROOT, "tests", "cli")]
import embedding_kinds  # noqa: E402
import tiny_gguf  # noqa: E402
import tiny_models  # noqa: E402
from hub import Hub  # noqa: E402
from hub_case import model as small_model  # noqa: E402
from program import MODEL, PROGRAM  # noqa: E402

MINILM = os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "all-MiniLM-L6-v2")
WHISPER = os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "whisper-base-mlx")
if not os.path.isfile(os.path.join(MODEL, "config.json")):
    print("no model: MLXK_TEST_MODEL is not set")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "docs/*.md")))]
SKIPPED = [  # a pattern that the command begins with, and why it is not run
    (r"git clone ", "needs the network"),
    (r"cmake ", "builds"),
    (r"\./run-tests|\.ci/run", "runs the tests, of which this is one"),
    (r"tools/make_model_goldens\.py", "needs mlx-lm"),
]
if not os.path.exists(os.path.join(ROOT, ".git")):
    SKIPPED.append((r"git log", "this is no checkout"))
CODE = re.compile(r"[;{},)…]\s*(//.*)?$")  # a line that ends so is C++ or JSON, and so is its block
SPAN = re.compile(r"`(mlxk [^`]+)`")


def blocks(page):
    """The indented blocks and those fenced as sh, each a list of commands, continued lines joined."""
    found, block, fence = [], [], ""
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        lines = file.read().split("\n")
    for line in [*lines, ""]:
        if line.startswith("```"):
            if fence == "sh":
                found.append(block)
            fence, block = ("", []) if fence else (line[3:] or "text", [])
        elif fence:
            block.append(line)
        elif line.startswith("    "):
            block.append(line[4:])
        elif block:
            found.append(block)
            block = []
    return [re.sub(r"\\\n\s*", "", "\n".join(lines)).split("\n") for lines in found if not any(CODE.search(one) for one in lines)]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Commands(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(prefix="mlxk_docs_")
        cls.addClassCleanup(shutil.rmtree, cls.home, True)
        cls.root = os.path.join(cls.home, "root")
        os.makedirs(os.path.join(cls.root, "build", "release"))
        os.makedirs(os.path.join(cls.root, "tools"))
        for name in [*os.listdir(ROOT), *(os.path.join("tools", tool) for tool in os.listdir(os.path.join(ROOT, "tools")))]:
            if name not in ("build", "tools", "tools/install-deps"):
                os.symlink(os.path.join(ROOT, name), os.path.join(cls.root, name))
        os.symlink(PROGRAM, os.path.join(cls.root, "build", "release", "mlxk"))
        os.symlink(os.path.dirname(MODEL), os.path.join(cls.root, "build", "models"))
        os.makedirs(os.path.join(cls.home, "bin"))
        os.symlink(PROGRAM, os.path.join(cls.home, "bin", "mlxk"))
        # quickstart's packages and results exist. tools/build-env takes the first folder with a cargo and a rustc to the
        # front of PATH: it must be the one with the stubs.
        cls.stub("root/tools/install-deps")
        for name in ("cmake", "ninja"):
            cls.stub("bin/" + name)
        for name in ("cargo", "rustc"):
            cls.stub("bin/" + name, f"echo {name} 1.99.0")
        for name in ("arecord", "ffmpeg"):  # three seconds of speech from a microphone or a camera
            cls.stub("bin/" + name, f"head -c 96044 '{ROOT}/tests/data/speech/jfk.wav' | tail -c +45")
        cls.add_files()
        cls.add_cache()
        cls.hub = Hub()
        cls.addClassCleanup(cls.hub.close)
        cls.hub.add("mlx-community/Qwen3-0.6B-4bit", small_model(seed=1), tags=["mlx"])
        cls.hub.add("org/model", small_model(seed=2))
        cls.hub.add("org/model", small_model(seed=3), branch="refs/pr/3")
        cls.port = free_port()
        cls.env = {**os.environ, "XDG_CACHE_HOME": os.path.join(cls.home, "cache"),
                   "XDG_STATE_HOME": os.path.join(cls.home, "state"), "HF_HOME": os.path.join(cls.home, "hf"), "HF_ENDPOINT": cls.hub.url, "NO_PROXY": "*",
                   "PATH": os.path.join(cls.home, "bin") + ":" + os.environ["PATH"], "MLXK2_PORT": str(cls.port), "TERM": "dumb",
                   "LANG": "C.UTF-8", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        for name in ("MLXK_WORKSPACE_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            cls.env.pop(name, None)

    @classmethod
    def stub(cls, name, does=""):
        path = os.path.join(cls.home, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{does}\n")
        os.chmod(path, stat.S_IRWXU)

    @classmethod
    def add_files(cls):
        """Files that the pages name and nobody else makes."""
        tiny_gguf.write_gguf(os.path.join(cls.root, "model.gguf"))
        sounds = os.path.join(ROOT, "tests", "data", "audio")
        for name, sound in (("meeting.m4a", "tone.m4a"), ("interview.mp3", "tone.mp3"), ("call.ogg", "tone.ogg")):
            shutil.copy(os.path.join(sounds, sound), os.path.join(cls.root, name))

    @classmethod
    def add_cache(cls):
        for name, folder in (("mlx-community/SmolLM2-135M-Instruct-4bit", MODEL), ("mlx-community/whisper-base-mlx", WHISPER)):
            snapshot = os.path.join(cls.home, "hf", "hub", "models--" + name.replace("/", "--"), "snapshots", "a" * 40)
            os.makedirs(snapshot)
            for file in os.listdir(folder) if os.path.isdir(folder) else []:
                os.symlink(os.path.join(folder, file), os.path.join(snapshot, file))
        if os.path.isdir(MINILM):
            embedding_kinds.write_classifier(MINILM, os.path.join(cls.home, "hf", "hub", "models--mlx-community--bge-reranker-v2-m3",
                                                                  "snapshots", "a" * 40), ["score"])
        tiny_models.write_vibevoice(os.path.join(cls.home, "hf", "hub", "models--mlx-community--VibeVoice-ASR-4bit", "snapshots", "a" * 40))
        tiny_models.write_voxtral(os.path.join(cls.home, "hf", "hub", "models--mlx-community--Voxtral-Mini-3B-2507-bf16", "snapshots", "a" * 40))
        tiny_models.write_case(os.path.join(cls.home, "hf", "hub", "models--mlx-community--parakeet-tdt-0.6b-v3", "snapshots", "a" * 40),
                               "frame_models", "tdt")
        tiny_models.write_case(os.path.join(cls.home, "hf", "hub", "models--UsefulSensors--moonshine-base", "snapshots", "a" * 40),
                               "moonshine_models", "moonshine")
        tiny_models.write_case(os.path.join(cls.home, "hf", "hub", "models--mlx-community--SenseVoiceSmall", "snapshots", "a" * 40),
                               "sensevoice_models", "sensevoice")
        tiny_models.write_case(os.path.join(cls.home, "hf", "hub", "models--mlx-community--canary-1b-v2", "snapshots", "a" * 40),
                               "canary_models", "transformers")
        tiny_models.write_florence2(os.path.join(cls.home, "hf", "hub", "models--florence-community--Florence-2-base", "snapshots", "a" * 40))

    def shell(self, command, patience=20):
        """CompletedProcess of the command. A small model may talk to the end of its context: after `patience` seconds a person would
        press Ctrl-C, which is a success where it ended an answer."""
        process = subprocess.Popen(["bash", "-c", "set -o pipefail; " + command], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            out, err = process.communicate(timeout=patience if "mlxk run" in command else 300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
        code = 0 if "[Generation interrupted by user]" in err else process.returncode
        return subprocess.CompletedProcess(command, code, out, err)

    def on_terminal(self, command, until, keys, seconds=60):
        """Types `keys` once `until` has appeared; returns the output and the exit code."""
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.root)
            os.execvpe("bash", ["bash", "-c", command], self.env)
        text, end, typed = "", time.monotonic() + seconds, False
        while time.monotonic() < end:
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    piece = os.read(fd, 65536)
                except OSError:
                    piece = b""
                if not piece:
                    break
                text += piece.decode("utf-8", "replace")
            if until in text and not typed:
                typed = True
                time.sleep(0.2)  # the line editor takes control of the terminal
                os.write(fd, keys)
        else:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(fd)
        return text, code

    def serve(self, command):
        process = subprocess.Popen(["bash", "-c", command], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        end = time.monotonic() + 60
        while subprocess.run(["curl", "-fs", f"localhost:{self.port}/ready"], capture_output=True, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                self.fail(f"{command}: {process.stdout.read().decode()}")
            time.sleep(0.05)
        return process

    def is_chat(self, command):
        """`mlxk run MODEL` and no more."""
        words = shlex.split(command, comments=True)
        return len(words) == 3 and words[1] == "run" and "|" not in command

    def run_block(self, page, commands):
        names, server = "", None
        try:
            for written in commands:
                command = written.strip()
                if not command or command.startswith("#") or any(re.match(pattern, command) for pattern, _ in SKIPPED):
                    continue
                if re.match(r"\w+=\S+$", command):
                    names += command + "; "
                    continue
                with self.subTest(page=page, command=command):
                    line = names + command.replace("localhost:8000", f"localhost:{self.port}")
                    if re.search(r"mlxk serve\b", command):
                        server = self.serve(re.sub(r"(^|; )(\S*mlxk serve)", r"\1exec \2", line))
                    elif self.is_chat(command):
                        text, code = self.on_terminal(line, "You: ", b"exit\r")
                        self.assertEqual(code, 0, text)
                    else:
                        if command.startswith("curl ") and not server:
                            server = self.serve("exec mlxk serve")
                        done = self.shell(line + (" --fail-with-body" if command.startswith("curl ") else ""))
                        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        finally:
            if server:
                server.send_signal(signal.SIGTERM)
                server.wait(60)

    def test_blocks(self):
        ran = 0
        for page in PAGES:
            for commands in blocks(page):
                if page == "docs/speech.md" and not os.path.isdir(WHISPER):
                    continue
                ran += len(commands)
                self.run_block(page, commands)
        self.assertGreater(ran, 20)  # the pages were read

    def test_what_quickstart_prints(self):
        done = self.shell('./quickstart "What is the capital of France?"')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Paris", done.stdout)
        command = re.search(r"^more: (.*?)    ", done.stderr, re.MULTILINE)[1]
        self.assertEqual(command, "build/release/mlxk run build/models/SmolLM2-135M-Instruct-4bit")
        text, code = self.on_terminal(command, "You: ", b"exit\r")
        self.assertEqual(code, 0, text)

    def test_commands_in_the_text_have_their_options(self):
        help_of = {}
        for page in PAGES:
            with open(os.path.join(ROOT, page), encoding="utf-8") as file:
                text = re.sub(r"\s*\n\s*", " ", file.read())
            for span in SPAN.findall(text):
                name, *words = span.split()[1:]
                if name.startswith("-") or name == "COMMAND":
                    continue
                if name == "bench" and words[:1] and words[0] in ("serve", "audio", "vision", "embed"):
                    name = f"bench {words.pop(0)}"
                with self.subTest(page=page, command=span):
                    if name not in help_of:
                        done = self.shell(f"mlxk {name} --help")
                        self.assertEqual(done.returncode, 0, done.stderr)
                        help_of[name] = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", done.stdout))
                    used = {re.sub(r"[=,;].*", "", word.strip("[]…")) for word in words if re.match(r"--?[a-z]", word.strip("["))}
                    self.assertLessEqual(used, help_of[name] | {"--json"})


if __name__ == "__main__":
    unittest.main()

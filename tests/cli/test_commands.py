"""Version, help, unknown commands, completions: everything that works without a model."""
import os
import shlex
import shutil
import subprocess
import unittest

from program import PROGRAM, ProgramTest, error
from terminal import Terminal

VERSION = os.environ["MLXK_VERSION"]


class Version(ProgramTest):
    def test_prints_the_name_it_was_called_by(self):
        self.assertEqual(self.run_program("--version").stdout.decode(), f"mlxk {VERSION}\n")
        link = os.path.join(self.home, "mlxk-json")
        os.symlink(PROGRAM, link)
        self.assertEqual(self.run_program("--version", program=link).stdout.decode(), f"mlxk-json {VERSION}\n")
        link = os.path.join(self.home, "mlx-run")
        os.symlink(PROGRAM, link)
        self.assertEqual(self.run_program("--version", program=link).stdout.decode(), f"mlx-run {VERSION}\n")

    def test_as_json(self):
        document = self.run_json("--version", "--json")
        self.assertEqual(document["command"], "version")
        self.assertEqual(document["data"]["cli_version"], VERSION)
        self.assertGreater(document["data"]["system"]["memory_total_bytes"], 0)

    @unittest.skipIf(os.environ.get("MLXK_SANITIZE"), "sanitizers start slowly")
    def test_is_quick(self):
        self.run_program("--version")
        best = min(self.timed() for _ in range(10))
        self.assertLess(best, 0.02)

    def timed(self):
        """Seconds of processor time, which other programs do not affect."""
        process = subprocess.Popen([PROGRAM, "--version"], stdout=subprocess.DEVNULL, env=self.env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        return usage.ru_utime + usage.ru_stime

    @unittest.skipUnless(shutil.which("ldd"), "no ldd")
    def test_loads_no_engine_and_no_python(self):
        libraries = subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=False).stdout
        for name in ("libmlx", "python", "libcuda"):
            self.assertNotIn(name, libraries.lower())


class Help(ProgramTest):
    def test_lists_the_commands(self):
        done = self.run_program("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("list", "health", "show", "convert", "run", "--version"):
            self.assertIn(word, done.stdout.decode())
        self.assertNotIn("completions", done.stdout.decode())

    def test_is_a_command_too(self):
        self.assertEqual(self.run_program("help").stdout, self.run_program("--help").stdout)
        self.assertEqual(self.run_program("help", "server").stdout, self.run_program("serve", "--help").stdout)
        done = self.run_program("help", "lst")
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn("Did you mean `mlxk list`?", done.stderr.decode())

    def test_no_command_prints_help_and_is_misuse(self):
        done = self.run_program()
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stdout, self.run_program("--help").stdout)

    def test_of_run_shows_defaults_and_variables(self):
        text = self.run_program("run", "--help").stdout.decode()
        self.assertIn("(default 0.7)", text)
        self.assertIn("MLXK2_ENABLE_PIPES", text)

    def test_names_every_variable_that_says_where_models_are(self):
        for command in ("list", "show", "health", "run", "serve", "pull", "clone", "convert", "rm", "du", "prune", "verify", "doctor",
                        "bench"):
            text = self.run_program(command, "--help").stdout.decode()
            for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "MLXK_WORKSPACE_HOME"):
                self.assertIn(name, text, command)
            self.assertLessEqual(max(map(len, text.splitlines())), 100, command)


class Misuse(ProgramTest):
    def test_no_command_as_json(self):
        self.assertEqual(self.run_json("--json", code=1), error("CommandError", "No command specified"))

    def test_architectures_are_listed_by_kind(self):
        kinds = self.run_json("list", "--architectures", "--json")["data"]["architectures"]
        self.assertIn("llama", kinds["text"])
        self.assertEqual(kinds["speech"], sorted(kinds["speech"]))
        text = self.run_program("list", "--architectures").stdout.decode()
        self.assertIn("whisper", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_unknown_command(self):
        done = self.run_program("frobnicate")
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn("usage: mlxk", done.stderr.decode())
        self.assertIn("unknown command: 'frobnicate'", done.stderr.decode())

    def test_unknown_command_as_json(self):
        document = self.run_json("frobnicate", "--json", code=2)
        self.assertIsNone(document["command"])
        self.assertEqual(document["error"]["type"], "CommandError")

    def test_bad_arguments(self):
        for words in (["run"], ["run", "m", "--nope"], ["run", "m", "x", "--top-p", "2"], ["show"], ["--nope"]):
            done = self.run_program(*words)
            self.assertEqual((done.returncode, done.stdout), (2, b""), words)
            self.assertIn("usage: mlxk", done.stderr.decode())
            self.assertEqual(self.run_json(*words, "--json", code=2)["error"]["type"], "CommandError")

    def test_top_level_json_reaches_the_command(self):
        self.assertEqual(self.run_json("--json", "list"), self.run_json("list", "--json"))


class Generated(ProgramTest):
    def complete(self, *words):
        """The completions that bash offers for the last of `words`."""
        os.makedirs(os.path.join(self.home, "bin"), exist_ok=True)
        link = os.path.join(self.home, "bin", words[0])
        if not os.path.exists(link):
            os.symlink(PROGRAM, link)
        script = self.run_program("completions", "bash").stdout.decode()
        script += f'\nCOMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _mlxk; printf "%s\\n" "${{COMPREPLY[@]}}"'
        env = {**self.env, "PATH": os.path.join(self.home, "bin") + ":" + self.env["PATH"]}
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=self.home, env=env)
        self.assertEqual(done.stderr, "")
        return done.stdout.split("\n")[:-1]

    def test_bash_completes_models(self):
        for name in ("acme--Small-4bit", "acme--Tiny", "other--Tiny"):
            self.write(f"hf/hub/models--{name}/snapshots/{'a' * 40}/config.json", b"{}")
        self.write("Some notes.txt", b"")
        self.assertEqual(self.complete("mlxk", "run", "Sm"), ["Small-4bit"])
        self.assertEqual(self.complete("mlxk", "run", "acme/"), ["acme/Small-4bit", "acme/Tiny"])
        self.assertEqual(self.complete("mlxk", "show", "--files", "Ti"), [""])  # two models: no short name
        self.assertEqual(self.complete("mlxk", "run", "--temperature", "0", "S"), ["Small-4bit", "Some notes.txt"])
        self.assertEqual(self.complete("mlxk", "serve", "--model", "Sm"), ["Small-4bit"])
        self.assertEqual(self.complete("mlx-run", "Sm"), ["Small-4bit"])
        self.assertEqual(self.complete("mlxk", "run", "Small-4bit", "Som"), ["Some notes.txt"])

    def test_bash_completes_values_and_commands(self):
        self.write("file.txt", b"")
        os.makedirs(os.path.join(self.home, "folder"))
        self.assertEqual(self.complete("mlxk", "run", "m", "--format", "v"), ["verbose_json", "vtt"])
        self.assertEqual(self.complete("mlxk", "convert", "a", "b", "--q-mode", "mx"), ["mxfp4", "mxfp8"])
        self.assertEqual(self.complete("mlxk", "serve", "--log-level", "w"), ["warning"])
        self.assertEqual(self.complete("mlxk", "run", "m", "--output", "f"), ["folder"])
        self.assertEqual(self.complete("mlxk", "run", "m", "--audio", "f"), ["file.txt", "folder"])
        self.assertEqual(self.complete("mlxk", "run", "m", "--seed", ""), [""])
        self.assertEqual(self.complete("mlxk", "completions", "z"), [""])  # hidden
        self.assertEqual(self.complete("mlxk", "--json", "li"), ["list"])
        self.assertEqual(self.complete("mlxk", "help", "con"), ["convert"])

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh_completes_models_and_values(self):
        self.write(f"hf/hub/models--acme--Small-4bit/snapshots/{'a' * 40}/config.json", b"{}")
        os.makedirs(os.path.join(self.home, "bin"))
        os.symlink(PROGRAM, os.path.join(self.home, "bin", "mlxk"))
        self.write("site/_mlxk", self.run_program("completions", "zsh").stdout)
        env = {**self.env, "PATH": os.path.join(self.home, "bin") + ":" + self.env["PATH"], "TERM": "xterm"}
        for typed, whole in (("run Sm", "Small-4bit"), ("convert a b --q-mode nv", "nvfp4"), ("hea", "health")):
            with self.subTest(typed):
                zsh = Terminal([shutil.which("zsh"), "-f", "-i"], env, self.home)
                zsh.type("PROMPT=; fpath=(site $fpath); autoload -U compinit; compinit -u -D; echo rea''dy\n")
                zsh.read_until("ready")
                zsh.type(f"mlxk {typed}\t")
                zsh.read_until(whole[len(typed.split()[-1]):])  # the typed value is not echoed
                zsh.close()

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish_completes_models_and_values(self):
        self.write(f"hf/hub/models--acme--Small-4bit/snapshots/{'a' * 40}/config.json", b"{}")
        os.makedirs(os.path.join(self.home, "bin"))
        os.symlink(PROGRAM, os.path.join(self.home, "bin", "mlxk"))
        script = self.write("mlxk.fish", self.run_program("completions", "fish").stdout)
        env = {**self.env, "PATH": os.path.join(self.home, "bin") + ":" + self.env["PATH"]}
        for typed, whole in (("run Sm", "Small-4bit"), ("convert a b --q-mode nv", "nvfp4"), ("hea", "health")):
            done = subprocess.run(["fish", "--no-config", "-c", f"source {script}; complete -C 'mlxk {typed}'"],
                                  capture_output=True, text=True, cwd=self.home, env=env, check=True)
            self.assertIn(whole, done.stdout)

    def test_completions_are_scripts(self):
        for shell in ("bash", "zsh", "fish"):
            script = self.run_program("completions", shell)
            self.assertEqual(script.returncode, 0)
            self.assertIn(b"max-tokens", script.stdout)
            if shutil.which(shell):
                checked = subprocess.run([shell, "-n"], input=script.stdout, capture_output=True, check=False)
                self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual(self.run_program("completions", "tcsh").returncode, 2)

    def test_bash_completes_options_of_the_command(self):
        script = self.run_program("completions", "bash").stdout.decode()
        script += '\nCOMP_WORDS=(mlxk run --max); COMP_CWORD=2; _mlxk; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "--max-tokens\n")

    def test_manual_page_names_every_command(self):
        page = self.run_program("man").stdout.decode()
        for word in (".TH MLXK 1", ".SS run", ".SS list", "EXIT STATUS"):
            self.assertIn(word, page)

    def test_manual_page_opens_in_a_pager_on_a_terminal(self):
        for name, text in (("man", "#!/bin/sh\necho seen by man: $1\nhead -1 \"$1\"\necho the end of the file\n"), ("less", "#!/bin/sh\necho seen by less\ncat \"$1\"\necho the end of the file\n")):
            tools = os.path.join(self.home, name)
            path = self.write(f"{name}/{name}", text.encode())
            os.chmod(path, 0o755)
            for tool in ("sh", "head", "cat"):
                os.symlink(shutil.which(tool), os.path.join(tools, tool))
            terminal = Terminal([PROGRAM, "man"], {**self.env, "PATH": tools}, self.home)
            shown = terminal.read_until("the end of the file")
            self.assertEqual(terminal.wait(), 0)
            self.assertIn(f"seen by {name}", shown)
            self.assertIn(".TH MLXK 1" if name == "man" else "usage: mlxk run", shown)


@unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
class FullDisk(ProgramTest):
    def test_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "man"], stdout=full, stderr=subprocess.PIPE, env=self.env, check=False)
        self.assertEqual((done.returncode, done.stderr), (1, b"man: Error: cannot write to stdout\n"))


class ClosedPipe(ProgramTest):
    def test_ends_silently(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([PROGRAM, "run", "--help"], stdout=writer, stderr=subprocess.PIPE, env=self.env, check=False)
        os.close(writer)
        self.assertEqual(done.stderr, b"")
        self.assertEqual(done.returncode, -13)


if __name__ == "__main__":
    unittest.main()

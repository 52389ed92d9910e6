"""`mlxk run` with a real model: MLXK_TEST_MODEL names a workspace (SmolLM2-135M-Instruct or better)."""
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import unittest

import tiny_models
from program import MODEL, PROGRAM, ProgramTest
from terminal import Terminal

if not os.path.isfile(os.path.join(MODEL, "config.json")):
    print("no model: MLXK_TEST_MODEL is not set")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

QUESTION = "What is the capital of France?"
GREEDY = ("--temperature", "0", "--max-tokens", "24")


def write_as_multimodal(folder, prefix, head):
    """The model's tensors as the language model of a LLaVA-OneVision, beside one of a vision tower."""
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors*", "config.json"))
    def renamed(names):
        return {re.sub("^model[.]", prefix, re.sub("^lm_head[.]", head, name)): value for name, value in names.items()}

    with open(os.path.join(MODEL, "config.json")) as file:
        text = json.load(file)
    config = {"model_type": "llava_onevision", "vision_config": {"hidden_size": 8}}
    for key in ("quantization", "quantization_config"):
        if key in text:
            config[key] = renamed(text.pop(key))
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({**config, "text_config": text}, file)
    with open(os.path.join(folder, "preprocessor_config.json"), "w") as file:
        json.dump({"image_processor_type": "LlavaOnevisionImageProcessor"}, file)
    with open(os.path.join(MODEL, "model.safetensors"), "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(size)), file.read()
    named = renamed(header)
    named["model.vision_model.post_layernorm.weight"] = {
        "dtype": "F32", "shape": [8], "data_offsets": [len(data), len(data) + 32]}
    header = json.dumps(named).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data + bytes(32))


class Answers(ProgramTest):
    def answer(self, *args, **kwargs):
        done = self.run_program("run", MODEL, *args, *GREEDY, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def test_knows_the_capital(self):
        text = self.answer(QUESTION)
        self.assertIn("Paris", text)
        self.assertTrue(text.endswith("\n") and not text.endswith("\n\n"))

    def test_is_the_same_from_everywhere(self):
        text = self.answer(QUESTION)
        self.assertEqual(self.answer("--prompt", QUESTION), text)
        self.assertEqual(self.answer("-", stdin=QUESTION.encode()), text)
        self.assertEqual(self.answer("@" + self.write("q.txt", QUESTION.encode())), text)
        self.assertEqual(self.answer(*QUESTION.split(), "--no-stream"), text)

    def test_json_counts_and_times(self):
        data = self.run_json("run", MODEL, QUESTION, *GREEDY, "--json", "--verbose")["data"]
        self.assertEqual(data["prompt"], QUESTION)
        self.assertEqual(data["response"] + "\n", self.answer(QUESTION))
        self.assertEqual(data["finish_reason"], "stop")
        self.assertGreater(data["usage"]["prompt_tokens"], 5)
        self.assertGreater(data["timings"]["tokens_per_s"], 0)

    def test_length_is_a_finish_reason(self):
        data = self.run_json("run", MODEL, QUESTION, "--temperature", "0", "--max-tokens", "3", "--json")["data"]
        self.assertEqual(data["finish_reason"], "length")
        self.assertEqual(data["usage"]["completion_tokens"], 3)

    def test_stop_strings_end_the_answer_and_do_not_show(self):
        full = self.answer(QUESTION)
        data = self.run_json("run", MODEL, QUESTION, *GREEDY, "--json", "--stop", "aris", "--stop", "capital of")["data"]
        self.assertEqual(data["response"], full.split("capital of")[0])
        self.assertEqual(data["finish_reason"], "stop")

    def test_seed_makes_sampling_repeatable(self):
        args = ("run", MODEL, "Name a colour.", "--max-tokens", "8", "--temperature", "1.5", "--top-p", "1")
        one, two = (self.run_program(*args, "--seed", "7").stdout for _ in range(2))
        self.assertEqual(one, two)

    def test_guesses_change_nothing(self):
        question = "Repeat: the cat sat on the mat, the cat sat on the mat."
        text = self.answer(question, "--prompt-lookup", "off")
        self.assertEqual(self.answer(question), text)
        done = self.run_program("run", MODEL, question, *GREEDY, "--prompt-lookup", "off", "--draft-model", MODEL, "--verbose")
        self.assertEqual(done.stdout.decode(), text)
        self.assertRegex(done.stderr.decode(), r"is not smaller than .*it will hardly help")
        self.assertRegex(done.stderr.decode(), r"[1-9]\d* of \d+ draft tokens were accepted")

    def test_a_draft_of_another_vocabulary_is_refused_before_loading(self):
        folder = os.path.join(self.home, "other")
        tiny_models.write_model(folder, "llama")
        done = self.run_program("run", MODEL, "hi", "--draft-model", folder)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn("has a different vocabulary than", done.stderr.decode())

    def test_a_multimodal_checkpoint_answers_text_as_its_language_model_does(self):
        text = self.answer(QUESTION)
        for prefix, head in (("language_model.model.", "language_model.lm_head."), ("model.text_model.", "lm_head.")):
            folder = os.path.join(self.home, prefix.strip("."))
            write_as_multimodal(folder, prefix, head)
            facts = self.run_json("show", folder, "--json")["data"]
            self.assertIn("vision", facts["model"]["capabilities"])
            self.assertEqual([facts["runtime"][kind]["runs"] for kind in ("text", "vision")], [True, False])
            done = self.run_program("run", folder, QUESTION, *GREEDY)
            self.assertEqual((done.returncode, done.stdout.decode()), (0, text), done.stderr)
            done = self.run_program("run", folder, QUESTION, "--image", self.write("cat.png", b"\x89PNG"))
            self.assertEqual(done.returncode, 1)
            self.assertIn("Vision model type 'llava_onevision'", done.stderr.decode())

    def test_prompt_longer_than_the_context_is_refused_before_loading(self):
        done = self.run_program("run", MODEL, "-", stdin=b"word " * (2 << 20))
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr.decode(), r"^Error: the prompt is too long: 10485760 bytes do not fit into \d+ tokens; the model's context holds \d+")

    def test_weights_that_are_cut_off_in_use_are_an_error(self):
        folder = os.path.join(self.home, "cut")
        shutil.copytree(MODEL, folder)
        chat = Terminal([PROGRAM, "run", folder], {**self.env, "TERM": "xterm"}, self.home)
        chat.read_until("You: ")  # the model is loaded
        os.truncate(os.path.join(folder, "model.safetensors"), 4096)
        chat.send(QUESTION + "\r")
        chat.read_until("model.safetensors was shortened")
        chat.send("exit\r")
        self.assertEqual(chat.wait(), 0, "killed by a signal")

    def test_a_pipe_is_the_prompt(self):
        done = self.run_program("run", MODEL, *GREEDY, stdin=f"{QUESTION}\n".encode())
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(done.stdout.decode(), self.answer(QUESTION))
        self.assertEqual(self.run_json("run", MODEL, *GREEDY, "--json", stdin=QUESTION.encode())["data"]["prompt"], QUESTION)

    def test_an_empty_pipe_is_no_prompt(self):
        done = self.run_program("run", MODEL, *GREEDY)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn("there is no prompt", done.stderr.decode())

    def test_closed_pipe_ends_silently(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([PROGRAM, "run", MODEL, QUESTION, *GREEDY], stdout=writer, stderr=subprocess.PIPE,
                              env=self.env, timeout=120, check=False)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (-signal.SIGPIPE, b""))


class Chat(ProgramTest):
    def start(self, *args, **env):
        terminal = Terminal([PROGRAM, "run", MODEL, "--temperature", "0", *args], {**self.env, "TERM": "xterm", **env}, self.home)
        terminal.read_until("You: ")
        return terminal

    def test_answers_and_remembers_lines(self):
        terminal = self.start("--max-tokens", "16")
        terminal.send(QUESTION + "\r")
        terminal.read_until("Paris")
        terminal.read_until("You: ", start=terminal.text.index("Paris"))
        terminal.send("\x04")
        self.assertEqual(terminal.wait(), 0)
        with open(os.path.join(self.home, ".local/state/mlxk/history"), encoding="utf-8") as file:
            self.assertIn("capital", file.read())

    def test_first_interrupt_stops_the_answer(self):
        terminal = self.start("--max-tokens", "4000", "--repetition-penalty", "1")
        terminal.send("Write a very long story about the sea.\r")
        terminal.read_until("Assistant: ")
        terminal.read_until("the", start=terminal.text.index("Assistant: "))
        os.kill(terminal.pid, signal.SIGINT)
        terminal.read_until("[Generation interrupted by user]", seconds=60)
        terminal.read_until("You: ", start=terminal.text.index("interrupted by user"))
        terminal.send("exit\r")
        self.assertEqual(terminal.wait(), 0)

    def ask(self, terminal, keys):
        """Sends a message and waits for the next prompt."""
        start = len(terminal.text)
        terminal.send(keys)
        terminal.read_until("Assistant: ", start=start)
        terminal.read_until("You: ", start=terminal.text.index("Assistant: ", start))

    def saved(self, terminal, name):
        """The messages of the user, by /save."""
        terminal.send(f"/save {name}\r")
        terminal.read_until("Saved to " + name)
        with open(os.path.join(self.home, name), encoding="utf-8") as file:
            return [message["content"] for message in json.load(file) if message["role"] == "user"]

    def test_interrupts_at_the_prompt_clear_the_line_then_leave(self):
        terminal = self.start("--max-tokens", "2")
        terminal.send("not this")
        terminal.read_until("not this")
        os.write(terminal.fd, b"\x03")
        terminal.read_until("^C")
        self.ask(terminal, "but this\r")
        self.assertEqual(self.saved(terminal, "c.json"), ["but this"])
        start = len(terminal.text)
        terminal.send("\x03")
        terminal.read_until("Press Ctrl-C again to leave.", start=start)
        terminal.send("\x03")
        terminal.read_until("Chat interrupted. Goodbye!", start=start)
        self.assertEqual(terminal.wait(), 130)

    def test_letters_survive_without_a_utf8_locale(self):
        for locale in ("C", "POSIX", "nowhere.ISO-8859-1"):
            with self.subTest(locale):
                terminal = self.start("--max-tokens", "2", LC_ALL=locale)
                self.ask(terminal, "café 日本 x\r")
                self.assertEqual(self.saved(terminal, f"{locale}.json"), ["café 日本 x"])
                terminal.send("exit\r")
                self.assertEqual(terminal.wait(), 0)

    def test_up_brings_back_a_message_of_several_lines(self):
        terminal = self.start("--max-tokens", "2")
        self.ask(terminal, "one \\\rtwo\r")
        self.ask(terminal, "\"\"\"three\rfour\r\"\"\"\r")
        self.ask(terminal, "\x1b[A\x1b[A\r")
        terminal.send("\x1b[A\x1b[A five\r")
        terminal.read_until("You: ", start=len(terminal.text))
        self.assertEqual(self.saved(terminal, "c.json"), ["one \ntwo", "three\nfour", "one \ntwo", "three\nfour five"])
        terminal.send("exit\r")
        self.assertEqual(terminal.wait(), 0)
        again = self.start("--max-tokens", "2")  # also by the file
        self.ask(again, "\x1b[A\x1b[A\x1b[A\r")
        self.assertEqual(self.saved(again, "d.json"), ["three\nfour five"])
        again.send("exit\r")
        self.assertEqual(again.wait(), 0)


class Interrupt(ProgramTest):
    def test_ends_a_single_answer_with_130(self):
        terminal = Terminal([PROGRAM, "run", MODEL, "Write a very long story.", "--max-tokens", "4000",
                             "--repetition-penalty", "1"], self.env, self.home)
        terminal.read_until("the")
        os.write(terminal.fd, b"\x03")
        terminal.read_until("[Generation interrupted by user]", seconds=60)
        self.assertEqual(terminal.wait(), 130)

    @unittest.skipUnless(os.path.isdir("/proc/self"), "needs /proc")
    def test_ends_the_preparation_of_a_prompt(self):
        folder = os.path.join(self.home, "wide")
        shutil.copytree(MODEL, folder)
        path = os.path.join(folder, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**config, "max_position_embeddings": 16_000_000}, file)
        process = subprocess.Popen([PROGRAM, "run", folder, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.env, cwd=self.home)
        self.addCleanup(process.kill)
        process.stdin.write(b"1234567 " * (15 << 17))
        process.stdin.close()
        while not self.catches(process.pid, signal.SIGINT):
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        with process.stdout, process.stderr:
            self.assertEqual((process.stdout.read(), process.stderr.read()), (b"", b"Error: interrupted\n"))

    def catches(self, pid, number):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            mask = next(line.split()[1] for line in file if line.startswith("SigCgt:"))
        return int(mask, 16) >> (number - 1) & 1


if __name__ == "__main__":
    unittest.main()

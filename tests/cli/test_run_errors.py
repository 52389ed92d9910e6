"""`mlxk run`: requests refused before an engine is opened."""
import json
import os
import unittest

from program import PROGRAM, ProgramTest


class Refusals(ProgramTest):
    def refused(self, *args, code=1, **kwargs):
        """The message, the same for people and as JSON."""
        done = self.run_program("run", *args, **kwargs)
        self.assertEqual((done.returncode, done.stdout), (code, b""), done.stderr)
        text = done.stderr.decode()
        self.assertTrue(text.startswith("Error: "), text)
        document = self.run_json("run", "--json", *args, code=code, **kwargs)
        self.assertEqual(document["status"], "error")
        self.assertEqual(document["command"], "run")
        self.assertEqual(document["error"]["type"], "execution_error")
        message = document["error"]["message"]
        self.assertTrue(text.startswith(f"Error: {message}\n"), text)
        return message

    def test_unknown_model(self):
        self.assertIn("nowhere/such-model", self.refused("nowhere/such-model", "hello"))

    def test_missing_files(self):
        self.assertEqual(self.refused("m", "--image", "x.jpg", "--prompt", "p"), "Image not found: x.jpg")
        self.assertEqual(self.refused("m", "--audio", "x.wav", "--prompt", "p"), "Audio file not found: x.wav")
        self.assertEqual(self.refused("m", "@x.txt"), "Prompt file not found: x.txt")

    def test_a_prompt_among_the_files_is_told_where_to_go(self):
        for option in ("--image", "--audio"):
            done = self.run_program("run", "m", option, "describe it")
            self.assertIn("put the prompt before them", done.stderr.decode())
            self.assertEqual(self.run_program("run", "m", option, "nope.wav").stderr.count(b"\n"), 1)

    def test_large_and_many_files(self):
        image = self.write("big.jpg", b"\0" * (10 * 1024 * 1024 + 1))
        self.assertEqual(self.refused("m", "--prompt", "p", "--image", image), f"Image too large (>10MB): {image}")
        audio = self.write("a.wav", b"\0" * (50 * 1024 * 1024 + 1))
        self.assertEqual(self.refused("m", "--prompt", "p", "--audio", audio), f"Audio file too large (>50MB): {audio}")

    def test_translate_needs_audio_and_english(self):
        self.assertEqual(self.refused("m", "p", "--translate"), "--translate requires --audio FILE.")
        self.assertIn("only supports English", self.refused("m", "p", "--translate", "fr"))
        self.assertEqual(self.refused("m", "p", "--to-language", "fr"), "--to-language requires --audio FILE.")

    def test_binary_stdin(self):
        message = self.refused("m", "-", stdin=b"abc\xff\x00")
        self.assertEqual(message, "stdin is not UTF-8 text: byte 0xFF at offset 3")

    def test_empty_stdin(self):
        self.assertEqual(self.refused("m", "-"), "the prompt is empty")

    def test_chat_with_json(self):
        document = self.run_json("run", "m", "--json", code=1)
        self.assertEqual(document["error"]["message"], "Interactive mode not compatible with JSON output")

    def test_unknown_architecture(self):
        self.write("model/config.json", json.dumps({"model_type": "frobnitz", "architectures": ["Frobnitz"]}).encode())
        self.write("model/tokenizer.json", b"{}")
        header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        self.write("model/model.safetensors", len(header).to_bytes(8, "little") + header + b"\0" * 4)
        self.assertIn("frobnitz", self.refused("./model", "hello"))

    def test_weights_that_lie(self):
        self.write("model/config.json", json.dumps({"model_type": "llama"}).encode())
        self.write("model/tokenizer.json", b"{}")
        self.write("model/model.safetensors", b"\xff" * 64)
        self.refused("./model", "hello")

    def test_mlx_run_is_run(self):
        link = os.path.join(self.home, "mlx-run")
        os.symlink(PROGRAM, link)
        done = self.run_program("nowhere/such-model", "hello", program=link)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith(b"Error: "), done.stderr)


if __name__ == "__main__":
    unittest.main()

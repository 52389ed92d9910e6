"""`mlxk run`, `show` and `health` on folders with broken or lying files."""
import json
import os
import shutil
import socket
import struct
import unittest

from program import MODEL, ProgramTest

CONFIG = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 4}
TENSORS = {"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]},
           "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}


def safetensors(tensors, data=bytes(16)):
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + data


def with_b(**changes):
    return safetensors({**TENSORS, "b": {**TENSORS["b"], **changes}})


class BadFiles(ProgramTest):
    """Defects found before anything is loaded."""

    def refusal(self, config=CONFIG, weights=safetensors(TENSORS), tokenizer=b"{}", **env):
        """The message of `run`; health says the same, and everything is short and quick."""
        self.write("model/config.json", config if isinstance(config, bytes) else json.dumps(config).encode())
        self.write("model/tokenizer.json", tokenizer)
        self.write("model/model.safetensors", weights)
        done = self.run_program("run", "./model", "hello", timeout=20, env=env)
        self.assertEqual((done.returncode, done.stdout), (1, b""), done.stderr)
        document = self.run_json("run", "./model", "hello", "--json", code=1, env=env)
        message = document["error"]["message"]
        self.assertTrue(done.stderr.decode().startswith(f"Error: {message}\n"), done.stderr)
        self.assertLess(len(done.stderr), 1000)
        return message

    def test_truncated_weights(self):
        for cut, words in ((-4, 'tensor "b": data_offsets end at 16, but only 12 bytes of data follow (truncated?)'),
                           (-16, "(truncated?)"), (4, "4 bytes long, too short"), (20, "header")):
            self.assertIn(words, self.refusal(weights=safetensors(TENSORS)[:cut]))

    def test_header_length_of_2_to_the_63(self):
        weights = struct.pack("<Q", 1 << 63) + safetensors(TENSORS)[8:]
        self.assertIn("header length must be in [2, 100000000], got 9223372036854775808", self.refusal(weights=weights))

    def test_headers_that_lie(self):
        for changes, words in (({"dtype": "F33"}, 'tensor "b": unknown dtype "F33"'),
                               ({"shape": [1 << 32, 1 << 33]}, "dimension 4294967296 is past 2147483647"),
                               ({"shape": [3]}, 'tensor "b"'),
                               ({"data_offsets": [4, 12]}, "overlapping"),
                               ({"shape": [1], "data_offsets": [12, 16]}, "gap")):
            self.assertIn(words, self.refusal(weights=with_b(**changes)))

    def test_index_that_leaves_the_folder(self):
        self.write("model/model.safetensors.index.json", json.dumps({"weight_map": {"a": "../secret.safetensors"}}).encode())
        self.assertIn('"../secret.safetensors" is not a file name within the model\'s folder', self.refusal())

    def test_pointers_instead_of_weights(self):
        self.assertIn("LFS pointers", self.refusal(weights=b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"))

    def test_configurations(self):
        for config, words in ((b'{"model_type": ', "config.json contains invalid JSON"),
                              (b"", "config.json is empty or invalid"),
                              ({**CONFIG, "model_type": None}, "config.json missing model_type field"),
                              ({**CONFIG, "model_type": "frobnitz"}, "'frobnitz' of"),
                              ({**CONFIG, "hidden_size": -1}, "hidden_size must be a whole number in [1, 16777216], got -1"),
                              ({**CONFIG, "num_hidden_layers": 10**9}, "num_hidden_layers must be a whole number"),
                              ({**CONFIG, "rope_theta": float("inf")}, "rope_theta must be a number in (0, 1e+15], got inf")):
            self.assertIn(words, self.refusal(config=config))

    def test_health_says_why(self):
        message = self.refusal(weights=safetensors(TENSORS)[:-4])
        unhealthy = self.run_json("health", "./model", "--json")["data"]["unhealthy"]
        self.assertEqual([model["status"] for model in unhealthy], ["unhealthy"])
        self.assertTrue(message.endswith(unhealthy[0]["reason"]), message)


class NoFiles(ProgramTest):
    """FIFOs, devices and sockets in the places of a model's files: nothing waits for them."""

    def plant(self, kind, path):
        if os.path.lexists(path):
            os.remove(path)
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "device":
            os.symlink("/dev/zero", path)
        else:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)

    def test_none_is_a_model(self):
        for kind in ("fifo", "device", "socket"):
            for name in ("plain", "x.gguf", "x.safetensors"):
                path = os.path.join(self.home, name)
                self.plant(kind, path)
                for words in (("show", path), ("run", path, "Hi"), ("verify", path), ("serve", "--model", path, "--port", "0")):
                    with self.subTest(kind=kind, name=name, command=words[0]):
                        done = self.run_program(*words, timeout=60)
                        self.assertEqual((done.returncode, done.stdout), (1, b""), done.stderr)

    def test_none_is_waited_for(self):
        files = {"config.json": json.dumps(CONFIG).encode(), "tokenizer.json": b"{}", "model.safetensors": safetensors(TENSORS)}
        others = ("tokenizer_config.json", "generation_config.json", "special_tokens_map.json", "chat_template.jinja", "tokenizer.model",
                  "model.safetensors.index.json", "preprocessor_config.json", ".mlxk_workspace.json", "x.safetensors", "README.md")
        folder = os.path.join(self.home, "ws", "m")
        for kind in ("fifo", "device", "socket"):
            for name in (*files, *others):
                shutil.rmtree(folder, ignore_errors=True)
                for file, content in files.items():
                    self.write(f"ws/m/{file}", content)
                self.plant(kind, os.path.join(folder, name))
                for words in (("health", folder), ("show", folder, "--files"), ("show", folder, "--recalc-hash"), ("verify", folder),
                              ("run", folder, "Hi"), ("push", folder, "me/m", "--dry-run"),
                              ("convert", folder, os.path.join(self.home, "out"), "--quantize", "8")):
                    with self.subTest(kind=kind, name=name, command=words[0]):
                        done = self.run_program(*words, timeout=60, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
                        self.assertIn(done.returncode, (0, 1), done.stderr)
                        shutil.rmtree(os.path.join(self.home, "out"), ignore_errors=True)


class MemoryLimit(ProgramTest):
    def test_must_be_a_number_of_bytes(self):
        self.write("model/config.json", json.dumps(CONFIG).encode())
        self.write("model/tokenizer.json", b"{}")
        self.write("model/model.safetensors", safetensors(TENSORS))
        for value in ("abc", "-5", "0", "99999999999999999999"):
            done = self.run_program("run", "./model", "hello", env={"MLXK_MEMORY_LIMIT": value})
            message = f"Error: MLXK_MEMORY_LIMIT must be a number of bytes above 0, got '{value}'\n"
            self.assertEqual((done.returncode, done.stdout, done.stderr.decode()), (2, b"", message))


@unittest.skipUnless(os.path.isfile(os.path.join(MODEL, "config.json")), "no model: MLXK_TEST_MODEL is not set")
class BadModel(ProgramTest):
    """Defects that only loading finds, on a copy of a real model."""

    def setUp(self):
        super().setUp()
        self.model = os.path.join(self.home, "model")
        os.mkdir(self.model)
        for name in os.listdir(MODEL):
            source, target = os.path.join(MODEL, name), os.path.join(self.model, name)
            if name.endswith(".safetensors"):
                os.symlink(source, target)
            elif os.path.isfile(source):
                shutil.copy(source, target)

    def change_json(self, name, **values):
        path = os.path.join(self.model, name)
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        content.update(values)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)

    def refusal(self, prompt="hello", *options):
        done = self.run_program("run", self.model, prompt, "--max-tokens", "4", *options)
        self.assertEqual((done.returncode, done.stdout), (1, b""), done.stderr)
        return done.stderr.decode()

    def test_vocabulary_smaller_than_the_embedding(self):
        self.change_json("config.json", vocab_size=1000)
        self.assertIn("model.embed_tokens must have 1000 rows, got 49152", self.refusal())

    def test_token_past_the_embedding(self):
        with open(os.path.join(self.model, "tokenizer.json"), encoding="utf-8") as file:
            added = json.load(file)["added_tokens"]
        self.change_json("tokenizer.json", added_tokens=added + [{**added[0], "id": 49152, "content": "<|far|>"}])
        self.assertIn("token id 49152 is outside the model's vocabulary of 49152",
                      self.refusal("hello <|far|>", "--no-chat-template"))  # in a chat it is text

    def test_empty_template(self):
        for name in ("chat_template.jinja", "chat_template.json"):
            if os.path.exists(os.path.join(self.model, name)):
                os.remove(os.path.join(self.model, name))
        for template in ("", "{# nothing #}"):
            self.change_json("tokenizer_config.json", chat_template=template)
            self.assertIn("the model's chat template writes nothing", self.refusal())

    def test_text_warns_when_memory_is_short(self):
        done = self.run_program("run", self.model, "hello", "--max-tokens", "2", env={"MLXK_MEMORY_LIMIT": "100000000"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("exceeds 70% of system memory", done.stderr.decode())


if __name__ == "__main__":
    unittest.main()

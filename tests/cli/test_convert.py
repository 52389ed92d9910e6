"""`mlxk convert` against mlx_lm.convert's results for the same weights, and its failures."""
import json
import os
import pickle
import signal
import struct
import subprocess
import time
import unittest
import zipfile

import tiny_models
from program import PROGRAM, ProgramTest, needs_engine

GOLDENS = os.path.join(os.path.dirname(__file__), "..", "data", "convert", "goldens.json")


class ConvertTest(ProgramTest):
    def path(self, name):
        return os.path.join(self.home, name)

    def model(self, name="source", model_type="llama", **kwargs):
        tiny_models.write_model(self.path(name), model_type, **kwargs)
        return self.path(name)

    def convert(self, *args, code=0, **kwargs):
        return self.run_json("convert", *args, "--json", code=code, **kwargs)

    def refused(self, *args, kind=None, code=1):
        """The error's message, after checking that nothing was left behind."""
        before = sorted(os.listdir(self.home))
        document = self.convert(*args, code=code)
        self.assertEqual(sorted(os.listdir(self.home)), before)
        if kind:
            self.assertEqual(document["error"]["type"], kind, document)
        return document["error"]["message"]


@needs_engine
class Goldens(ConvertTest):
    def test_equals_mlx_lm(self):
        with open(GOLDENS) as file:
            goldens = json.load(file)
        for number, golden in enumerate(goldens):
            with self.subTest(model=golden["model_type"], arguments=golden["arguments"]):
                source, target = self.model(f"source{number}", golden["model_type"], tied=golden["tied"]), f"target{number}"
                # A language model alone is not a complete vision model.
                flags = ["--skip-health"] if "case " in golden["model_type"] else []
                document = self.convert(source, target, *golden["arguments"], *flags)
                result = tiny_models.summary(self.path(target))
                self.assertEqual(result["layers"], golden["layers"])
                self.assertEqual(result["metadata"], golden["metadata"])
                if "--dtype" in golden["arguments"]:  # which mlx-lm does not record there
                    golden["config"]["torch_dtype"] = result["config"]["torch_dtype"]
                self.assertEqual(result["config"], golden["config"])
                self.assertEqual(list(result["config"]), sorted(result["config"]))
                self.assertEqual(document["data"]["content_hash"][:7], "sha256:")
                if "dequantized" in golden:
                    flags = ["--max-shard-mb", "1"] if "--max-shard-mb" in golden["arguments"] else []
                    if "--dtype" in golden["arguments"]:
                        flags += ["--dtype", "bfloat16"]  # what mlx-lm's config.json still says
                    self.convert(target, f"back{number}", "--dequantize", *flags)
                    self.assertEqual(tiny_models.summary(self.path(f"back{number}"))["layers"], golden["dequantized"])

    def test_comes_with_tokenizer_card_and_sentinel(self):
        source = self.model()
        with open(os.path.join(source, "README.md"), "w") as file:
            file.write("---\nlicense: mit\ntags: [small, test]\n---\n# Text of the source\n")
        data = self.convert(source, "target", "--quantize", "4")["data"]
        self.assertEqual((data["mode"], data["bits"], data["group_size"]), ("quantize", 4, 64))
        self.assertEqual(data["message"], "Quantized to 4-bit successfully")
        self.assertEqual((data["health_check"], data["health_status"]), (True, "healthy"))
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            with open(os.path.join(source, name), "rb") as a, open(self.path(f"target/{name}"), "rb") as b:
                self.assertEqual(a.read(), b.read())
        with open(self.path("target/README.md")) as file:
            card = file.read()
        self.assertTrue(card.startswith("---\nlicense: mit\ntags:\n- small\n- test\n- mlx\nlibrary_name: mlx\n"
                                        "pipeline_tag: text-generation\n---\n"), card)
        with open(self.path("target/.mlxk_workspace.json")) as file:
            sentinel = json.load(file)
        self.assertEqual(sentinel["quantization"], {"bits": 4, "group_size": 64})
        self.assertEqual(sentinel["content_hash"], data["content_hash"])

    def test_warns_of_matrices_that_stay_floats_but_not_of_convolutions(self):
        done = self.run_program("convert", self.model(model_type="case lfm2"), "out", "--quantize", "4", "--skip-health")
        self.assertEqual(done.returncode, 0, done.stderr)
        said = (done.stdout + done.stderr).decode()
        self.assertIn("w2.weight is not quantised: 96 columns are not whole groups of 64", said)
        self.assertNotIn("conv.conv", said)

    def test_same_input_same_bytes(self):
        source = self.model(shards=3)
        for target in ("one", "two"):
            self.convert(source, target, "--quantize", "mixed_3_6")
        for name in sorted(os.listdir(self.path("one"))):
            if name in (".mlxk_workspace.json", "README.md"):  # time; title
                continue
            with open(self.path(f"one/{name}"), "rb") as a, open(self.path(f"two/{name}"), "rb") as b:
                self.assertEqual(a.read(), b.read(), name)


@needs_engine
class Refusals(ConvertTest):
    def test_flags(self):
        source = self.model()
        cases = [
            ([], "Must specify conversion mode (--repair-index or --quantize N; also --dequantize, --dtype TYPE, --repair)"),
            (["--quantize", "7"], "--quantize must be 2, 3, 4, 5, 6, or 8 (got 7)"),
            (["--quantize", "4x"], "--quantize must be 2, 3, 4, 5, 6, or 8 (got 4x)"),
            (["--quantize", "mixed_9"], "--quantize must be mixed_2_6, mixed_3_4, mixed_3_6, mixed_4_6 (got mixed_9)"),
            (["--quantize", "4", "--repair-index"], "--repair-index and --quantize are mutually exclusive"),
            (["--quantize", "4", "--dequantize"], "--quantize and --dequantize are mutually exclusive"),
            (["--dequantize", "--q-group-size", "32"], "--q-group-size needs --quantize BITS"),
            (["--quantize", "4", "--q-group-size", "48"], "--q-group-size must be 32, 64 or 128 with --q-mode affine (got 48)"),
            (["--quantize", "8", "--q-mode", "mxfp4"], "--quantize must be 4 with --q-mode mxfp4 (got 8)"),
            (["--quantize", "mixed_3_6", "--q-mode", "mxfp4"], "--q-mode must be affine with --quantize mixed_3_6 (got mxfp4)"),
            (["--quantize", "4", "--dtype", "int8"], "--dtype must be float16, bfloat16 or float32 (got int8)"),
        ]
        for flags, message in cases:
            with self.subTest(flags=flags):
                self.assertEqual(self.refused(source, "target", *flags, kind="InvalidArgumentError"), message)

    def test_targets(self):
        source = self.model()
        os.mkdir(self.path("there"))
        self.assertIn("exists already", self.refused(source, "there", "--quantize", "4", kind="ValueError"))
        self.assertIn("there is no folder", self.refused(source, "no/where", "--quantize", "4"))
        cached = os.path.join(self.env["HF_HOME"], "hub", "target")
        self.assertIn("cache", self.refused(source, cached, "--quantize", "4", kind="ValueError"))
        self.assertIn("cache", self.refused(os.path.dirname(cached), "target", "--quantize", "4", kind="ValueError"))

    @unittest.skipIf(os.geteuid() == 0, "root may write anywhere")
    def test_read_only_target(self):
        source = self.model()
        os.mkdir(self.path("locked"), 0o555)
        self.assertIn("Permission denied", self.refused(source, "locked/target", "--quantize", "4", kind="OSError"))

    def test_models_it_does_not_know(self):
        source = self.model()

        def config(**changes):
            with open(os.path.join(source, "config.json"), "w") as file:
                json.dump({**tiny_models.model("llama")[0], **changes}, file)

        config(model_type="unheard_of")
        self.assertIn("model_type 'unheard_of'", self.refused(source, "t", "--quantize", "4"))
        config(model_type="qwen3_omni")
        self.assertIn("qwen3", self.refused(source, "t", "--quantize", "4"))
        config(model_type="whisper")
        self.refused(source, "t", "--quantize", "4", kind="not_implemented")
        config(vision_config={"patch_size": 14})
        self.refused(source, "t", "--quantize", "4", kind="unsupported_multimodal")
        detail = self.convert(source, "t", "--quantize", "4", code=1)["error"]["detail"]
        self.assertEqual((detail["model_type"], detail["operation"]), ("llama", "convert"))
        config(num_hidden_layers=9)
        self.assertIn("missing: model.layers.8.", self.refused(source, "t", "--quantize", "4"))
        config(quantization_config={"quant_method": "gptq", "bits": 4})
        self.assertIn('quantization_config.quant_method is "gptq"', self.refused(source, "t", "--quantize", "4"))

    def test_tensors_it_does_not_know(self):
        source = self.model()
        shapes = {**tiny_models.model("llama")[1], "model.layers.0.self_attn.surprise.weight": [4, 4]}
        tiny_models.write_safetensors(os.path.join(source, "model.safetensors"), shapes)
        self.assertIn("1 unknown: model.layers.0.self_attn.surprise.weight",
                      self.refused(source, "t", "--quantize", "4"))

    def test_a_missing_shard(self):
        source = self.model(shards=3)
        os.remove(os.path.join(source, "model-00002-of-00003.safetensors"))
        self.assertIn("which is missing", self.refused(source, "t", "--quantize", "4"))


@needs_engine
class Interruptions(ConvertTest):
    def start(self, source, target):
        return subprocess.Popen([PROGRAM, "convert", source, target, "--quantize", "4", "--json"], env=self.env,
                                cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_killed_at_many_points(self):
        source = self.model(shards=3)
        started = time.monotonic()
        self.convert(source, "whole", "--quantize", "4")
        whole = time.monotonic() - started
        for point in range(12):
            process = self.start(source, "target")
            time.sleep(whole * point / 11)
            process.kill()
            process.communicate()
            visible = [name for name in os.listdir(self.home) if not name.startswith(".")]
            if "target" in visible:
                break
            listed = self.run_json("list", "--all", "--json", env={"MLXK_WORKSPACE_HOME": self.home})["data"]["models"]
            self.assertEqual(len(listed), 2, "source and whole")
        if "target" not in visible:
            self.convert(source, "target", "--quantize", "4")
        self.convert(source, "target", "--quantize", "4", code=1)  # exists; and removes the leftovers of a killed run
        self.assertEqual(tiny_models.summary(self.path("target")), tiny_models.summary(self.path("whole")))
        self.assertEqual([name for name in os.listdir(self.home) if ".mlxk-" in name], [])

    def test_ctrl_c(self):
        process = self.start(self.model(), "target")
        while process.poll() is None and not any(".mlxk-" in name for name in os.listdir(self.home)):
            time.sleep(0.001)
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGCONT):
            process.send_signal(number)
        process.communicate()
        if process.returncode == 0:
            self.skipTest("it was faster")
        self.assertEqual(process.returncode, 130)
        self.assertEqual([name for name in os.listdir(self.home) if "target" in name], [])


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/mlxk-pickle-was-run",)


@needs_engine
class Imports(ConvertTest):
    """PyTorch's and NumPy's files, written by hand: neither needs to be installed."""

    def write_torch(self, path, shapes, pickled=None):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/data.pkl", pickled or torch_pickle(shapes))
            archive.writestr("model/byteorder", "little")
            for number, name in enumerate(shapes):
                archive.writestr(f"model/data/{number}", tiny_models.bf16(name, tiny_models.count(shapes[name])))

    def as_foreign(self, name, write):
        """The tiny model with its weights rewritten, and the expected result."""
        source = self.model(name)
        os.remove(os.path.join(source, "model.safetensors"))
        write(source, tiny_models.model("llama")[1])
        return source

    def expect_as_safetensors(self, source, *flags):
        if not os.path.exists(self.path("plain")):
            self.model("plain")
        self.convert("plain", "expected", *flags)
        self.convert(source, "target", *flags)
        self.assertEqual(tiny_models.summary(self.path("target")), tiny_models.summary(self.path("expected")))

    def test_pytorch(self):
        def write(folder, shapes):
            self.write_torch(os.path.join(folder, "pytorch_model.bin"), shapes)
        self.expect_as_safetensors(self.as_foreign("torch", write), "--quantize", "4")

    def test_sharded_pytorch(self):
        def write(folder, shapes):
            names = list(shapes)
            halves = names[:20], names[20:]
            weight_map = {}
            for number, half in enumerate(halves, 1):
                shard = f"pytorch_model-{number:05}-of-00002.bin"
                self.write_torch(os.path.join(folder, shard), {name: shapes[name] for name in half})
                weight_map.update({name: shard for name in half})
            with open(os.path.join(folder, "pytorch_model.bin.index.json"), "w") as file:
                json.dump({"metadata": {}, "weight_map": weight_map}, file)
        self.expect_as_safetensors(self.as_foreign("torch", write), "--dtype", "bfloat16")
        os.remove(self.path("torch/pytorch_model-00002-of-00002.bin"))
        self.assertIn("which is missing", self.refused("torch", "t"))

    def test_npz(self):
        def write(folder, shapes):
            with zipfile.ZipFile(os.path.join(folder, "weights.npz"), "w") as archive:
                for name, shape in shapes.items():
                    data = tiny_models.as_f32(tiny_models.bf16(name, tiny_models.count(shape)))
                    size = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
                    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({size}), }}".encode()
                    header += b" " * (-(len(header) + 11) % 64) + b"\n"
                    archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)
        self.expect_as_safetensors(self.as_foreign("numpy", write), "--quantize", "4")

    def test_a_pickle_is_never_run(self):
        shapes = {}
        source = self.as_foreign("torch", lambda folder, _: self.write_torch(
            os.path.join(folder, "pytorch_model.bin"), shapes, pickle.dumps({"a": Evil()}, 2)))
        self.assertRegex(self.refused(source, "t"), r"global posix\.system at byte \d+ is refused")
        self.assertFalse(os.path.exists("/tmp/mlxk-pickle-was-run"))
        hostile = {
            b"\x80\x02(Vx\nios\nsystem\n.": "opcode",
            b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s.": "it holds no tensors",
            b"\x80\x02" + b"(" * 5: "cut off",
            b"\x80\x02h\x05.": "memo 5 was never set",
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)\x81.": "opcode NEWOBJ",
            b"\x80\x04\x95" + b"\xff" * 4: "cut off",
        }
        for text, expected in hostile.items():
            with self.subTest(text=text):
                self.write_torch(os.path.join(source, "pytorch_model.bin"), shapes, text)
                self.assertIn(expected, self.refused(source, "t"))

    def test_tensors_that_lie_about_their_size(self):
        for wrong in ("shape", "offset", "stride"):
            with self.subTest(wrong=wrong):
                source = self.as_foreign(wrong, lambda folder, shapes: self.write_torch(
                    os.path.join(folder, "pytorch_model.bin"), shapes, torch_pickle(shapes, wrong)))
                self.assertIn("tensor model.embed_tokens.weight", self.refused(source, "t"))


def torch_pickle(shapes, wrong=None):
    """A state dictionary as torch.save pickles it (protocol 2)."""
    def text(word):
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    def integers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    out = b"\x80\x02ccollections\nOrderedDict\n)R("
    for number, (name, shape) in enumerate(shapes.items()):
        strides = [tiny_models.count(shape[i + 1:]) for i in range(len(shape))]
        lie = wrong if number == 0 else None
        if lie == "shape":
            shape = [1 << 30, *shape[1:]]
        if lie == "stride":
            strides = [0 for _ in strides]
            shape = [size * 1000 for size in shape]
        storage = (b"(" + text("storage") + b"ctorch\nBFloat16Storage\n" + text(str(number)) + text("cpu")
                   + b"K\x00tQ")
        out += (text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage
                + b"J" + struct.pack("<i", -1 if lie == "offset" else 0)
                + integers(shape) + integers(strides) + b"\x89ccollections\nOrderedDict\n)RtR")
    return out + b"u."


@needs_engine
class Check(ConvertTest):
    def test_drift_is_measured_written_and_bounded(self):
        source = self.model()
        data = self.convert(source, "eight", "--quantize", "8", "--check")["data"]
        drift = data["drift"]
        self.assertGreater(drift["tokens"], 100)
        self.assertLess(drift["mean_kl"], 0.01)
        self.assertGreaterEqual(drift["top1_agreement"], 0.5)
        with open(self.path("eight/README.md")) as file:
            self.assertIn(f"| KL divergence, mean | {drift['mean_kl']:.6f} nats |", file.read())
        coarse = self.convert(source, "two", "--quantize", "2", "--check")["data"]["drift"]
        self.assertGreater(coarse["mean_kl"], drift["mean_kl"])
        self.assertIn("the mean KL divergence is",
                      self.refused(source, "refused", "--quantize", "2", "--max-kl", str(coarse["mean_kl"] / 2)))
        same = self.convert(source, "same", "--dtype", "float32", "--check")["data"]["drift"]
        self.assertLess(same["mean_kl"], 1e-6)
        self.assertEqual(same["top1_agreement"], 1)


class Repair(ConvertTest):
    def test_index(self):
        source = self.model(shards=3)
        index = os.path.join(source, "model.safetensors.index.json")
        with open(index) as file:
            good = json.load(file)["weight_map"]
        os.remove(index)
        data = self.convert(source, "rebuilt", "--repair-index")["data"]
        self.assertEqual((data["mode"], data["message"]), ("repair-index", "Index rebuilt successfully"))
        with open(self.path("rebuilt/model.safetensors.index.json")) as file:
            rebuilt = json.load(file)
        self.assertEqual(rebuilt["weight_map"], good)
        shards = [os.path.join(source, name) for name in set(good.values())]
        self.assertEqual(rebuilt["metadata"]["total_size"], sum(map(os.path.getsize, shards)))
        with open(index, "w") as file:
            json.dump({"weight_map": {"a": "model-00001-of-00002.safetensors"}}, file)
        data = self.convert(source, "repaired", "--repair")["data"]
        self.assertEqual([repair["file"] for repair in data["repairs"]], ["model.safetensors.index.json"])
        self.assertFalse(os.path.exists(self.path("source/.mlxk_workspace.json")), "the source is never changed")

    def test_one_file_needs_no_index(self):
        os.mkdir(self.path("target"))
        message = self.convert(self.model(), "target", "--repair-index")["data"]["message"]
        self.assertEqual(message, "No index to rebuild (single-file model or no safetensors found)")

    def test_end_of_sequence(self):
        source = self.model()
        os.remove(os.path.join(source, "generation_config.json"))
        with open(os.path.join(source, "config.json"), "w") as file:
            json.dump({**tiny_models.model("llama")[0], "eos_token_id": None}, file)
        data = self.convert(source, "target", "--repair")["data"]
        self.assertEqual(data["repairs"], [{
            "file": "config.json", "problem": "eos_token_id is null: answers would not end",
            "fix": "set to 2, from tokenizer_config.json, where it is </s>"}])
        with open(self.path("target/config.json")) as file:
            self.assertEqual(json.load(file)["eos_token_id"], 2)

    def test_preprocessor(self):
        source = self.model()
        with open(os.path.join(source, "config.json"), "w") as file:
            json.dump({**tiny_models.model("llama")[0], "model_type": "qwen2_vl",
                       "vision_config": {"patch_size": 16}}, file)
        with open(os.path.join(source, "preprocessor_config.json"), "w") as file:
            json.dump({"merge_size": 3}, file)
        data = self.convert(source, "target", "--repair")["data"]
        self.assertIn("patch_size to 16 (config.json: vision_config.patch_size)", data["repairs"][0]["fix"])
        with open(self.path("target/preprocessor_config.json")) as file:
            repaired = json.load(file)
        self.assertEqual((repaired["merge_size"], repaired["patch_size"], repaired["temporal_patch_size"]), (3, 16, 2))

    def test_nothing_to_repair(self):
        source = self.model()
        os.mkdir(os.path.join(source, "1_Pooling"))
        self.write("source/1_Pooling/config.json", b"{}")
        data = self.convert(source, "target", "--repair")["data"]
        self.assertTrue(os.path.exists(self.path("target/1_Pooling/config.json")))
        self.assertEqual((data["message"], data["repairs"]), ("Nothing to repair", []))


if __name__ == "__main__":
    unittest.main()

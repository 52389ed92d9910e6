"""`mlxk embed` and `mlxk rerank`; MLXK_TEST_MODELS names a folder with all-MiniLM-L6-v2."""
import json
import os
import shutil
import struct
import sys
import unittest

import embedding_kinds
import tiny_models
from program import MODEL, ProgramTest

MINILM = os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "all-MiniLM-L6-v2")
if not os.path.isfile(os.path.join(MINILM, "config.json")):
    print("no model")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

GOLDENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "embedding", "minilm.json")
with open(GOLDENS, encoding="utf-8") as file:
    EXPECTED = json.load(file)

with open(os.path.join(os.path.dirname(GOLDENS), "kinds.json"), encoding="utf-8") as file:
    KINDS = json.load(file)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


class Embed(ProgramTest):
    def embed(self, *args, stdin=b"", code=0, model=MINILM):
        """The records of the lines on stdout, and stderr."""
        done = self.run_program("embed", model, *args, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return [json.loads(line) for line in done.stdout.decode().splitlines()], done.stderr.decode()

    def test_each_text_is_a_record(self):
        records, _ = self.embed(EXPECTED[0]["text"], EXPECTED[2]["text"])
        self.assertEqual([one["text"] for one in records], [EXPECTED[0]["text"], EXPECTED[2]["text"]])
        for record, wanted in zip(records, (EXPECTED[0], EXPECTED[2])):
            self.assertEqual(list(record), ["text", "embedding", "metadata"])
            self.assertGreater(dot(record["embedding"], wanted["vector"]), 0.99999)
            self.assertAlmostEqual(dot(record["embedding"], record["embedding"]), 1, 5)
        self.assertEqual(records[0]["metadata"], {"model": "all-MiniLM-L6-v2", "dimensions": 384, "content_hash": None,
                                                  "device": records[0]["metadata"]["device"]})

    def test_stdin_is_one_text_without_its_last_line_end(self):
        records, _ = self.embed("-", stdin=b"How do I\ncook rice?\n\n")
        self.assertEqual([one["text"] for one in records], ["How do I\ncook rice?"])

    def test_batch_passes_fields_on(self):
        lines = b'{"id": 7, "text": "a", "tags": ["x"]}\n\n{"text": "b", "metadata": 1}\n'
        records, _ = self.embed("--batch", "--batch-size", "1", stdin=lines)
        self.assertEqual([(one.get("id"), one["text"], one.get("tags")) for one in records], [(7, "a", ["x"]), (None, "b", None)])
        self.assertEqual(records[1]["metadata"]["dimensions"], 384)
        for stdin, message in ((b'{"text": "a"}\n{broken\n', "Malformed JSONL on line 2"), (b'{"id": 1}\n', "JSONL line 1 missing 'text' field"),
                               (b"\n\n", "No input records found (--batch)")):
            done = self.run_program("embed", MINILM, "--batch", "--json", stdin=stdin)
            document = json.loads(done.stdout)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(document["error"]["type"], "ValidationError")
            self.assertIn(message, document["error"]["message"])

    def test_a_thousand_records_in_batches(self):
        lines = "".join(json.dumps({"text": f"text number {i % 10}", "i": i}) + "\n" for i in range(1000)).encode()
        records, _ = self.embed("--batch", "--batch-size", "64", stdin=lines)
        self.assertEqual([one["i"] for one in records], list(range(1000)))
        self.assertEqual(records[3]["embedding"], records[993]["embedding"])

    def test_files_and_numpy(self):
        a, b = self.write("a.txt", b"Paris is in France.\n"), self.write("b.txt", b"Rice needs water.\n")
        records, _ = self.embed("--file", a, b)
        self.assertEqual([one["file"] for one in records], [a, b])
        out = os.path.join(self.home, "vectors.npy")
        self.assertEqual(self.embed("--file", a, b, "--npy", out)[0], [])
        with open(out, "rb") as file:
            data = file.read()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        self.assertIn(b"'descr': '<f4', 'fortran_order': False, 'shape': (2, 384)", data[:128])
        first = struct.unpack("<384f", data[128:128 + 4 * 384])
        self.assertEqual(len(data), 128 + 2 * 4 * 384)
        self.assertEqual([struct.unpack("<f", struct.pack("<f", x))[0] for x in records[0]["embedding"]], list(first))

    def test_long_texts_are_cut_and_told_of(self):
        records, note = self.embed(EXPECTED[-1]["text"], EXPECTED[0]["text"])
        self.assertGreater(dot(records[0]["embedding"], EXPECTED[-1]["vector"]), 0.99999)
        self.assertEqual(note, "Note: 1 text is longer than the model's 256 tokens: the rest was left out (--truncate)\n")
        _, message = self.embed(EXPECTED[-1]["text"], "--truncate", "none", code=1)
        self.assertIn("text 1 has 402 tokens; the model takes 256", message)

    def test_compare(self):
        done = self.run_program("embed", MINILM, "--compare", EXPECTED[0]["text"], EXPECTED[1]["text"])
        self.assertAlmostEqual(float(done.stdout), dot(EXPECTED[0]["vector"], EXPECTED[1]["vector"]), 3)
        document = self.run_json("embed", MINILM, "--compare", "a", "a", "--json")
        self.assertAlmostEqual(document["data"]["similarity"], 1, 6)
        self.assertEqual(document["data"]["function"], "cosine")

    def test_json_is_one_document(self):
        document = self.run_json("embed", MINILM, "a", "b", "--json")
        self.assertEqual([one["text"] for one in document["data"]["records"]], ["a", "b"])

    def test_dimensions(self):
        _, message = self.embed("a", "--dimensions", "64", code=1)
        self.assertIn("was not trained for vectors shorter than its 384 numbers", message)
        records, _ = self.embed("a", "--dimensions", "64", "--allow-truncate")
        self.assertEqual(len(records[0]["embedding"]), 64)
        self.assertAlmostEqual(dot(records[0]["embedding"], records[0]["embedding"]), 1, 5)

    def test_prompts_of_a_model_without_any(self):
        plain, _ = self.embed("a")
        query, note = self.embed("a", "--instruct", "find")
        self.assertEqual(plain[0]["embedding"], query[0]["embedding"])
        self.assertIn("--instruct has no effect", note)
        _, message = self.embed("a", "--prompt-name", "x", code=1)
        self.assertIn("the model has no such prompt", message)

    def test_prompts(self):
        folder = os.path.join(self.home, "prompts")
        shutil.copytree(MINILM, folder, copy_function=embedding_kinds.link_or_copy)
        os.remove(os.path.join(folder, "config_sentence_transformers.json"))
        embedding_kinds.write_json(folder, "config_sentence_transformers.json", {
            "prompts": {"query": "Instruct: find answers\nQuery: ", "topic": "about: "}, "default_prompt_name": None})
        for flags, text in ((["--query"], "Instruct: find answers\nQuery: rice"), (["--prompt-name", "topic"], "about: rice"),
                            (["--instruct", "sort"], "Instruct: sort\nQuery: rice")):
            records, note = self.embed("rice", *flags, model=folder)
            self.assertEqual(note, "")
            self.assertEqual(records[0]["text"], "rice")
            self.assertEqual(records[0]["embedding"], self.embed(text, model=folder)[0][0]["embedding"], flags)
        _, message = self.embed("a", "--prompt-name", "gone", model=folder, code=1)
        self.assertIn("prompt name 'gone': the model has no such prompt; it has query, topic", message)
        self.embed("a", "--prompt-name", "topic", "--query", model=folder, code=2)

    def test_on_the_cpu(self):
        records, note = self.embed("a")
        if records[0]["metadata"]["device"] == "cpu":
            self.assertEqual(self.embed("a", "--cpu"), (records, note))
        else:
            self.assertIn("--cpu: this build computes with", self.embed("a", "--cpu", code=1)[1])

    def test_files_that_cannot_be_read_or_written(self):
        good, blank, binary = self.write("a.txt", b"a"), self.write("blank.txt", b" \n"), self.write("b.bin", b"a\xff")
        for args, message in ((["--file", good, os.path.join(self.home, "gone.txt")], "gone.txt: No such file or directory"),
                              (["--file", blank], "blank.txt has no text"), (["--file", binary], "is not UTF-8 text: byte 0xFF at offset 1"),
                              (["a", "--file", good], "exclude each other"), (["a", "--npy", os.path.join(self.home, "no", "x.npy")], "x.npy"),
                              (["--compare", "a"], "--compare takes two texts, got 1"), (["--compare", "a", "b", "--batch"], "--compare takes two texts")):
            self.assertIn(message, self.embed(*args, code=1)[1])
        self.assertFalse(os.path.exists(os.path.join(self.home, "no")))
        for size in ("0", "65537", "x"):
            self.embed("a", "--batch-size", size, code=2)

    def test_a_result_that_is_not_finite(self):
        folder = os.path.join(self.home, "nan")
        embedding_kinds.write_nan(MINILM, folder, "zebra")
        _, message = self.embed("a", "zebra", model=folder, code=1)
        self.assertIn("the model's output for text 1 is not finite: number 0 is nan", message)

    def test_late_interaction(self):
        folder = os.path.join(self.home, "colbert")
        embedding_kinds.write_colbert(MINILM, folder)
        wanted = KINDS["late_interaction"]
        for kind, flags in (("query", ["--query"]), ("document", [])):
            records, _ = self.embed(*[one["text"] for one in wanted[kind]], *flags, model=folder)
            for record, one in zip(records, wanted[kind]):
                self.assertNotIn("embedding", record)
                self.assertEqual([len(row) for row in record["embeddings"]], [embedding_kinds.COLBERT_SIZE] * len(one["vectors"]))
                for a, b in zip(record["embeddings"], one["vectors"]):
                    self.assertGreater(dot(a, b), 0.9999)
            self.assertEqual(records[0]["metadata"]["dimensions"], embedding_kinds.COLBERT_SIZE)
        query, document = wanted["query"][1], wanted["document"][1]
        compared = self.run_json("embed", folder, "--compare", query["text"], document["text"], "--json")["data"]
        self.assertEqual(compared["function"], "maxsim")
        self.assertAlmostEqual(compared["similarity"], sum(max(dot(q, d) for d in document["vectors"]) for q in query["vectors"]), 2)
        self.assertIn("has no text vectors", self.embed("a", "--npy", "x.npy", model=folder, code=1)[1])

    def test_sparse_vectors_and_masks(self):
        folder = os.path.join(self.home, "splade")
        embedding_kinds.write_splade(MINILM, folder)
        wanted = KINDS["splade"][0]
        record = self.embed(wanted["text"], "--sparse", model=folder)[0][0]
        weights = dict(zip(record["sparse_embedding"]["indices"], record["sparse_embedding"]["values"]))
        for number, value in zip(wanted["indices"], wanted["values"]):
            self.assertAlmostEqual(weights.get(number, 0), value, delta=0.05)
        wanted = KINDS["fill_mask"][0]
        for records in (self.embed(wanted["text"], "--fill-mask", "2", model=folder)[0],
                        self.run_json("embed", folder, wanted["text"], "--fill-mask", "2", "--json")["data"]["records"]):
            self.assertEqual([one["token"] for one in records[0]["predictions"]], wanted["tokens"][:2])
            self.assertEqual(records[0]["predictions"][0]["token_str"], wanted["words"][0])
        self.assertIn("must have [MASK] once", self.embed("none", "--fill-mask", "2", model=folder, code=1)[1])
        self.assertIn("--sparse: 'all-MiniLM-L6-v2' has no sparse vectors", self.embed("a", "--sparse", code=1)[1])
        self.assertIn("is not a masked language model", self.embed("a", "--fill-mask", "2", code=1)[1])

    def test_a_trained_splade(self):
        folder = os.path.join(os.path.dirname(MINILM), "splade-tiny")
        if not os.path.isfile(os.path.join(folder, "config.json")):
            self.skipTest("no splade-tiny")
        with open(os.path.join(os.path.dirname(GOLDENS), "splade_tiny.json"), encoding="utf-8") as file:
            expected = json.load(file)
        records, _ = self.embed(*[one["text"] for one in expected], model=folder)
        for record, wanted in zip(records, expected):
            weights = dict(zip(record["sparse_embedding"]["indices"], record["sparse_embedding"]["values"]))
            reference = dict(zip(wanted["indices"], wanted["values"]))
            for number in set(weights) | set(reference):
                self.assertAlmostEqual(weights.get(number, 0), reference.get(number, 0), delta=0.01)
        alike, other = (self.run_json("embed", folder, "--compare", expected[0]["text"], expected[i]["text"], "--json")["data"]
                        for i in (1, 2))
        self.assertEqual(alike["function"], "dot")
        self.assertGreater(alike["similarity"], 10 * abs(other["similarity"]))

    def test_a_conversion_keeps_the_modules_and_reports_its_drift(self):
        target = os.path.join(self.home, "eight")
        data = self.run_json("convert", MINILM, target, "--quantize", "8", "--check", "--json")["data"]
        for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
            self.assertTrue(os.path.isfile(os.path.join(target, name)), name)
        self.assertEqual(data["drift"]["texts"], 7)
        self.assertGreater(data["drift"]["min_cosine"], 0.9995)
        self.assertGreaterEqual(data["drift"]["mean_cosine"], data["drift"]["min_cosine"])
        with open(os.path.join(target, "README.md"), encoding="utf-8") as file:
            self.assertIn(f"| cosine, smallest | {data['drift']['min_cosine']:.6f} |", file.read())
        self.assertGreater(dot(self.embed(EXPECTED[0]["text"], model=target)[0][0]["embedding"], EXPECTED[0]["vector"]), 0.9995)
        document = self.run_json("convert", MINILM, os.path.join(self.home, "two"), "--quantize", "2", "--min-cosine", "0.99", "--json", code=1)
        self.assertIn("[check] the smallest cosine is", document["error"]["message"])

    def test_refusals(self):
        for args, kind, message in ((("embed", "nowhere", "a"), "ModelNotFound", None), (("embed", MINILM, ""), "ValidationError", None),
                                    (("rerank", MINILM, "--query", "q", "-"), "NotAReranker", "is an embedding model")):
            done = self.run_program(*args, "--json", stdin=b"x\n")
            document = json.loads(done.stdout)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(document["error"]["type"], kind)
            if message:
                self.assertIn(message, document["error"]["message"])
        if os.path.isfile(os.path.join(MODEL, "config.json")):
            document = json.loads(self.run_program("embed", MODEL, "a", "--json").stdout)
            self.assertIn("is not an embedding model", document["error"]["message"])
            self.assertEqual(document["error"]["type"], "NotAnEmbedder")
        run = self.run_program("run", MINILM, "hello")
        self.assertIn(b"Use `mlxk embed`", run.stderr)


class Families(ProgramTest):
    """Random models of tests/data/models/embedding as their folders come; goldens_test.cpp has transformers' numbers for them."""

    def embed(self, folder, *args):
        done = self.run_program("embed", folder, *args)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return [json.loads(line)["embedding"] for line in done.stdout.decode().splitlines()]

    def write(self, case, pooling=None):
        folder = os.path.join(self.home, case)
        tiny_models.write_model(folder, "case embedding/" + case)
        if pooling:
            embedding_kinds.modules(folder, ("", "sentence_transformers.models.Transformer"),
                                    ("1_Pooling", "sentence_transformers.models.Pooling"))
            embedding_kinds.write_json(folder, "1_Pooling/config.json", {"word_embedding_dimension": 48, pooling: True})
        return folder

    def test_encoders(self):
        for case in ("gte", "new_published", "jina_v3", "jina_v3_published", "nomic_bert", "nomic_bert_mixture", "modernbert", "mpnet",
                     "distilbert", "camembert", "xlm_roberta"):
            with self.subTest(case):
                folder = self.write(case)
                alone, together = self.embed(folder, "hello"), self.embed(folder, "good morning", "hello")
                self.assertEqual(alone[0], together[1])
                self.assertNotEqual(together[0], together[1])
                self.assertAlmostEqual(dot(alone[0], alone[0]), 1, 5)

    def test_decoders_by_their_last_token(self):
        found = {}
        for case in ("llama", "qwen2", "qwen2_both_ways", "qwen3", "gemma3_text", "mistral_window", "llama_bidirec", "lfm2"):
            with self.subTest(case):
                folder = self.write(case, "pooling_mode_lasttoken")
                alone, together = self.embed(folder, "hello"), self.embed(folder, "good morning", "hello")
                self.assertEqual(alone[0], together[1])
                self.assertAlmostEqual(dot(alone[0], alone[0]), 1, 5)
                found[case] = alone[0]
        self.assertNotEqual(found["qwen2"], found["qwen2_both_ways"])

    def test_rerankers(self):
        for case in ("xlm_roberta_reranker", "electra_reranker", "modernbert_reranker", "jina_reranker_published", "jina_v3_reranker",
                     "qwen3_classifier"):
            with self.subTest(case):
                results = self.run_json("rerank", self.write(case), "--query", "hi", "--json", stdin=b"hello\nhi\n")["data"]["results"]
                self.assertEqual({one["index"] for one in results}, {0, 1})
                self.assertGreaterEqual(results[0]["score"], results[1]["score"])


class Rerank(ProgramTest):
    """A cross-encoder of trained layers whose last matrix is made here; kinds.json has transformers' scores."""

    QUERY = KINDS["late_interaction"]["query"][0]["text"]
    EXPECTED = [one for one in KINDS["rerank"] if "\n" not in one["text"]]

    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.home, "ranks")
        embedding_kinds.write_classifier(MINILM, self.folder, ["score"])
        self.stdin = "".join(one["text"] + "\n" for one in self.EXPECTED).encode()
        self.order = sorted(range(len(self.EXPECTED)), key=lambda i: -self.EXPECTED[i]["scores"][0])

    def rerank(self, *args, stdin=b"", code=0):
        """The fields of the lines on stdout, and stderr."""
        done = self.run_program("rerank", self.folder, "--query", self.QUERY, *args, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return [line.split("\t") for line in done.stdout.decode().splitlines()], done.stderr.decode()

    def test_lines_of_stdin_best_first(self):
        for args in ([], ["-"], ["--batch-size", "1"]):
            lines, _ = self.rerank(*args, stdin=self.stdin)
            self.assertEqual([int(line[1]) for line in lines], self.order)
            for score, index, text in lines:
                wanted = self.EXPECTED[int(index)]
                self.assertAlmostEqual(float(score), wanted["scores"][0], delta=0.01)
                self.assertTrue(wanted["text"].startswith(text.rstrip("…")))
        self.assertEqual(self.rerank("--top-n", "1", stdin=self.stdin)[0], lines[:1])
        spaced, _ = self.rerank(stdin=b"\n" + self.stdin.replace(b"\n", b"\r\n\n"))  # blank lines do not count
        self.assertEqual(spaced, lines)

    def test_files(self):
        files = [self.write(f"{i}.txt", one["text"].encode()) for i, one in enumerate(self.EXPECTED)]
        lines, _ = self.rerank(*files)
        self.assertEqual([line[2] for line in lines], [files[i] for i in self.order])
        data = self.run_json("rerank", self.folder, "--query", self.QUERY, *files, "--json")["data"]
        self.assertEqual([one["file"] for one in data["results"]], [files[i] for i in self.order])

    def test_json_and_fields_passed_on(self):
        lines = "".join(json.dumps({"id": 10 + i, "text": one["text"], "score": "own"}) + "\n" for i, one in enumerate(self.EXPECTED))
        data = self.run_json("rerank", self.folder, "--query", self.QUERY, "--batch", "--json", stdin=lines.encode())["data"]
        self.assertEqual(data["model"], "ranks")
        self.assertEqual([one["index"] for one in data["results"]], self.order)
        for one in data["results"]:
            self.assertEqual((one["id"], one["text"]), (10 + one["index"], self.EXPECTED[one["index"]]["text"]))
            self.assertAlmostEqual(one["score"], self.EXPECTED[one["index"]]["scores"][0], delta=0.01)

    def test_equal_ones_keep_their_order(self):
        lines, _ = self.rerank(stdin=b"same\n" * 5)
        self.assertEqual([line[1] for line in lines], list("01234"))

    def test_verbose(self):
        lines, notes = self.rerank("--verbose", stdin=b"a\nb\n")
        self.assertEqual(len(lines), 2)
        self.assertRegex(notes, r"Loaded in .*s\n2 texts, \d+ tokens in .*s \(\d+ tokens/s\)\n")

    def test_bad_input(self):
        gone, blank = os.path.join(self.home, "gone.txt"), self.write("blank.txt", b"\n")
        for args, stdin, code, message in (
                ([], b"", 1, "there are no documents on stdin"), ([], b" \n\n", 1, "there are no documents on stdin"),
                (["-"], b"a\nb\xff\n", 1, "line 2 of stdin is not UTF-8 text: byte 0xFF at offset 1"),
                ([gone], b"", 1, "gone.txt: No such file or directory"), ([blank], b"", 1, "blank.txt has no text"),
                (["--batch"], b"\n", 1, "No input records found (--batch)"),
                (["--batch"], b'{"text": "a"}\n{"id": 1}\n', 1, "JSONL line 2 missing 'text' field"),
                (["--batch"], b'{"text": "a"}\n{"text": ""}\n', 1, "document 2 is empty"),
                (["--batch"], b"{", 1, "Malformed JSONL on line 1"),
                (["--batch", gone], b"", 1, "files and --batch exclude each other"),
                (["--truncate", "none"], b"a\n" + b"word " * 600, 1, "document 2 has "),
                (["--top-n", "0"], b"a\n", 2, "--top-n"), (["--batch-size", "0"], b"a\n", 2, "--batch-size")):
            lines, error = self.rerank(*args, stdin=stdin, code=code)
            self.assertEqual(lines, [])
            self.assertIn(message, error)
        for args, message in (([], "--query is missing"), (["--query", ""], "--query is missing")):
            done = self.run_program("rerank", self.folder, *args, stdin=b"a\n")
            self.assertEqual(done.returncode, 1)
            self.assertIn(message, done.stderr.decode())
        document = self.run_json("rerank", "nowhere", "--query", "q", "--json", stdin=b"a\n", code=1)
        self.assertEqual(document["error"]["type"], "ModelNotFound")

    def test_a_score_that_is_not_finite(self):
        folder = os.path.join(self.home, "nan")
        embedding_kinds.write_classifier(MINILM, folder, ["score"], [float("nan")])
        document = self.run_json("rerank", folder, "--query", "q", "--json", stdin=b"a\nb\n", code=1)
        self.assertIn("is not finite: number 0 is nan", document["error"]["message"])


if __name__ == "__main__":
    unittest.main()

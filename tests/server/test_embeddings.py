"""Embeddings through OpenAI's own Python client and curl-like requests, compared with sentence-transformers' numbers; MLXK_TEST_MODELS
names a folder with all-MiniLM-L6-v2 and SmolLM2."""
import base64
import http.server
import json
import math
import os
import re
import struct
import sys
import threading
import unittest

from server_case import MODEL, SharedServerTest, link_model

try:
    import openai
except ImportError:
    openai = None
MINILM = os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "all-MiniLM-L6-v2")
if openai is None or not os.path.isfile(os.path.join(MINILM, "config.json")):
    print("no model, or no openai package")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

import embedding_kinds  # noqa: E402: of tests/cli, where server_case looks too
import tiny_models  # noqa: E402


def golden(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "embedding", name)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


EXPECTED = golden("minilm.json")
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "embeddings.md")


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


class EmbeddingsTest(SharedServerTest):
    @classmethod
    def start(cls, holder):
        home = os.path.join(holder.home, "workspaces")
        link_model(MINILM, os.path.join(home, "minilm"))
        pooling = os.path.join(home, "minilm", "1_Pooling")
        os.makedirs(pooling)
        os.link(os.path.join(MINILM, "1_Pooling", "config.json"), os.path.join(pooling, "config.json"))
        embedding_kinds.write_colbert(MINILM, os.path.join(home, "colbert"))
        embedding_kinds.write_splade(MINILM, os.path.join(home, "splade"))
        embedding_kinds.write_classifier(MINILM, os.path.join(home, "ranks"), ["score"])
        embedding_kinds.write_classifier(MINILM, os.path.join(home, "moods"), ["calm", "angry", "sad"])
        tiny_models.write_model(os.path.join(home, "jina"), "case embedding/jina_v3_published")
        embedding_kinds.write_nan(MINILM, os.path.join(home, "nan"), "zebra")
        embedding_kinds.write_classifier(MINILM, os.path.join(home, "nan-ranks"), ["score"], [math.inf])
        embedding_kinds.write_classifier(MINILM, os.path.join(home, "nan-moods"), ["calm", "angry", "sad"], [0, math.nan, 0])
        if os.path.isfile(os.path.join(MODEL, "config.json")):
            link_model(MODEL, os.path.join(home, "smollm2"))
        cls.models = home
        cls.server = holder.serve("--model", "minilm", env={"MLXK_WORKSPACE_HOME": home})
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="any", max_retries=0, timeout=120)

    def embed(self, texts, **fields):
        return self.client.embeddings.create(model="minilm", input=texts, **fields)


class Vectors(EmbeddingsTest):
    def test_are_those_of_sentence_transformers(self):
        answer = self.embed([one["text"] for one in EXPECTED], extra_body={"truncate": "end"})
        self.assertEqual([one.index for one in answer.data], list(range(len(EXPECTED))))
        for got, wanted in zip(answer.data, EXPECTED):
            self.assertEqual(len(got.embedding), 384)
            self.assertGreater(cosine(got.embedding, wanted["vector"]), 0.99999, wanted["text"][:40])
            self.assertLess(max(abs(a - b) for a, b in zip(got.embedding, wanted["vector"])), 2e-3)
        self.assertEqual(answer.usage.prompt_tokens, sum(one["tokens"] for one in EXPECTED))
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens)

    def test_have_the_same_bits_alone_and_beside_others(self):
        texts = [one["text"] for one in EXPECTED[:-1]]
        together = [one.embedding for one in self.embed(texts * 7).data]
        for i, text in enumerate(texts):
            alone = self.embed(text).data[0].embedding
            for k in range(i, len(together), len(texts)):
                self.assertEqual(alone, together[k])

    def test_come_as_numbers_and_as_base64(self):
        numbers = self.server.post("/v1/embeddings", {"model": "minilm", "input": "a"})[2]["data"][0]["embedding"]
        text = self.server.post("/v1/embeddings", {"model": "minilm", "input": "a", "encoding_format": "base64"})[2]["data"][0]["embedding"]
        data = base64.b64decode(text)
        self.assertEqual(list(struct.unpack(f"<{len(data) // 4}f", data)), [struct.unpack("<f", struct.pack("<f", x))[0] for x in numbers])

    def test_of_token_ids_are_those_of_their_text(self):
        answer = self.embed([[101, 7592, 2088, 102], [101, 2748, 102]])  # [CLS] hello world [SEP], [CLS] yes [SEP]
        self.assertEqual([one.embedding for one in answer.data], [one.embedding for one in self.embed(["hello world", "yes"]).data])
        self.assertEqual(self.embed([101, 2748, 102]).usage.prompt_tokens, 3)

    def test_of_many_requests_at_once(self):
        texts = [one["text"] for one in EXPECTED[:-1]]
        alone = [self.embed(text).data[0].embedding for text in texts]
        found = {}

        def ask(number):
            found[number] = self.embed([texts[(number + k) % len(texts)] for k in range(3)])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, answer in found.items():
            for k, one in enumerate(answer.data):
                self.assertEqual(one.embedding, alone[(number + k) % len(texts)])

    def test_come_beside_a_chat(self):
        if not os.path.isfile(os.path.join(MODEL, "config.json")):
            self.skipTest("no chat model")
        chat = openai.OpenAI(base_url=self.server.url + "/v1", api_key="any", max_retries=0, timeout=120)
        ask = dict(model="smollm2", messages=[{"role": "user", "content": "Count to ten."}], temperature=0, max_tokens=30)
        alone = chat.chat.completions.create(**ask).choices[0].message.content
        found = []
        thread = threading.Thread(target=lambda: found.append(chat.chat.completions.create(**ask).choices[0].message.content))
        thread.start()
        self.embed([one["text"] for one in EXPECTED[:-1]] * 20)
        thread.join()
        self.assertEqual(found, [alone])


class Kinds(EmbeddingsTest):
    """Token vectors, sparse vectors and predicted tokens against sentence-transformers and transformers."""

    EXPECTED = golden("kinds.json")

    def test_late_interaction(self):
        for kind, wanted in self.EXPECTED["late_interaction"].items():
            answer = self.client.embeddings.create(model="colbert", input=[one["text"] for one in wanted],
                                                   encoding_format="float", extra_body={"input_type": kind})
            for got, one in zip(answer.data, wanted):
                self.assertEqual(got.embedding, [])
                self.assertEqual(len(got.embeddings), len(one["vectors"]), one["text"])
                for a, b in zip(got.embeddings, one["vectors"]):
                    self.assertGreater(cosine(a, b), 0.9999)
        texts = [one["text"] for one in self.EXPECTED["late_interaction"]["document"]]
        plain = self.client.embeddings.create(model="colbert", input=texts).data  # documents by default; base64, as the client asks
        self.assertEqual(len(base64.b64decode(plain[0].embeddings[0])), 4 * embedding_kinds.COLBERT_SIZE)

    def test_splade(self):
        texts = [one["text"] for one in self.EXPECTED["splade"]]
        found = self.client.embeddings.create(model="splade", input=texts).data
        bare = self.server.post("/embed_sparse", {"model": "splade", "inputs": texts})[2]
        for got, listed, wanted in zip(found, bare, self.EXPECTED["splade"]):
            weights = dict(zip(got.sparse_embedding["indices"], got.sparse_embedding["values"]))
            self.assertEqual({one["index"]: one["value"] for one in listed}, weights)
            expected = dict(zip(wanted["indices"], wanted["values"]))
            for number in set(weights) | set(expected):
                self.assertAlmostEqual(weights.get(number, 0), expected.get(number, 0), delta=0.05)

    def test_fill_mask(self):
        texts = [one["text"] for one in self.EXPECTED["fill_mask"]]
        status, _, answer = self.server.post("/v1/classify", {"model": "splade", "input": texts, "top_k": 4})
        self.assertEqual(status, 200)
        for got, wanted in zip(answer["data"], self.EXPECTED["fill_mask"]):
            scores = {one["token"]: one["score"] for one in got["scores"]}
            self.assertEqual(got["scores"][0]["token"], wanted["tokens"][0])
            self.assertEqual(got["label"], wanted["words"][0])
            self.assertIn(wanted["words"][0], got["scores"][0]["sequence"])
            for token, score in zip(wanted["tokens"][:3], wanted["scores"]):
                self.assertAlmostEqual(scores[token], score, delta=0.05 * score)
        for text, times in (("no mask", 0), ("[MASK] and [MASK]", 2)):
            status, _, answer = self.server.post("/v1/classify", {"model": "splade", "input": text})
            self.assertEqual(status, 400)
            self.assertIn(f"must have [MASK] once, has it {times} times", answer["error"]["message"])

    def test_rerank_and_classify(self):
        wanted = self.EXPECTED["rerank"]
        query = self.EXPECTED["late_interaction"]["query"][0]["text"]
        answer = self.server.post("/v1/rerank", {"model": "ranks", "query": query, "documents": [one["text"] for one in wanted]})[2]
        scores = {one["index"]: one["relevance_score"] for one in answer["results"]}
        for i, one in enumerate(wanted):
            self.assertAlmostEqual(scores[i], one["scores"][0], delta=0.01)
        self.assertEqual([one["index"] for one in answer["results"]], sorted(scores, key=lambda i: -wanted[i]["scores"][0]))
        wanted = self.EXPECTED["classify"]
        answer = self.server.post("/v1/classify", {"model": "moods", "input": [one["text"] for one in wanted], "truncate": "end"})[2]
        for got, one in zip(answer["data"], wanted):
            for a, b in zip(got["probs"], one["scores"]):
                self.assertAlmostEqual(a, b, delta=0.005)
        best = self.server.post("/v1/classify", {"model": "moods", "input": wanted[0]["text"], "top_k": 1})[2]["data"][0]
        self.assertEqual([one["label"] for one in best["scores"]], [best["label"]])

    def test_adapters_of_tasks(self):
        vector = {task: self.server.post("/v1/embeddings", {"model": "jina", "input": "hello", **({"task": task} if task else {})})[2]["data"]
                  for task in (None, "retrieval.query", "retrieval.passage", "text-matching")}
        found = [one[0]["embedding"] for one in vector.values()]
        self.assertEqual(len({tuple(one) for one in found}), 4)
        for model, task, message in (("jina", "gone", "task must be one of retrieval.query, retrieval.passage, text-matching"),
                                     ("minilm", "text-matching", "the weights of 'minilm' have no adapters")):
            status, _, answer = self.server.post("/v1/embeddings", {"model": model, "input": "a", "task": task})
            self.assertEqual((status, answer["error"]["param"]), (400, "task"))
            self.assertIn(message, answer["error"]["message"])

    def test_outputs_that_a_model_does_not_have_are_refused(self):
        for model, field in (("minilm", "return_sparse"), ("minilm", "return_multivector"), ("colbert", "return_dense"),
                             ("splade", "return_dense"), ("colbert", "return_sparse")):
            status, _, answer = self.server.post("/v1/embeddings", {"model": model, "input": "a", field: True})
            self.assertEqual((status, answer["error"]["param"]), (400, field), answer)
        self.assertEqual(self.server.post("/embed", {"model": "colbert", "inputs": "a"})[0], 400)
        self.assertEqual(self.server.post("/v1/classify", {"model": "minilm", "input": "a [MASK]"})[0], 400)


class Examples(EmbeddingsTest):
    """docs/embeddings.md with LangChain, LlamaIndex and sqlite-vec, as far as those packages are installed."""

    def test_run(self):
        with open(PAGE, encoding="utf-8") as file:
            blocks = re.findall(r"```python\n(.*?)```", file.read(), re.S)
        self.assertEqual(len(blocks), 3)
        for block in blocks:
            names = {}
            with self.subTest(block[:60]):
                try:
                    exec(block.replace("http://localhost:8000", self.server.url).replace("build/models/all-MiniLM-L6-v2", "minilm"), names)
                except ImportError as missing:
                    self.skipTest(missing)
                except AttributeError as old:
                    if "enable_load_extension" not in str(old):
                        raise
                    self.skipTest(old)
                if "nearest" in names:
                    self.assertEqual(names["texts"][names["nearest"][0]], "Rice needs water.")
                else:
                    self.assertAlmostEqual(cosine(names["vector"], self.embed("How do I cook rice?").data[0].embedding), 1, 6)


class Sentences(EmbeddingsTest):
    """Trained models: vectors, and the order of 200 pairs by similarity, against sentence-transformers."""

    EXPECTED = golden("sentences.json")

    def test_vectors_and_their_order(self):
        texts = self.EXPECTED["texts"]
        for name, wanted in self.EXPECTED["models"].items():
            folder = os.path.join(os.environ["MLXK_TEST_MODELS"], name)
            if not os.path.isfile(os.path.join(folder, "config.json")):
                continue
            with self.subTest(model=name):
                data = base64.b64decode(wanted["vectors_f16"])
                reference = [struct.unpack_from("<384e", data, 768 * i) for i in range(len(texts))]
                server = self.serve("--model", folder)
                body = {"model": folder, "input": texts}
                if wanted["input_type"]:
                    body["input_type"] = wanted["input_type"]
                found = [one["embedding"] for one in server.post("/v1/embeddings", body)[2]["data"]]
                for got, one in zip(found, reference):
                    self.assertGreater(cosine(got, one), 0.99999)
                pairs = [(i, k) for i in range(len(texts)) for k in range(i)][:200]
                similarity = {pair: (cosine(reference[pair[0]], reference[pair[1]]), cosine(found[pair[0]], found[pair[1]])) for pair in pairs}
                order = sorted(pairs, key=lambda pair: similarity[pair][0])
                for a, b in zip(order, order[1:]):
                    if similarity[b][0] - similarity[a][0] > 1e-3:  # rounding decides between nearer ones
                        self.assertLess(similarity[a][1], similarity[b][1], (texts[a[0]], texts[a[1]], texts[b[0]], texts[b[1]]))


class Refusals(EmbeddingsTest):
    def refused(self, texts, kind=None, **fields):
        with self.assertRaises(kind or openai.BadRequestError) as caught:
            self.embed(texts, **fields)
        return caught.exception

    def test_name_the_text(self):
        long = self.refused(["short", EXPECTED[-1]["text"]])
        self.assertEqual(long.body["message"], "input[1] has 402 tokens; the model takes 256")
        self.assertEqual(long.param, "input[1]")
        self.assertEqual(long.code, "context_length_exceeded")
        self.assertEqual(self.refused(["a", ""]).param, "input[1]")

    def test_dimensions(self):
        self.assertIn("was not trained for vectors shorter", self.refused("a", dimensions=64).message)
        self.assertEqual(len(self.embed("a", dimensions=384).data[0].embedding), 384)

    def test_a_chat_model_and_a_chat(self):
        if os.path.isfile(os.path.join(MODEL, "config.json")):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.client.embeddings.create(model="smollm2", input="a")
            self.assertIn("is not an embedding model", caught.exception.message)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(model="minilm", messages=[{"role": "user", "content": "hi"}])
        self.assertIn("Use /v1/embeddings", caught.exception.message)

    def test_the_list_of_models_says_what_it_is(self):
        models = {one["id"]: one for one in self.server.get("/v1/models")[2]["data"]}
        self.assertEqual(models["minilm"]["capabilities"], ["embeddings"])


class Limits(EmbeddingsTest):
    """Every endpoint of encoders: too much, nothing, and results that are no numbers."""

    ENDPOINTS = [  # path, fields, the field of the texts
        ("/v1/embeddings", {"model": "minilm"}, "input"),
        ("/embed", {"model": "minilm"}, "inputs"),
        ("/embed_sparse", {"model": "splade"}, "inputs"),
        ("/v1/rerank", {"model": "ranks", "query": "q", "truncate": "none"}, "documents"),
        ("/rerank", {"model": "ranks", "query": "q"}, "texts"),
        ("/v1/classify", {"model": "moods"}, "input"),
    ]

    def refusals(self, texts, status=400, **fields):
        """(path, field, error) of each endpoint's answer to `texts`."""
        for path, body, field in self.ENDPOINTS:
            got, _, answer = self.server.post(path, {**body, field: texts, **fields})
            self.assertEqual(got, status, (path, answer))
            yield path, field, answer["error"]

    def test_too_many_texts(self):
        self.assertEqual(len(self.embed(["a"] * 2048).data), 2048)
        for count in (2049, 100_000):
            for path, field, error in self.refusals(["a"] * count):
                self.assertEqual(error["param"], field, path)
                self.assertIn("2048", error["message"], path)
                self.assertIn(str(count), error["message"], path)

    def test_a_megabyte_of_text(self):
        long = "understanding " * 72_000
        for path, field, error in self.refusals(["a", long]):
            self.assertEqual((error["param"], error["code"]), (f"{field}[1]", "context_length_exceeded"), path)
            self.assertRegex(error["message"], r"has 7200\d tokens; the model takes (64|256|512)", path)
        self.assertEqual(self.embed(["a", long], extra_body={"truncate": "end"}).usage.prompt_tokens, 3 + 256)
        answer = self.server.post("/v1/rerank", {"model": "ranks", "query": long, "documents": ["a", long]})[2]
        self.assertEqual(answer["usage"]["prompt_tokens"], 512 + 512)

    def test_no_text(self):
        for path, field, error in self.refusals([]):
            self.assertEqual(error["param"], field, path)
        for texts in (["a", ""], ["a", None], ["a", 7]):
            for path, field, error in self.refusals(texts):
                self.assertEqual(error["param"], f"{field}[1]", path)
                self.assertIn(f"got {json.dumps(texts[1])}", error["message"], path)
        for path in ("/v1/rerank", "/rerank"):
            field = "documents" if path == "/v1/rerank" else "texts"
            answer = self.server.post(path, {"model": "ranks", "query": "", field: ["a"]})
            self.assertEqual((answer[0], answer[2]["error"]["param"]), (400, "query"))
        answer = self.server.post("/v1/rerank", {"model": "ranks", "query": "q", "documents": ["a", {"text": ""}]})
        self.assertEqual((answer[0], answer[2]["error"]["param"]), (400, "documents[1].text"))

    def test_token_ids_out_of_range(self):
        for path, field in (("/v1/embeddings", "input"), ("/embed", "inputs")):
            for ids, place, value in (([101, 30522, 102], "[1]", 30522), ([[101], [101, 102, 30522]], "[1][2]", 30522),
                                      ([[101], [-1]], "[1][0]", -1), ([[2**31]], "[0][0]", 2**31), ([[101], []], "[1]", "an array of 0"),
                                      ([[1.5]], "[0][0]", 1.5), ([101, "a"], "[1]", '"a"')):
                status, _, answer = self.server.post(path, {"model": "minilm", field: ids})
                self.assertEqual(status, 400, answer)
                self.assertTrue(answer["error"]["message"].startswith(f"{field}{place} "), answer)
                self.assertTrue(answer["error"]["message"].endswith(f"got {value}"), answer)

    def test_results_that_are_not_finite(self):
        for path, body, message in (
                ("/v1/embeddings", {"model": "nan", "input": ["a", "b", "zebra"]}, "text 2 is not finite: number 0 is nan"),
                ("/embed", {"model": "nan", "inputs": ["a", "zebra"]}, "text 1 is not finite: number 0 is nan"),
                ("/rerank", {"model": "nan-ranks", "query": "q", "documents": ["a", "b"]}, "is not finite: number 0 is inf"),
                ("/rerank", {"model": "nan-ranks", "query": "q", "texts": ["a"], "raw_scores": True}, "text 0 is not finite: number 0 is inf"),
                ("/v1/classify", {"model": "nan-moods", "input": "a"}, "text 0 is not finite: number 1 is nan")):
            status, _, answer = self.server.post(path, body)
            self.assertEqual(status, 500, answer)
            self.assertIn(message, answer["error"]["message"])
        self.assertEqual(len(self.client.embeddings.create(model="nan", input=["a", "b"]).data), 2)  # the others are well

    def test_refusals_take_no_memory(self):
        def storm():
            list(self.refusals(["a"] * 100_000))
            self.embed(["x " * 50_000] * 2, extra_body={"truncate": "end"})
            self.server.post("/v1/rerank", {"model": "ranks", "query": "x " * 50_000, "documents": ["a"]})
        storm()
        before = self.server.memory()
        for _ in range(2):
            storm()
        self.assertLess(self.server.memory() - before, 128 << 20)


class Memory(EmbeddingsTest):
    """Encoders are loaded, pinned and evicted as other models are."""

    def loaded(self, server):
        return server.get("/ready")[2]["models"]

    def test_the_least_recently_used_leaves(self):
        server = self.serve("--max-models", "1", env={"MLXK_WORKSPACE_HOME": self.models})
        for _ in range(2):
            for path, model, body in (("/v1/embeddings", "minilm", {"input": "a"}), ("/v1/classify", "moods", {"input": "a"}),
                                      ("/rerank", "ranks", {"query": "q", "texts": ["a"]})):
                self.assertEqual(server.post(path, {"model": model, **body})[0], 200)
                self.assertEqual(self.loaded(server), [model])

    def test_a_pinned_one_stays_and_what_does_not_fit_is_507(self):
        size = os.path.getsize(os.path.join(MINILM, "model.safetensors"))
        env = {"MLXK_WORKSPACE_HOME": self.models, "MLXK_MEMORY_LIMIT": str(2 * size)}
        server = self.serve("--model", "minilm", env=env)
        first = server.post("/v1/embeddings", {"model": "minilm", "input": "a"})[2]["data"]
        status, _, answer = server.post("/v1/classify", {"model": "moods", "input": "a"})
        self.assertEqual((status, answer["error"]["type"]), (507, "insufficient_memory"), answer)
        self.assertEqual(self.loaded(server), ["minilm"])
        self.assertEqual(server.post("/v1/embeddings", {"model": "minilm", "input": "a"})[2]["data"], first)
        small = self.serve(env={**env, "MLXK_MEMORY_LIMIT": str(size)})
        status, _, answer = small.post("/v1/embeddings", {"model": "minilm", "input": "a"})
        self.assertEqual((status, answer["error"]["type"]), (507, "insufficient_memory"), answer)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, body, self.headers["X-Request-ID"], self.headers["Content-Type"]))
        answer = b'{"verbatim": [1,  2]}'
        self.send_response(418)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Backend(EmbeddingsTest):
    """`serve --embed-backend`: another server's answers."""

    def forwarding(self, url):
        return self.serve("--embed-backend", url)

    def test_answers_verbatim(self):
        backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        backend.asked = []
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        self.addCleanup(backend.server_close)
        self.addCleanup(backend.shutdown)
        server = self.forwarding(f"http://127.0.0.1:{backend.server_port}/")
        body = b'{"model":  "x", "input": "as it came"}'
        status, headers, _ = server.request("POST", "/v1/embeddings", body, {"X-Request-ID": "abc-1"})
        self.assertEqual(status, 418)
        self.assertEqual(backend.asked, [("/v1/embeddings", body, "abc-1", "application/json")])

    def test_only_of_openais_endpoint(self):
        server = self.forwarding("http://127.0.0.1:9")
        self.assertEqual(server.post("/embed", {"model": "x", "inputs": "a"})[0], 404)  # its own models answer

    def test_is_not_needed(self):
        """MLX Knife answers 501 without a backend; here the server's own models answer."""
        self.assertEqual(self.server.post("/v1/embeddings", {"model": "minilm", "input": "a"})[0], 200)
        self.assertEqual(self.server.post("/v1/embeddings", {"model": "nowhere", "input": "a"})[0], 404)

    def test_that_is_not_there_is_502(self):
        status, _, answer = self.forwarding("http://127.0.0.1:9").post("/v1/embeddings", {"model": "x", "input": "a"})
        self.assertEqual((status, answer["error"]["code"]), (502, "backend_unreachable"))

    def test_needs_an_address(self):
        done = self.run_program("serve", "--embed-backend", "ftp://x", "--port", "0")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"--embed-backend: not an http or https address with a host: 'ftp://x'", done.stderr)


class EmbedServe(EmbeddingsTest):
    def test_serves_its_model_by_any_name(self):
        server = self.serve(MINILM, "--json", command="embed-serve")
        answer = openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0).embeddings.create(
            model="text-embedding-3-small", input="a")
        self.assertEqual(answer.data[0].embedding, self.embed("a").data[0].embedding)

    def test_refuses_a_chat_model(self):
        if not os.path.isfile(os.path.join(MODEL, "config.json")):
            self.skipTest("no chat model")
        done = self.run_program("embed-serve", MODEL, "--port", "0")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"is not an embedding model", done.stderr)


if __name__ == "__main__":
    unittest.main()

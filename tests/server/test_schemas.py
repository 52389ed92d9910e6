"""/openapi.json is a valid document, and every answer, chunk and refusal of the server conforms to it. On the fake engine."""
import json
import os
import sys
import unittest

from test_audio import form
from test_http import FakeServerTest, ask, CHAT

try:
    import jsonschema
    import openapi_spec_validator
except ImportError:
    print("no jsonschema or openapi_spec_validator: see deps/test-python.txt")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

MESSAGES = [{"role": "user", "content": "abc"}]
TOOL = {"type": "function", "function": {"name": "get", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}}
CALL = '!say <tool_call>\n{"name": "get", "arguments": {"q": "x"}}\n</tool_call>'


class SchemaTest(FakeServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = cls.server.get("/openapi.json")[2]

    def validate(self, value, schema):
        """`schema` is a part of the document, whose references it may use."""
        jsonschema.Draft202012Validator({**schema, "components": self.document["components"]}).validate(value)

    def operation(self, method, path):
        pattern = path if path in self.document["paths"] else "/v1/models/{id}"
        return self.document["paths"][pattern][method.lower()]

    def check(self, method, path, body=None, headers=None):
        """Sends a request and validates the answer by the document's schema for route and status; (status, body)."""
        status, answer_headers, content = self.server.request(method, path, body, headers)
        responses = self.operation(method, path)["responses"]
        self.assertIn(str(status), responses, (method, path, body, content))
        types = responses[str(status)]["content"]
        kind = answer_headers["Content-Type"].split(";")[0]
        self.assertIn(kind, types)
        if kind == "application/json":
            self.validate(content, types[kind]["schema"])
        elif kind == "text/event-stream":
            events = [event[6:] for event in content.decode().split("\n\n") if event.startswith("data: ")]
            self.assertEqual(events[-1], "[DONE]")
            for event in events[:-1]:
                chunk = json.loads(event)
                self.validate(chunk, {"$ref": "#/components/schemas/Error"} if "error" in chunk else types[kind]["schema"])
            content = [json.loads(event) for event in events[:-1]]
        return status, content

    def good(self, path, body, method="POST"):
        if method == "POST":  # and the request conforms to the document
            schema = self.operation(method, path)["requestBody"]["content"]["application/json"]["schema"]
            self.validate(body, schema)
        status, content = self.check(method, path, body)
        self.assertEqual(status, 200, content)
        return content


class Document(SchemaTest):
    def test_is_valid_openapi(self):
        openapi_spec_validator.validate(self.document)

    def test_every_schema_is_one(self):
        for name, schema in self.document["components"]["schemas"].items():
            jsonschema.Draft202012Validator.check_schema(schema)
            self.assertNotIn(schema, ({}, True), name)


class Answers(SchemaTest):
    def test_chat(self):
        for more in ({}, {"n": 3}, {"logprobs": True, "top_logprobs": 3}, {"logprobs": True}, {"stop": ["x", "q"]}, {"seed": -1},
                     {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
                     {"messages": [{"role": "user", "content": "!say <think>why</think>because"}]},
                     {"messages": [{"role": "user", "content": CALL}], "tools": [TOOL]},
                     {"messages": [{"role": "user", "content": CALL + CALL}], "tools": [TOOL]},
                     {"temperature": 0, "user": "u", "store": True, "metadata": {}, "service_tier": "auto"}, {"max_tokens": 1}):
            body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 60, **more}
            whole = self.good(CHAT, body)
            chunks = self.good(CHAT, {**body, "stream": True, "stream_options": {"include_usage": True}})
            self.assertEqual(chunks[-1]["usage"]["completion_tokens"], whole["usage"]["completion_tokens"])
            if "tools" in more:
                self.assertEqual(whole["choices"][0]["finish_reason"], "tool_calls")

    def test_completions(self):
        for more in ({}, {"prompt": ["a", "bc"], "n": 2}, {"prompt": [97, 98]}, {"prompt": [[97], [98]]}, {"logprobs": 3}, {"logprobs": 0},
                     {"echo": True, "logprobs": 2}, {"echo": True}, {"stop": "x"}):
            body = {"model": "tiny", "prompt": "abc", "max_tokens": 20, **more}
            self.good("/v1/completions", body)
            self.good("/v1/completions", {**body, "stream": True})
            self.good("/v1/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})

    def test_everything_else(self):
        for path in ("/health", "/ready", "/version", "/v1/models", "/v1/models/tiny", "/v1/models/other", "/openapi.json", "/metrics"):
            self.good(path, None, "GET")
        for path, body in (("/tokenize", {"model": "tiny", "content": "the end", "with_pieces": True}),
                           ("/tokenize", {"model": "tiny", "content": "", "add_special": True}),
                           ("/detokenize", {"model": "tiny", "tokens": [97, 98]}),
                           ("/apply-template", {"model": "tiny", "messages": MESSAGES}),
                           ("/v1/models/load", {"model": "other"}), ("/v1/models/unload", {"model": "other"})):
            self.good(path, body)


class Recordings(SchemaTest):
    options = ("--speech",)

    def test_transcripts_and_their_events(self):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "speech", "jfk.wav"), "rb") as file:
            sound = file.read()
        for path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
            for fields in ({}, {"response_format": "verbose_json"}, {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
                           {"response_format": "srt"}, {"stream": "true"}, {"stream": "true", "response_format": "verbose_json"}):
                body = form(sound, model="ears", **fields)
                status, content = self.check("POST", path, body, {"Content-Type": "multipart/form-data; boundary=XX"})
                self.assertEqual(status, 200, content)
            self.assertEqual(self.check("POST", path, form(b"none", model="ears"), {"Content-Type": "multipart/form-data; boundary=XX"})[0], 400)


class Refused(SchemaTest):
    def test_every_refusal_is_one_of_the_document(self):
        seen = set()
        json_type = {"Content-Type": "application/json"}
        for path in self.document["paths"]:
            for method in self.document["paths"][path]:
                where, method = path.replace("{id}", "nowhere"), method.upper()
                if method == "GET":
                    seen.add(self.check(method, where)[0])
                    continue
                for body in (b"", b"{", b"[]", b"{}", b'{"model":"nowhere"}', b'{"model":5}', b'{"model":"tiny","model":"tiny"}'):
                    seen.add(self.check(method, where, body, json_type)[0])
                seen.add(self.check(method, where, b"{}", {"Content-Type": "text/plain"})[0])
                seen.add(self.check(method, where, b" " * (33 << 20), json_type)[0])
        for more in ({"temperature": 9}, {"n": 0}, {"model": "nowhere"}, {"deadline_ms": 1, "max_tokens": 4000}, {"suffix": "x"},
                     {"functions": []}, {"tools": [{}]}, {"response_format": {"type": "json_schema"}}, {"messages": []},
                     {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nonsense"}}}},
                     {"messages": [{"role": "user", "content": "!fail start"}]}, {"messages": [{"role": "user", "content": "!fail step"}]},
                     {"messages": [{"role": "user", "content": "x" * 5000}]}):
            for stream in (False, True):
                seen.add(self.check("POST", CHAT, {**ask(20), **more, "stream": stream})[0])
        self.assertLessEqual({400, 404, 413, 415, 501}, seen)

    def test_refusals_outside_the_document_are_of_the_same_form(self):
        for method, path, wanted in (("GET", "/nowhere", 404), ("PUT", CHAT, 405), ("DELETE", "/v1/models/tiny", 405), ("GET", "/v1", 404)):
            status, headers, body = self.server.request(method, path)
            self.assertEqual(status, wanted)
            self.validate(body, {"$ref": "#/components/schemas/Error"})
            self.assertEqual(body["request_id"], headers["X-Request-ID"])
        for data in (b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200_000 + b"\r\n\r\n"):
            body = self.server.raw(data).partition(b"\r\n\r\n")[2]
            self.validate(json.loads(body), {"$ref": "#/components/schemas/Error"})


if __name__ == "__main__":
    unittest.main()

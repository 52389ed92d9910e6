"""Hostile requests: every field with every wrong value, grammars, markup, prompts, clients that leave. On the fake
engine: a clean refusal or a bounded answer, and the next request is served (FakeServerTest.tearDown)."""
import json
import os
import socket
import time
import unittest

from test_http import CHAT, FakeServerTest, ask

COMPLETIONS = "/v1/completions"
WRONG = (None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, -2**63, 10**30, 0.5, -0.5, 1e300, -1e300, "", "x", "1", "\u0000", "x" * 10_000,
         [], [None], [[]], [1] * 1000, [""], ["x"] * 1000, {}, {"": 0}, {"type": "x"}, {"x": {"x": {}}}, {"1": 5, "-1": 5, "99999999999": 1})
TOOLS = [{"type": "function", "function": {"name": "get", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}}]


def deep(depth, leaf, key):
    """{key: {key: … leaf}} as text."""
    return ('{"%s":' % key) * depth + leaf + "}" * depth


class HostileTest(FakeServerTest):
    options = ("--context", "2048")

    def quick(self, *args, **kwargs):
        started = time.monotonic()
        answer = self.server.request("POST", *args, **kwargs)
        self.assertLess(time.monotonic() - started, 400 if os.environ.get("MLXK_SANITIZE") else 180)
        return answer


class Fields(HostileTest):
    def check_fields(self, path, schema, body):
        properties = self.server.get("/openapi.json")[2]["components"]["schemas"][schema]["properties"]
        self.assertGreater(len(properties), 25)
        for field in properties:
            for value in WRONG:
                status, _, answer = self.server.post(path, {**body, field: value, "max_tokens": 2 if field != "max_tokens" else value})
                allowed = (200, 400, 504) if field == "deadline_ms" else (200, 400, 404)  # a millisecond may be over
                self.assertIn(status, allowed, (field, value, answer))
                if status == 400:
                    # Some are refused because another field would be needed.
                    self.assertTrue(answer["error"]["param"] or "message" in answer["error"], (field, value, answer))
                    self.assertTrue(answer["error"]["param"], (field, value, answer))
                if status == 404:
                    self.assertEqual(field, "model")

    def test_of_chat(self):
        self.check_fields(CHAT, "ChatCompletionRequest", ask())

    def test_of_completion(self):
        self.check_fields(COMPLETIONS, "CompletionRequest", {"model": "tiny", "prompt": "abc"})

    def test_lists_that_are_too_long(self):
        for more, field in (({"stop": ["x"] * 100_000}, "stop"), ({"stop": "x" * 100_000}, "stop"),
                            ({"logit_bias": {str(i): 1 for i in range(100_000)}}, "logit_bias"),
                            ({"logit_bias": {"-1": 1}}, "logit_bias"), ({"logit_bias": {"1e3": 1}}, "logit_bias"),
                            ({"logit_bias": {"99999999999999999999": 1}}, "logit_bias"), ({"logit_bias": {"5": 101}}, "logit_bias"),
                            ({"dry_multiplier": 1, "dry_sequence_breakers": ["x"] * 1000}, "dry_sequence_breakers"),
                            ({"tools": TOOLS * 2}, "tools"), ({"messages": [{"role": "user", "content": [{"type": "x"}] * 100_000}]}, "messages")):
            status, _, answer = self.quick(CHAT, ask(**more))
            self.assertEqual(status, 400, (field, answer))
            self.assertTrue(answer["error"]["param"].startswith(field), answer)

    def test_texts_of_json_that_hurt_parsers(self):
        start = b'{"model":"tiny","max_tokens":2,"messages":[{"role":"user","content":"x"}],'
        for more in (b'"temperature":0,"temperature":1}', b'"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
                     b'"metadata":' + deep(100_000, "1", "a").encode() + b"}", b'"stop":[' + b"1," * 10_000_000 + b"1]}",
                     b'"metadata":{' + b",".join(b'"%d":1' % i for i in range(200_000)) + b"}}", b'"seed":1e400}', b'"seed":-NaN}', b'"seed":0x10}',
                     b'"user":"\\ud800"}', b'"user":"\xff"}', b'"user":"\xed\xa0\x80"}', b'"user":"a\nb"}', b'"seed":1}}', b'"seed":1} x',
                     b'"seed":1,}', b"'seed':1}", b'"seed":' + b"9" * 1_000_000 + b"}", b'"seed":1' + b" " * 1_000_000):
            status, _, answer = self.quick(CHAT, start + more, headers={"Content-Type": "application/json"})
            self.assertEqual((status, answer["error"]["code"]), (400, "invalid_json" if b"9999" not in more[:20] else answer["error"]["code"]),
                             (more[:60], answer))

    def test_a_prompt_longer_than_the_context(self):
        for path, body in ((CHAT, ask(4, messages=[{"role": "user", "content": "x" * 1_000_000}])),
                           (COMPLETIONS, {"model": "tiny", "prompt": "x" * 1_000_000}), (COMPLETIONS, {"model": "tiny", "prompt": [97] * 100_000})):
            status, _, answer = self.quick(path, body)
            self.assertEqual(status, 400, answer)
            self.assertIn("context", answer["error"]["message"])


class Grammars(HostileTest):
    def assert_bounded(self, body, refused=False):
        status, _, answer = self.quick(CHAT, body)
        self.assertIn(status, (400,) if refused else (200, 400), answer)
        return status

    def schema(self, schema):
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}

    def test_schemas(self):
        for schema in ({"type": "nonsense"}, {"type": 5}, {"$ref": "#/nowhere"}, {"$ref": "http://127.0.0.1:1/x.json"}, {"$ref": "file:///etc/passwd"},
                       {"pattern": "(", "type": "string"}, {"properties": 5}, {"properties": []}, {"properties": {"a": 5}},
                       {"anyOf": [{"properties": 7}, {"type": "object"}]}, {"patternProperties": 5}, {"required": "a"}, {"enum": []}, {"minimum": 5, "maximum": 1, "type": "integer"},
                       {"enum": ["x" * 300_000]}):
            self.assert_bounded({**ask(), **self.schema(schema)}, refused=True)
        for schema in ({"$ref": "#"}, {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
                       {"enum": [str(i) for i in range(20_000)]}, {"type": "string", "pattern": "(a+)+b|(a|a)*c"},
                       {"type": "string", "pattern": "(((a{1,100}){1,100}){1,100}){1,100}"}, {"type": "string", "maxLength": 10**9},
                       {"type": "array", "minItems": 10**6, "items": {"type": "integer"}}, json.loads(deep(50, "{}", "not")),
                       {"anyOf": [{"type": "string", "pattern": "a{%d}" % i} for i in range(500)]},
                       {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(3000)}}):
            self.assert_bounded({**ask(), **self.schema(schema)})

    def test_ten_megabytes_of_schema(self):
        body = {**ask(), **self.schema({"type": "object", "description": "x" * (10 << 20)})}
        self.assert_bounded(body, refused=True)
        self.assert_bounded(ask(tools=[{"type": "function", "function": {"name": "f", "parameters": {"description": "x" * (10 << 20)}}}]))

    def test_grammars_and_patterns(self):
        for source in ("start: (", "start: missing", "", "nothing", "start: start", 'start: "a" start | start "a"', "start: a\na: b\nb: a",
                       'start: "x"{1,1000000000}', "start: /(a+)+$/", "start: " + '"a" | ' * 50_000 + '"b"', "%import common (X)"):
            self.assert_bounded(ask(grammar={"type": "lark", "source": source}))
        for source in ("(", "[", "a{2,1}", "(?<=a)b", "\\1", "(a*)*" * 50, "((((a{1,50}){1,50}){1,50}){1,50})", "[\ud7ff-\U0010ffff]" * 100,
                       "a" * 300_000):
            self.assert_bounded(ask(grammar={"type": "regex", "source": source}))

    @unittest.skipIf(os.environ.get("MLXK_SANITIZE"), "a sanitizer keeps what was freed")
    def test_bad_ones_fill_no_memory(self):
        before = self.server.memory()
        for number in range(150):
            self.assert_bounded({**ask(1), **self.schema({"type": "string", "enum": [f"{number}-{i}" for i in range(2000)]})})
        self.assertLess(self.server.memory() - before, 300e6)


class Markup(HostileTest):
    def both(self, text, **more):
        """The message, whole and assembled from its stream, which must be equal."""
        body = ask(400, messages=[{"role": "user", "content": "!say " + text}], **more)
        status, _, whole = self.server.post(CHAT, body)
        self.assertEqual(status, 200, whole)
        message = whole["choices"][0]["message"]
        content, calls = "", {}
        for event in self.server.events(CHAT, {**body, "stream": True})[:-1]:
            delta = json.loads(event)["choices"][0]["delta"]
            content += delta.get("content") or ""
            for call in delta.get("tool_calls", ()):
                one = calls.setdefault(call["index"], {"name": "", "arguments": ""})
                one["name"] += call["function"].get("name", "")
                one["arguments"] += call["function"]["arguments"]
        self.assertEqual(content, message["content"] or "")
        self.assertEqual(list(calls.values()), [call["function"] for call in message.get("tool_calls") or []])
        return message

    def test_calls_that_are_none(self):
        for text in ("<tool_call>", "</tool_call>", "<tool_call></tool_call>", "<tool_call>nonsense</tool_call>", "<tool_call>{</tool_call>",
                     "<tool_call>[]</tool_call>", '<tool_call>{"name":5}</tool_call>', '<tool_call>{"name":"get"}</tool_call>',
                     '<tool_call>{"name":"other","arguments":{}}</tool_call>', '<tool_call>{"name":"get","arguments":"x"}</tool_call>',
                     '<tool_call>{"name":"get","arguments":{"q":' + "[" * 200 + "</tool_call>", "<tool_call><tool_call>{}</tool_call>",
                     'before <tool_call>{"name":"get","arguments":{"q":"</tool_call>"}}</tool_call> after', "<think><tool_call></think>x",
                     '<tool_call>{"name":"get","arguments":{"q":"\\ud800"}}</tool_call>'):
            message = self.both(text, tools=TOOLS)
            for call in message.get("tool_calls") or []:
                json.loads(call["function"]["arguments"])

    def test_characters_that_come_in_pieces(self):
        for text in ("äöü€😀👩‍👩‍👧", "😀" * 50, "e\u0301" * 40, "\u202ex", "<thi", "\ufeffx"):
            self.assertEqual(self.both(text)["content"], text)

    def test_a_failed_engine_serves_the_next(self):
        for how in ("start", "alone", "step"):
            for stream in (False, True):
                body = ask(20, messages=[{"role": "user", "content": "!fail " + how}], stream=stream)
                status, _, answer = self.server.post(CHAT, body)
                if status == 200:
                    self.assertTrue(stream)
                    self.assertIn(b'"error"', answer)
                else:
                    self.assertEqual(answer["status"], "error")
                self.assertEqual(self.server.post(CHAT, ask())[0], 200)


class Leaving(HostileTest):
    options = ("--step-us", "5000", "--prefill-part", "8", "--max-running", "2")

    def test_in_the_line_in_prefill_in_decode_and_within_a_call(self):
        prompts = ("x" * 1500, "!endless", "!say <tool_call>{\"name\":\"get\",\"arguments\":{\"q\":\"" + "y" * 500)
        for prompt in prompts:
            connections = []
            for number in range(8):  # two run, six wait
                body = json.dumps(ask(400, messages=[{"role": "user", "content": prompt}], stream=number % 2 == 0, tools=TOOLS)).encode()
                connections.append(socket.create_connection(("127.0.0.1", self.server.port)))
                connections[-1].sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                                        % (CHAT.encode(), len(body)) + body)
            self.wait_until(lambda: self.busy() > 0, prompt[:20])
            for connection in connections:
                connection.close()
            self.wait_until(lambda: self.busy() == 0, prompt[:20])

    def busy(self):
        health = self.server.get("/health")[2]
        return health["running"] + health["waiting"]


if __name__ == "__main__":
    unittest.main()

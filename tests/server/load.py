#!/usr/bin/env python3
"""load.py URL MODEL [--seconds 120] [--clients 24] [--tools-model NAME] [--pid PID]

Puts a server under mixed load: short and long questions, abandoned streams, broken requests, tool calls and JSON schemas,
all at once. Every greedy answer must be, byte for byte, the one that its question got alone; every refusal must be the expected
one; no request may take forever. With --pid the server's memory at rest must not grow once it is warm. Prints a summary; exits 1 on
the first wrong answer.
"""
import argparse
import asyncio
import json
import random
import re
import sys
import time
import urllib.parse

KEPT_AT_REST = 160e6  # bytes of freed blocks: beyond 128 MiB a server that rests gives them back
GREEDY = {"temperature": 0, "repetition_penalty": 1}
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "parameters": {"type": "object", "additionalProperties": False, "required": ["city"],
                                          "properties": {"city": {"type": "string", "maxLength": 12}}}}}
SCHEMA = {"type": "object", "additionalProperties": False, "required": ["word", "count"],
          "properties": {"word": {"type": "string", "maxLength": 8}, "count": {"type": "integer", "minimum": 0, "maximum": 99}}}


class Wrong(Exception):
    """The server did something forbidden."""


class Client:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    async def send(self, path, body, read_lines=None):
        """(status, body); with read_lines, leaves after so many lines of a stream: (status, None)."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            writer.write(f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\nContent-Type: application/json\r\n"
                         f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            if read_lines is not None:
                for _ in range(read_lines):
                    if not await reader.readline():
                        break
                return status, None
            content = await reader.read()
            if b"chunked" in head.lower():
                content = unchunked(content)
            return status, content
        finally:
            writer.close()


def unchunked(content):
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        whole, content = whole + content[:length], content[length + 2:]
    return whole


def chat(model, text, tokens, **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": tokens, **GREEDY, **more}


def streamed_text(content):
    text = ""
    for event in content.decode().split("\n\n"):
        if event.startswith("data: ") and event != "data: [DONE]":
            data = json.loads(event[6:])
            if "error" in data:
                raise Wrong(f"a stream failed: {data}")
            for choice in data["choices"]:
                text += choice["delta"].get("content") or ""
    if not content.rstrip().endswith(b"data: [DONE]"):
        raise Wrong("a stream ended without [DONE]")
    return text


class Load:
    def __init__(self, args):
        self.args, self.client, self.alone, self.done = args, Client(args.url), {}, {}
        numbers = range(args.questions)
        self.short = [chat(args.model, f"What is {n} plus {n + 3}?", 16) for n in numbers]
        self.long = [chat(args.model, f"Tell the story of number {n}. " + "It is a long and winding story. " * (20 + 10 * n), 48)
                     for n in numbers]

    async def answer(self, body):
        status, content = await self.client.send("/v1/chat/completions", body)
        if status != 200:
            raise Wrong(f"{status}: {content[:500]}")
        if body.get("stream"):
            return streamed_text(content)
        return json.loads(content)["choices"][0]["message"]

    async def learn(self):
        """The answers to the questions when asked alone."""
        for body in self.short + self.long:
            self.alone[json.dumps(body)] = (await self.answer(body))["content"]

    async def check_same(self, rng, bodies):
        body = rng.choice(bodies)
        stream = rng.random() < 0.5
        got = await self.answer({**body, "stream": stream})
        got = got if stream else got["content"]
        if got != self.alone[json.dumps(body)]:
            raise Wrong(f"not the answer that it got alone: {body['messages'][0]['content'][:60]!r}\n  {got!r}\n  "
                        f"{self.alone[json.dumps(body)]!r}")

    async def leave(self, rng):
        body = {**rng.choice(self.long), "max_tokens": 1000, "stream": rng.random() < 0.8}
        try:
            await asyncio.wait_for(self.client.send("/v1/chat/completions", body, rng.randrange(8)), rng.uniform(0.05, 2))
        except asyncio.TimeoutError:
            pass

    async def bad(self, rng):
        body, wanted = rng.choice((
            (b"{", 400), (b"[]", 400), (b'{"model":1}', 400), (chat(self.args.model, "x", -2), 400),
            (chat(self.args.model, "x", 4, n=-1), 400), (chat("nowhere/nothing", "x", 4), 404),
            (chat(self.args.model, "x", 4, response_format={"type": "json_schema", "json_schema": {
                "name": "x", "schema": {"type": "nonsense"}}}), 400),
            (chat(self.args.model, "word " * 30000, 4), 400), (chat(self.args.model, "x", 4, suffix="y"), None),
            (b"[" * 100000, 400), (chat(self.args.model, "x", 4, messages=[]), 400)))
        status, content = await self.client.send("/v1/chat/completions", body)
        if wanted and status != wanted:
            raise Wrong(f"{wanted} was expected of {str(body)[:80]}, got {status}: {content[:300]}")

    async def schema(self, rng):
        body = chat(self.args.model, "Give me a word and a number as JSON.", 60, temperature=1, seed=rng.randrange(1000),
                    response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}})
        found = json.loads((await self.answer(body))["content"])
        if sorted(found) != ["count", "word"]:
            raise Wrong(f"not of the schema: {found}")

    async def tools(self, rng):
        body = chat(self.args.tools_model, "What is the weather in Rome?", 80, temperature=1, seed=rng.randrange(1000),
                    tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)
        message = await self.answer(body)
        if list(json.loads(message["tool_calls"][0]["function"]["arguments"])) != ["city"]:
            raise Wrong(f"not the tool's arguments: {message}")

    async def one_client(self, number, end):
        rng = random.Random(number)
        kinds = ["short"] * 6 + ["long"] * 3 + ["leave"] * 3 + ["bad"] * 3
        if self.args.grammar:
            kinds += ["schema"] * 2
        if self.args.tools_model:
            kinds += ["tools"]
        while time.monotonic() < end:
            kind = rng.choice(kinds)
            work = {"short": lambda: self.check_same(rng, self.short), "long": lambda: self.check_same(rng, self.long),
                    "leave": lambda: self.leave(rng), "bad": lambda: self.bad(rng), "schema": lambda: self.schema(rng),
                    "tools": lambda: self.tools(rng)}[kind]
            try:
                await asyncio.wait_for(work(), self.args.stuck_seconds)
            except asyncio.TimeoutError:
                raise Wrong(f"a request is stuck: {kind}") from None
            self.done[kind] = self.done.get(kind, 0) + 1

    def memory(self):
        if not self.args.pid:
            return 0
        with open(f"/proc/{self.args.pid}/status", encoding="ascii") as file:
            return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) * 1024

    async def phase(self, seconds):
        """Load for `seconds`, then idle time; returns the server's memory when idle."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self.one_client(number, end) for number in range(self.args.clients)))
        least = self.memory()
        for _ in range(12):  # it rests after two seconds
            await asyncio.sleep(0.5)
            least = min(least, self.memory())
        return least

    async def run(self):
        await self.learn()
        at_rest = [await self.phase(self.args.seconds / 3) for _ in range(3)]
        summary = ", ".join(f"{count} {kind}" for kind, count in sorted(self.done.items()))
        print(f"{self.args.seconds:.0f} s, {self.args.clients} clients: {summary}; memory at rest "
              + ", ".join(f"{bytes_ / 1e6:.0f}" for bytes_ in at_rest) + " MB")
        if at_rest[2] > min(at_rest) + KEPT_AT_REST:
            raise Wrong("memory grows")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--questions", type=int, default=8, help="different short and long questions (8)")
    parser.add_argument("--tools-model", help="a model whose template knows tools")
    parser.add_argument("--no-grammar", dest="grammar", action="store_false", help="ask for no schemas")
    parser.add_argument("--stuck-seconds", type=float, default=240, help="a request that takes longer is stuck (240)")
    parser.add_argument("--pid", type=int, help="the server's process, whose memory is watched")
    args = parser.parse_args()
    try:
        asyncio.run(Load(args).run())
    except Wrong as error:
        sys.exit(f"load: {error}")


if __name__ == "__main__":
    main()

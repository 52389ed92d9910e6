"""A server with little address space: it works, or it reports that memory is missing; no signal ever ends it."""
import json
import os
import resource
import subprocess
import unittest

from server_case import MODEL, PROGRAM, Server, ServerTest, link_model, needs_engine

SANITIZED = os.environ.get("MLXK_SANITIZE")


@needs_engine
@unittest.skipIf(SANITIZED, "a sanitizer takes address space of its own")
@unittest.skipUnless(os.path.exists(os.path.join(MODEL, "config.json")), "no model")
class AddressSpace(ServerTest):
    def limited(self, megabytes, *options, model=MODEL):
        """A server limited to `megabytes`; None if it ended with exit code 1 and named the memory in its message."""
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (megabytes * 1_000_000,) * 2)

        command = [PROGRAM, "serve", "--model", model, "--port", "0", "--log-level", "info", *options]
        process = subprocess.Popen(command, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, preexec_fn=limit)
        server = Server.__new__(Server)
        server.process, server.lines, server.port = process, [], None
        self.addCleanup(process.stdout.close)
        self.addCleanup(server.stop)
        try:
            return server.wait_until_ready()
        except AssertionError:
            text = server.log()
            self.assertEqual(process.returncode, 1, text)
            self.assertRegex(text, r"needs \d+ MB of address space")
            return None

    def test_it_answers_or_says_what_it_lacks(self):
        question = {"model": MODEL, "messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0,
                    "max_tokens": 16}
        # The keys and values of its answers exceed the address space; no check refuses it before it runs.
        large = {"model": MODEL, "prompt": ["word " * 1200, "text " * 1200], "max_tokens": 200, "n": 32, "temperature": 1,
                 "ignore_eos": True}
        for megabytes in (200, 300, 600, 1000, 2000):
            with self.subTest(megabytes=megabytes):
                server = self.limited(megabytes, "--kv-memory", "16G", "--max-running", "64")
                if not server:
                    self.assertLess(megabytes, 1000)
                    continue
                status, _, answer = server.post("/v1/chat/completions", question, timeout=60)
                self.assertEqual(status, 200, answer)
                status, _, answer = server.post("/v1/completions", large, timeout=300)
                self.assertIn(status, (503, 507), answer)
                status, _, answer = server.post("/v1/chat/completions", question, timeout=60)
                self.assertIn(status, (200, 503, 507), answer)
                self.assertEqual(server.stop(), 0, server.log())

    def test_a_prompt_is_prepared_within_the_memory_or_refused(self):
        folder = os.path.join(self.home, "wide")
        link_model(MODEL, folder)
        path = os.path.join(folder, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        os.remove(path)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**config, "max_position_embeddings": 16_000_000}, file)
        server = self.limited(1000, model=folder)

        def ask(text):
            body = {"model": folder, "messages": [{"role": "user", "content": text}], "max_tokens": 2}
            return server.post("/v1/chat/completions", body, timeout=120)[0]

        self.assertEqual(ask("Hi"), 200)
        for text in ("7" * 14_000_000, "word " * 2_800_000):
            self.assertIn(ask(text), (503, 507))
        self.assertEqual(ask("Hi"), 200)
        self.assertEqual(server.stop(), 0, server.log())


if __name__ == "__main__":
    unittest.main()

"""A server with little address space: it works, or it says what it lacks; no signal ever ends it."""
import os
import resource
import subprocess
import unittest

from server_case import MODEL, PROGRAM, Server, ServerTest, needs_engine

SANITIZED = os.environ.get("MLXK_SANITIZE")


@needs_engine
@unittest.skipIf(SANITIZED, "a sanitizer takes address space of its own")
@unittest.skipUnless(os.path.exists(os.path.join(MODEL, "config.json")), "no model")
class AddressSpace(ServerTest):
    def limited(self, megabytes, *options):
        """A server within so many MB; None when it ended by itself, as it may: with 1 and the memory in its message."""
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (megabytes * 1_000_000,) * 2)

        command = [PROGRAM, "serve", "--model", MODEL, "--port", "0", "--log-level", "info", *options]
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
        # The keys and values of its answers are more than the address space; nothing refuses it before it runs.
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
                self.wait_until(lambda: server.post("/v1/chat/completions", question, timeout=60)[0] == 200, "its memory is not given back")
                self.assertEqual(server.stop(), 0, server.log())


if __name__ == "__main__":
    unittest.main()

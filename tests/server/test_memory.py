"""A server with little address space: it works, or it says what it lacks; no signal ever ends it."""
import os
import resource
import signal
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
            self.assertRegex(text, r"(?i)memory|address space")
            return None

    def alive_or_told(self, server):
        """The server may end after it was ready (its model does not fit), but with 1 and a reason."""
        if server.process.poll() is None:
            return True
        self.assertEqual(server.process.returncode, 1, server.log())
        self.assertRegex(server.log(), r"(?i)memory|address space")
        return False

    def test_it_answers_or_says_what_it_lacks(self):
        for megabytes in (300, 600, 1000, 2000, 4000):
            with self.subTest(megabytes=megabytes):
                server = self.limited(megabytes)
                if not server:
                    self.assertLess(megabytes, 4000)
                    continue
                question = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0,
                            "max_tokens": 16}
                try:
                    status, _, answer = server.post("/v1/chat/completions", question)
                except OSError:
                    server.process.wait(30)
                    self.assertFalse(self.alive_or_told(server))
                    continue
                self.assertIn(status, (200, 503, 507), answer)
                if megabytes == 4000:
                    self.assertEqual(status, 200, answer)
                # As much as the context takes, of several at once.
                large = {"prompt": ["word " * 6000] * 4, "max_tokens": 2000, "temperature": 0, "n": 4}
                status, _, answer = server.post("/v1/completions", {**large, "max_tokens": 1}, timeout=600)
                self.assertIn(status, (200, 400, 503, 507), answer)
                self.assertTrue(self.alive_or_told(server))
                status, _, answer = server.post("/v1/chat/completions", question)
                self.assertIn(status, (200, 503, 507), answer)
                self.assertIn(server.stop(), (0, -signal.SIGTERM), server.log())


if __name__ == "__main__":
    unittest.main()

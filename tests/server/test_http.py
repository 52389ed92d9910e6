"""Broken and hostile HTTP against the whole server on a fake engine: a clean refusal, and the next request is served."""
import json
import os
import re
import signal
import socket
import sys
import threading
import unittest

from server_case import FAKE_SERVER, SharedServerTest

if not FAKE_SERVER:
    print("no fake server: MLXK_FAKE_SERVER is not set")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

CHAT = "/v1/chat/completions"


def ask(tokens=4, **more):
    return {"model": "tiny", "messages": [{"role": "user", "content": "abc"}], "max_tokens": tokens, **more}


class FakeServerTest(SharedServerTest):
    options = ()

    @classmethod
    def start(cls, holder):
        cls.server = holder.serve_fake(*cls.options)

    def serve_fake(self, *options):
        return self.serve(*options, program=FAKE_SERVER, command=None)

    def tearDown(self):
        """Whatever happened, the server still answers."""
        self.assertEqual(self.server.get("/health")[0], 200)
        self.assertEqual(self.server.post(CHAT, ask())[0], 200)

    def assert_refused(self, answer, status, kind=None, param=None):
        code, headers, body = answer
        self.assertEqual(code, status, body)
        self.assertEqual(body["status"], "error")
        self.assertTrue(body["error"]["message"])
        self.assertEqual(body["request_id"], headers["X-Request-ID"])
        if kind:
            self.assertEqual(body["error"]["type"], kind)
        if param:
            self.assertIn(param, body["error"]["param"])

    def assert_raw_refused(self, data, *statuses):
        answer = self.server.raw(data)
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(int(head.split()[1]), statuses, answer[:300])
        self.assertIn(b"x-request-id", head.lower())
        self.assertEqual(json.loads(body)["status"], "error")


class BrokenHttp(FakeServerTest):
    def test_what_is_no_http(self):
        for data in (b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nbroken header\r\n\r\n",
                     b"GET /a\x00b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
            answer = self.server.raw(data + b"\r\n\r\n")
            self.assertRegex(answer.split(b"\r\n")[0].decode(), "^HTTP/1.1 (400|505)", data)

    def test_smuggling(self):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        for lines in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n",
                      b"Transfer-Encoding: gzip, chunked\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n"):
            self.assert_raw_refused(head + lines + b"\r\n0\r\n\r\n", 400, 413, 415, 501)

    def test_limits_come_before_the_bytes(self):
        self.assert_raw_refused(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n", 400, 431)
        self.assert_raw_refused(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, 414, 431)
        self.assert_raw_refused(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                                b"Content-Length: 999999999999\r\n\r\n", 413)

    def test_paths_that_leave_the_tree(self):
        for path in ("/v1/models/..%2f..%2fetc", "/v1/models/%2e%2e/%2e%2e", "/../etc/passwd", "/v1/models/%00", "/v1/models/%ff"):
            status, _, _ = self.server.get(path)
            self.assertIn(status, (400, 404), path)

    def test_pipelined_requests_are_answered_in_order(self):
        one = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        last = b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        answer = self.server.raw(one * 5 + last)
        statuses = re.findall(rb"HTTP/1\.1 (\d+)", answer)
        self.assertEqual(statuses, [b"200"] * 5 + [b"404"])

    def test_many_idle_and_half_open_connections(self):
        connections = [socket.create_connection(("127.0.0.1", self.server.port)) for _ in range(300)]
        for connection in connections[::2]:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: ")
        self.assertEqual(self.server.get("/health")[0], 200)
        for connection in connections:
            connection.close()


class Refusals(FakeServerTest):
    def test_unknown_routes_and_methods(self):
        self.assert_refused(self.server.get("/nowhere"), 404)
        self.assert_refused(self.server.get(CHAT), 405)
        self.assertIn("POST", self.server.get(CHAT)[1]["Allow"])
        self.assert_refused(self.server.post("/health", {}), 405)

    def test_head_is_get_without_a_body(self):
        for path, wanted in (("/health", 200), ("/v1/models", 200), ("/v1/models/tiny", 200), ("/metrics", 200), ("/nowhere", 404), (CHAT, 405)):
            answer = self.server.raw(f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            head, end, body = answer.partition(b"\r\n\r\n")
            self.assertEqual((int(head.split()[1]), end, body), (wanted, b"\r\n\r\n", b""), path)
            length = int(re.search(rb"Content-Length: (\d+)", head).group(1))
            self.assertGreater(length, 0)
            if path.startswith("/v1/models"):
                self.assertEqual(length, len(self.raw_get(path)), path)

    def raw_get(self, path):
        return self.server.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()).partition(b"\r\n\r\n")[2]

    def test_bodies_that_are_no_request(self):
        for body in (b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"model": "tiny", "messages": ' + b"[" * 100_000,
                     b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}',
                     b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "temperature": 1e400}',
                     b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}'):
            self.assert_refused(self.server.request("POST", CHAT, body), 400, "validation_error")

    def test_other_media_types(self):
        body = json.dumps(ask()).encode()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            self.assert_refused(self.server.request("POST", CHAT, body, headers={"Content-Type": kind}), 415)
        self.assert_refused(self.server.request("POST", CHAT, body, headers={"Content-Encoding": "gzip"}), 415)

    def test_every_number_is_checked(self):
        for field in ("max_tokens", "n", "seed", "top_k", "temperature", "top_p", "presence_penalty", "top_logprobs", "deadline_ms"):
            for value in (-5, 2**63, -2**63, 1e300, "1", [], {}, True):
                status, _, body = self.server.post(CHAT, ask(**{field: value}))
                if status != 200:
                    self.assertEqual((status, body["error"]["param"]), (400, field), (field, value))
                else:
                    self.assertIn((field, value), {("seed", -5), ("top_k", 2**63)} | {("seed", v) for v in (-5, -2**63, 2**63)})

    def test_a_valid_request_id_is_kept(self):
        for given, kept in (("abc-123", True), ("x" * 500, False), ("a b", False), ("<script>", False)):
            _, headers, _ = self.server.get("/health", headers={"X-Request-ID": given})
            self.assertEqual(headers["X-Request-ID"] == given, kept, given)

    def test_unknown_models_everywhere(self):
        for name in ("nowhere", "/etc", "../tiny", "~", "tiny/../tiny", "\u0000", "a" * 5000, "-rf", "tiny\n"):
            for path, body in ((CHAT, ask()), ("/v1/completions", {"prompt": "x"}), ("/tokenize", {"content": "x"})):
                status, _, answer = self.server.post(path, {**body, "model": name})
                self.assertIn((status, answer["error"]["type"]), ((404, "model_not_found"), (400, "validation_error")), (path, name))


class Streams(FakeServerTest):
    options = ("--step-us", "2000")

    def test_a_stream_is_the_whole_answer(self):
        whole = self.server.post(CHAT, ask(20))[2]["choices"][0]["message"]["content"]
        events = self.server.events(CHAT, ask(20, stream=True))
        self.assertEqual(events[-1], "[DONE]")
        deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
        self.assertEqual("".join(delta.get("content") or "" for delta in deltas), whole)

    def running(self):
        metrics = self.server.get("/metrics")[2].decode()
        lines = [line for line in metrics.splitlines() if "running" in line and not line.startswith("#")]
        return sum(float(line.split()[-1]) for line in lines), lines

    def test_leaving_frees_the_engine(self):
        for stream in (True, False):
            connections = []
            for _ in range(10):
                body = json.dumps(ask(3000, stream=stream)).encode()
                connection = socket.create_connection(("127.0.0.1", self.server.port))
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                                   b"Content-Length: %d\r\n\r\n" % len(body) + body)
                connections.append(connection)
            self.wait_until(lambda: self.running()[0] > 0, "nothing runs")
            for connection in connections:
                connection.close()
            self.wait_until(lambda: self.running()[0] == 0, "it goes on")

    def test_health_answers_beside_many_streams(self):
        threads = [threading.Thread(target=self.server.events, args=(CHAT, ask(100, stream=True))) for _ in range(50)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            self.assertEqual(self.server.get("/health")[0], 200)
        for thread in threads:
            thread.join()


class Ends(FakeServerTest):
    def test_a_generation_loop_that_stands_still_is_told(self):
        server = self.serve_fake("--step-us", "4000000", "--stuck-ms", "1000")
        self.assertEqual(server.get("/health")[0], 200)
        body = json.dumps(ask(20)).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                               % (CHAT.encode(), len(body)) + body)
            answers = []
            self.wait_until(lambda: answers.append(server.get("/health")) or answers[-1][0] != 200, "it is not told")
        self.assert_refused(answers[-1], 503)
        self.assertEqual(answers[-1][2]["error"]["code"], "stuck")
        self.wait_until(lambda: server.get("/health")[0] == 200, "it stays stuck")

    def test_sigterm_lets_answers_end(self):
        server = self.serve_fake("--step-us", "20000")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.events(CHAT, ask(50, stream=True))))
        thread.start()
        self.wait_until(lambda: server.get("/health")[2]["running"] == 1, "it does not begin")
        server.process.send_signal(signal.SIGTERM)
        thread.join()
        self.assertEqual(answers[0][-1], "[DONE]")
        self.assertEqual(len(answers[0]), len(self.server.events(CHAT, ask(50, stream=True))))
        self.assertEqual(server.process.wait(20), 0)
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", server.port), 1).close()

    def test_a_full_queue_says_when_to_come_back(self):
        server = self.serve_fake("--step-us", "50000", "--max-running", "1", "--max-waiting", "2")
        results = []
        threads = [threading.Thread(target=lambda: results.append(server.post(CHAT, ask(20)))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [result for result in results if result[0] != 200]
        self.assertTrue(refused)
        for status, headers, body in refused:
            self.assertIn(status, (429, 503), body)
            self.assertGreater(int(headers["Retry-After"]), 0)
            self.assertTrue(body["error"]["retryable"])


if __name__ == "__main__":
    unittest.main()

"""`mlxk serve` as a service: options, log, shutdown, limits, and failures that it survives."""
import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
import unittest

from server_case import MODEL, Server, ServerTest, link_model, needs_engine

HAS_MODEL = os.path.isfile(os.path.join(MODEL, "config.json"))
CHAT = "/v1/chat/completions"
GREEDY = {"temperature": 0, "repetition_penalty": 1}


def chat(model, text, tokens=16, **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": tokens, **GREEDY, **more}


def head(path, length, more=b""):
    return b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" % (
        path.encode(), more, length)


def is_closed(connection, timeout):
    """Whether the server closes `connection` within `timeout`, with or without an answer."""
    connection.settimeout(timeout)
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except socket.timeout:
        return False
    return True


class OperationTest(ServerTest):
    def workspaces(self, *names, **kwargs):
        """A home of workspaces that are the test model; {name: variable}."""
        home = os.path.join(self.home, "workspaces")
        for name in names:
            link_model(MODEL, os.path.join(home, name), **kwargs)
        return {"MLXK_WORKSPACE_HOME": home}

    def start_document(self, *options, env=None):
        """(server, the document of --json)."""
        process = subprocess.Popen([*self.words(), *options, "--json"], env={**self.env, **(env or {})}, cwd=self.home,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        text = b""
        while not text.endswith(b"\n}\n"):
            line = process.stdout.readline()
            self.assertTrue(line, "the server ended")
            text += line
        return process, json.loads(text)

    def connections(self, server):
        """Whether clients are connected to it."""
        folder = f"/proc/{server.process.pid}/fd"
        found = 0
        for name in os.listdir(folder):
            try:
                found += os.readlink(f"{folder}/{name}").startswith("socket:")
            except OSError:
                pass
        return found > 1  # the listening one

    def words(self):
        return [os.environ["MLXK_PROGRAM"], "serve"]


@needs_engine
class Settings(OperationTest):
    def test_a_variable_goes_before_the_file_and_the_file_before_the_default(self):
        path = self.write("config.toml", b"# of a server\nmax-tokens = 11\nport = 0\nkeep_alive_timeout = 1.5\n"
                                         b"cors_origin = ['https://a.example', 'https://b.example']\nallowed-host = 'x.example'\n")
        for options, env, wanted in (((), {"MLXK_CONFIG": path}, 11), ((), {"MLXK_CONFIG": path, "MLXK2_MAX_TOKENS": "12"}, 12),
                                     (("--max-tokens", "13"), {"MLXK_CONFIG": path, "MLXK2_MAX_TOKENS": "12"}, 13),
                                     (("--config", path), {"MLXK_CONFIG": "/nowhere"}, 11)):
            process, document = self.start_document(*options, env=env)
            self.assertEqual((document["status"], document["command"], document["error"]), ("starting", "serve", None))
            self.assertEqual(document["data"]["max_tokens"], wanted)
            self.assertGreater(document["data"]["port"], 0)
            process.kill()
            process.wait()

    def test_lists_and_keys_of_a_file_count(self):
        keys = self.write("keys", b"from-the-file-0123456789\n")
        path = self.write("config.toml", f"api-key-file = '{keys}'\ncors_origin = ['https://a.example', 'https://b.example']\n"
                                         "host = '0.0.0.0'\nallowed_host = ['x.example']\n".encode())
        server = self.serve("--config", path)
        self.assertEqual(server.get("/health")[0], 401)
        for origin in ("https://a.example", "https://b.example"):
            headers = {"Authorization": "Bearer from-the-file-0123456789", "Origin": origin, "Host": "x.example"}
            status, headers, _ = server.get("/health", headers=headers)
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, origin))

    def test_a_bad_file_is_named_with_line_and_key(self):
        for text, words in (("max_tokens = 0\n", ":1: 'max_tokens'"), ("\n\nport = 70000\n", ":3: 'port'"), ("port = [1]\n", ":1: 'port'"),
                            ("\ncors_origin = [1]\n", ":2: 'cors_origin'"), ("\xff = 1\n", ":1: "), ("a = 'x\n", ":1: "),
                            ("install_service = true\n", ":1: unknown key 'install_service'"),
                            ("port = 1\nport = 2\n", ":2: "), ("header_timeout = nan\n", ":1: 'header_timeout'"),
                            ("model = 5.5\n", ":1: 'model'")):
            path = self.write("config.toml", text.encode("latin-1"))
            done = self.run_program("serve", "--config", path, timeout=20)
            self.assertIn(done.returncode, (1, 2), text)
            self.assertIn(words, done.stderr.decode(), text)
        for path in ("/nowhere.toml", self.home):
            done = self.run_program("serve", "--config", path, timeout=20)
            self.assertEqual(done.returncode, 1, done.stderr)

    def test_a_folder_that_cannot_be_ends_the_start(self):
        file = os.path.join(self.home, "file")
        with open(file, "w", encoding="ascii"):
            pass
        for options, env, named in (((), {"TMPDIR": "/nowhere/at/all"}, "/nowhere/at/all"), ((), {"TMPDIR": file}, file),
                                    (("--prefix-cache-dir", file), {}, file),
                                    (("--prefix-cache-dir", file + "/below"), {}, file + "/below")):
            result = subprocess.run([*self.words(), *options], env={**self.env, **env}, cwd=self.home, stdin=subprocess.DEVNULL,
                                    capture_output=True, timeout=60)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(named, result.stderr.decode())

    def test_a_flags_variable_may_say_no(self):
        server = self.serve(env={"MLXK2_LOG_JSON": "0", "MLXK2_RELOAD": "1", "MLXK2_VISION_CHUNK_SIZE": "3"})
        self.assertIn("[INFO] Starting", server.log())


@needs_engine
class Log(OperationTest):
    def test_every_line_is_an_object_whatever_clients_send(self):
        token = "hf_" + "A1b2C3d4E5" * 4
        server = self.serve("--log-json", "--log-level", "debug", env={"MLXK_API_KEY": "someone:a-key-of-someone-0123"})
        own = {"Authorization": "Bearer a-key-of-someone-0123"}
        hostile = ("/a%0ab%0d%1b[31m", "/%22%7d%0a%7b", "/%ff%fe", "/" + token, "/" + self.home.strip("/"), "/x%00y")
        for path in hostile:
            server.get(path, headers=own)
        server.post(CHAT, {**chat("nowhere", token), token: 1, "\n\x1b[2J\u2028": 1}, headers=own)
        server.raw(b"GET /\x1b]0;x\x07 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        server.get("/health", headers={**own, "X-Request-ID": "known-id"})
        self.assertEqual(server.stop(), 0)
        lines = [json.loads(line) for line in server.log().split("\n") if line]
        for line in lines:
            self.assertLessEqual({"ts", "level", "msg"}, set(line))
        ids = [line["request_id"] for line in lines if line["msg"].startswith("GET /health")]
        self.assertIn("known-id", ids)
        for secret in (token, "a-key-of-someone-0123", self.home, "\x1b", "\x07"):
            self.assertNotIn(secret, server.log())

    def test_a_text_line_cannot_be_forged(self):
        server = self.serve()
        server.get("/x%0a[ERROR]%20forged")
        server.stop()
        self.assertFalse([line for line in server.log().split("\n") if line.startswith("[ERROR]")], server.log())

    def test_a_field_that_nobody_knows_is_named_in_a_warning(self):
        server = self.serve()
        server.post(CHAT, chat("nowhere", "x", favourite_colour="red", mirostat_zeta=2))
        server.stop()
        warnings = [line for line in server.log().split("\n") if line.startswith("[WARN")]
        for field in ("favourite_colour", "mirostat_zeta"):
            self.assertTrue([line for line in warnings if field in line], server.log())

    def test_a_request_id_is_on_every_answer_and_in_the_log(self):
        server = self.serve()
        for number, (method, path, body) in enumerate((("GET", "/health", None), ("GET", "/nowhere", None), ("POST", CHAT, {}),
                                                       ("PUT", CHAT, {}), ("POST", "/v1/embeddings", {}))):
            given = f"mine-{number}"
            _, headers, content = server.request(method, path, body, {"X-Request-ID": given})
            self.assertEqual(headers["X-Request-ID"], given)
            self.assertEqual(content.get("request_id", given), given)
        for bad in ("a b", "x" * 300, 'a"b', "a\tb", "<b>", "é"):
            headers = server.get("/health", headers={"X-Request-ID": bad.encode("latin-1")})[1]
            self.assertNotEqual(headers["X-Request-ID"], bad)
            self.assertRegex(headers["X-Request-ID"], "^[!-~]{8,128}$")
        server.stop()
        for number in range(5):
            self.assertIn(f"request_id=mine-{number}", server.log())


@needs_engine
class End(OperationTest):
    def assert_gone(self, server):
        """No process is left, and the port is free at once."""
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", server.port)), 0)
        again = self.serve("--port", str(server.port))
        self.assertEqual(again.get("/health")[0], 200)
        self.assertEqual(again.stop(), 0)

    def test_it_has_no_children(self):
        server = self.serve()
        server.get("/health")
        tasks = f"/proc/{server.process.pid}/task"
        children = ""
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/children", encoding="ascii") as file:
                children += file.read()
        self.assertEqual(children, "")
        server.process.kill()
        server.process.wait()
        self.assert_gone(server)

    @unittest.skipUnless(HAS_MODEL, "no model")
    def test_a_drain_lets_answers_end_and_takes_no_new_ones(self):
        env = self.workspaces("smol")
        server = self.serve("--model", "smol", env=env)
        server.post(CHAT, chat("smol", "Hi", 2))
        idle, kept = (socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(2))
        for connection in (idle, kept):
            self.addCleanup(connection.close)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            connection.recv(65536)
        events, begun = [], threading.Event()

        def read_stream():
            body = json.dumps(chat("smol", "Tell a long story.", 300, stream=True, logit_bias={"2": -100})).encode()
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(head(CHAT, len(body)) + body)
                while piece := connection.recv(65536):
                    events.append(piece)
                    begun.set()

        thread = threading.Thread(target=read_stream)
        thread.start()
        self.assertTrue(begun.wait(60))
        server.process.send_signal(signal.SIGTERM)
        self.wait_until(lambda: "Shutting down" in server.log(), "no word of a drain")
        status, headers, answer = server.post(CHAT, chat("smol", "Hi"), timeout=5)
        self.assertEqual((status, answer["error"]["type"]), (503, "server_shutdown"))
        self.assertIn("Retry-After", headers)
        self.assertEqual(server.get("/ready")[0], 503)
        kept.sendall(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while piece := kept.recv(65536):
            answer += piece
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
        self.assertIn(b"Retry-After: ", answer)
        self.assertIn(b"Connection: close", answer)
        thread.join(60)
        self.assertIn(b"data: [DONE]", b"".join(events))
        self.assertIn(b'"finish_reason":"length"', b"".join(events))
        self.assertEqual(server.process.wait(20), 0, server.log())
        self.assertTrue(is_closed(idle, 5))
        self.assert_gone(server)

    @unittest.skipUnless(HAS_MODEL, "no model")
    def test_a_second_signal_leaves_at_once(self):
        env = self.workspaces("smol")
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)):
            server = self.serve("--model", "smol", env=env)
            body = json.dumps(chat("smol", "Tell a long story.", 4000, stream=True, logit_bias={"2": -100})).encode()
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(head(CHAT, len(body)) + body)
                connection.recv(100)
                server.process.send_signal(first)
                self.wait_until(lambda: "Shutting down" in server.log(), "no word of a drain")
                connection.recv(100)  # the answer goes on
                self.assertIsNone(server.process.poll())
                self.assertEqual(self.signal_until_gone(server, second), 128 + second)
            self.assert_gone(server)

    @unittest.skipUnless(HAS_MODEL, "no model")
    def test_a_drain_is_bounded(self):
        server = self.serve("--model", "smol", "--drain-timeout", "0.5", env=self.workspaces("smol"))
        body = json.dumps(chat("smol", "Tell a long story.", 8000, stream=True, logit_bias={"2": -100})).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head(CHAT, len(body)) + body)
            connection.recv(100)
            self.assertEqual(server.stop(timeout=15), 0)
        self.assertIn("not complete in time", server.log())

    def test_half_a_request_does_not_hold_it(self):
        server = self.serve("--drain-timeout", "20")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost:")
            self.wait_until(lambda: self.connections(server), "it is not accepted")
            self.assertEqual(server.stop(timeout=15), 0)


@needs_engine
class Limits(OperationTest):
    def test_slow_heads_bodies_and_idle_connections_are_cut_off(self):
        server = self.serve("--header-timeout", "1", "--body-timeout", "1", "--keep-alive-timeout", "1")
        connections = []
        for start in (b"", b"GET / HTTP/1.1\r\n", head("/tokenize", 100) + b"{", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                      b"POST /tokenize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"):
            connections += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
            for connection in connections[-20:]:
                connection.sendall(start)

        def drip():
            """A byte now and then keeps no connection open."""
            for _ in range(20):
                for connection in connections[20:60]:
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        pass
                time.sleep(0.1)

        thread = threading.Thread(target=drip)
        thread.start()
        for number, connection in enumerate(connections):
            self.assertTrue(is_closed(connection, 15), number)
            connection.close()
        thread.join()
        self.assertEqual(server.get("/health")[0], 200)

    def test_a_body_beyond_the_limit_is_refused_unread(self):
        server = self.serve()
        before = server.memory()
        self.assertTrue(server.raw(head("/v1/models/load", 100_000)).startswith(b"HTTP/1.1 413"))
        for length in (80_000_000, 10**15):
            self.assertTrue(server.raw(head(CHAT, length)).startswith(b"HTTP/1.1 413"), length)
            self.assertTrue(server.raw(head(CHAT, length, b"Expect: 100-continue\r\n")).startswith(b"HTTP/1.1 413"), length)
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(head(CHAT, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
            chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
            try:
                for _ in range(200):
                    connection.sendall(chunk)
            except OSError:
                pass
            try:
                answer = connection.recv(65536)
            except ConnectionResetError:
                answer = b"HTTP/1.1 413"
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"), answer[:200])
        self.assertLess(server.memory() - before, 100e6)

    def test_more_connections_than_allowed_are_turned_away(self):
        server = self.serve("--max-connections", "8")
        connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        for connection in connections:  # all are accepted
            self.addCleanup(connection.close)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200"))
        status, headers, _ = server.get("/health")
        self.assertEqual(status, 503)
        self.assertIn("Retry-After", headers)
        connections.pop().close()
        self.wait_until(lambda: server.get("/health")[0] == 200, "the room of a gone client is not free")

    def test_running_out_of_descriptors_is_survived(self):
        # A hard limit: the server raises a soft one.
        process = subprocess.Popen([*self.words(), "--port", "0"], env=self.env, cwd=self.home, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
        server = Server.__new__(Server)
        server.lines, server.process, server.port = [], process, None
        self.addCleanup(process.stdout.close)
        self.addCleanup(server.stop)
        server.wait_until_ready()
        connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(150)]
        self.wait_until(lambda: self.cpu_seconds_within(1, process.pid) < 0.5, "it spins")
        self.assertIsNone(process.poll())
        for connection in connections:
            connection.close()
        self.assertEqual(server.get("/health", timeout=30)[0], 200)
        self.assertEqual(server.stop(), 0)

    def cpu_seconds_within(self, seconds, pid):
        before = self.cpu_seconds(pid)
        time.sleep(seconds)
        return self.cpu_seconds(pid) - before

    def cpu_seconds(self, pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_descriptors_and_threads_stay_as_many(self):
        server = self.serve()
        count = lambda what: len(os.listdir(f"/proc/{server.process.pid}/{what}"))

        def visit():
            for _ in range(100):
                server.get("/v1/models")
                server.raw(b"nonsense\r\n\r\n")
                socket.create_connection(("127.0.0.1", server.port)).close()

        visit()
        self.wait_until(lambda: not self.connections(server), "connections stay")
        before = count("fd"), count("task")
        visit()
        self.wait_until(lambda: (count("fd"), count("task")) == before, "descriptors or threads grow")

    @unittest.skipUnless(HAS_MODEL, "no model")
    def test_a_thousand_idle_connections_and_two_hundred_streams_take_little(self):
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 3000:
            self.skipTest("too few descriptors")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        server = self.serve("--model", "smol", "--max-running", "1", "--prefix-cache", "0", env=self.workspaces("smol"))
        server.post(CHAT, chat("smol", "Tell a story.", 50))
        before = server.memory()
        connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
        for connection in connections:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        body = json.dumps(chat("smol", "Tell a story.", 2000, stream=True)).encode()
        for _ in range(200):
            connections.append(socket.create_connection(("127.0.0.1", server.port)))
            connections[-1].sendall(head(CHAT, len(body)) + body)
        self.wait_until(lambda: server.get("/health")[2]["waiting"] >= 199, "the streams do not wait")
        grown = server.memory() - before
        for connection in connections:
            connection.close()
        self.wait_until(lambda: server.get("/health")[2]["waiting"] + server.get("/health")[2]["running"] == 0, "gone clients wait")
        self.assertLess(grown, 100e6)


if __name__ == "__main__":
    unittest.main()

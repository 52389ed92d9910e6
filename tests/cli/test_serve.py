"""`mlxk serve`: refusals at the start, its start document, its flags' precedence, its end."""
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import time
import unittest

import program
from program import PROGRAM, ProgramTest


class RefusedServe(ProgramTest):
    def refused(self, *args, code=1, env=None):
        done = self.run_program("serve", *args, env=env)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr.decode()

    def config(self, text):
        path = os.path.join(self.home, "config.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_without_a_key_it_stays_on_this_machine(self):
        for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
            self.assertIn("without an API key", self.refused("--host", host, "--port", "0"))

    def test_an_unknown_model_ends_the_start(self):
        self.assertIn("missing", self.refused("--model", "missing"))

    def test_a_chunk_out_of_range_has_the_words_of_the_original(self):
        self.assertIn("chunk size too large (max: 5", self.refused("--chunk", "6"))
        self.assertIn("chunk size must be at least 1 (got: 0).", self.refused("--chunk", "0"))
        self.assertIn("chunk size too large", self.refused(env={"MLXK2_VISION_CHUNK_SIZE": "9"}))

    def test_malformed_values_are_named(self):
        for words, name in ((["--kv-memory", "lots"], "--kv-memory"), (["--prompt-lookup", "perhaps"], "--prompt-lookup"),
                            (["--log-level", "loud"], "--log-level"), (["--port", "70000"], "--port"),
                            (["--tls-cert", "x"], "--tls-key"), (["--prefix-cache-disk", "1G"], "--prefix-cache-dir"),
                            (["--draft-model", "x"], "--draft-model needs --model"), (["--draft-tokens", "2"], "--draft-tokens needs"),
                            (["--model", "x", "--draft-model", ""], "--draft-model: must not be empty"),
                            (["--model", "x", "--draft-model", "y", "--draft-tokens", "17"], "--draft-tokens")):
            self.assertIn(name, self.refused(*words, code=2))
        self.assertIn("no origin", self.refused("--cors-origin", "example.org"))
        self.assertIn("without an API key", self.refused("--cors-origin", "*"))

    def test_a_config_file_is_held_to_the_options(self):
        for text, words in (("port = 1\n\nprot = 2\n", ":3: unknown key 'prot'"), ('port = "x"\n', ":1: 'port' must be an integer"),
                            ("log-json = 1\n", ":1: 'log-json' must be true or false"), ("port =\n", ":1: "),
                            ("[serve]\nport = 1\n", "unknown key 'serve'"), ("config = 'x'\n", "unknown key 'config'"),
                            ("max-tokens = 1\nmax_tokens = 2\n", "twice")):
            message = self.refused("--config", self.config(text))
            self.assertIn("config.toml:", message)
            self.assertIn(words, message)

    def test_a_key_file_is_held_to_its_form_and_no_key_is_shown(self):
        path = os.path.join(self.home, "keys")
        with open(path, "w", encoding="utf-8") as file:
            file.write("bob:secret-of-bob:everything\n")
        message = self.refused("--api-key-file", path)
        self.assertIn("keys:1: a scope must be inference or admin", message)
        self.assertNotIn("secret-of-bob", message)
        self.assertNotIn("secret", self.refused(env={"MLXK_API_KEY": "a:secret:b:c"}))

    def test_a_service_is_written_and_removed(self):
        unit = os.path.join(self.home, ".config", "systemd", "user", "mlxk.service")
        if not os.path.exists("/proc/self/exe"):
            self.skipTest("no systemd here")
        done = self.run_program("serve", "--install-service", "--port", "9000", "--prefix-cache-dir", "cache")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(unit, encoding="utf-8") as file:
            text = file.read()
        self.assertIn('"serve" "--port" "9000" "--prefix-cache-dir" "%s/cache"' % self.home, text)
        for line in ("NoNewPrivileges=yes", "SystemCallFilter=@system-service", "MemoryMax=90%"):
            self.assertIn(line + "\n", text)
        self.assertIn('Environment="HF_HOME=%s/hf"' % self.home, text)
        self.assertIn("unset MLXK_API_KEY", self.refused("--install-service", env={"MLXK_API_KEY": "a-secret-key"}))
        self.assertEqual(self.run_program("serve", "--uninstall-service").returncode, 0)
        self.assertFalse(os.path.exists(unit))
        self.assertIn("there is no service", self.refused("--uninstall-service"))


@program.needs_engine
class RunningServe(ProgramTest):
    def start(self, *args, env=None):
        """The server's start document, once it listens."""
        self.server = subprocess.Popen([PROGRAM, "serve", "--json", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env={**self.env, **(env or {})}, cwd=self.home)
        self.addCleanup(self.end)
        text = b""
        while not text.endswith(b"\n}\n"):
            line = self.server.stdout.readline()
            if not line:
                self.fail(self.server.stderr.read().decode())
            text += line
        return json.loads(text)

    def end(self):
        if self.server.poll() is None:
            self.server.kill()
        self.server.wait(30)
        self.server.stdout.close()
        self.server.stderr.close()

    def stop(self, number=signal.SIGTERM):
        self.server.send_signal(number)
        _, err = self.server.communicate(timeout=60)
        return self.server.returncode, err.decode()

    def get(self, port, path="/health", method="GET", headers=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.addCleanup(connection.close)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def test_it_says_where_it_listens_and_ends_on_a_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            document = self.start("--port", "0", "--max-tokens", "7")
            self.assertEqual(document["status"], "starting")
            data = document["data"]
            self.assertEqual((data["host"], data["model"], data["max_tokens"]), ("127.0.0.1", None, 7))
            self.assertEqual(self.get(data["port"])[0], 200)
            code, err = self.stop(number)
            self.assertEqual(code, 0, err)
            self.assertIn("Starting MLX Knife Server 2.0 on http://127.0.0.1:%d" % data["port"], err)
            self.assertIn("[INFO] GET /health 200", err)
            with socket.socket() as probe:
                self.assertNotEqual(probe.connect_ex(("127.0.0.1", data["port"])), 0, "somebody still listens")

    def test_a_flag_goes_before_a_variable_before_the_file(self):
        path = os.path.join(self.home, "config.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("max_tokens = 1\nhost = '127.0.0.3'\nport = 0\nlog-json = true\n")
        document = self.start("--config", path, "--max-tokens", "3", env={"MLXK2_MAX_TOKENS": "2", "MLXK2_HOST": "127.0.0.1"})
        self.assertEqual(document["data"]["max_tokens"], 3)
        self.assertEqual(document["data"]["host"], "127.0.0.1")
        self.get(document["data"]["port"], "/nowhere")
        code, err = self.stop()
        self.assertEqual(code, 0)
        lines = [json.loads(line) for line in err.splitlines()]
        access = [line for line in lines if line["msg"] == "GET /nowhere 404"]
        self.assertEqual(len(access), 1, err)
        self.assertLessEqual({"ts", "level", "msg", "request_id", "duration"}, set(access[0]))

    def test_keys_are_wanted_everywhere_and_read_again_on_a_hangup(self):
        path = os.path.join(self.home, "keys")
        with open(path, "w", encoding="utf-8") as file:
            file.write("first-secret-key\n")
        os.chmod(path, 0o600)
        port = self.start("--port", "0", "--api-key-file", path)["data"]["port"]
        for route in ("/health", "/ready", "/metrics", "/v1/models", "/nowhere", "/openapi.json"):
            self.assertEqual(self.get(port, route)[0], 401, route)
        bearer = lambda key: {"Authorization": "Bearer " + key}
        self.assertEqual(self.get(port, headers=bearer("first-secret-key"))[0], 200)
        with open(path, "w", encoding="utf-8") as file:
            file.write("second-secret-key\n")
        self.server.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while self.get(port, headers=bearer("second-secret-key"))[0] != 200:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(self.get(port, headers=bearer("first-secret-key"))[0], 401)
        _, err = self.stop()
        self.assertNotIn("secret-key", err)

    def test_pages_and_foreign_hosts_are_refused(self):
        port = self.start("--port", "0")["data"]["port"]
        self.assertEqual(self.get(port, headers={"Host": "evil.example"})[0], 403)
        headers = {"Content-Type": "application/json", "Origin": "https://evil.example"}
        self.assertEqual(self.get(port, "/v1/completions", "POST", headers, "{}")[0], 403)
        self.assertEqual(self.get(port, "/v1/completions", "POST", {"Content-Type": "text/plain"}, "{}")[0], 415)
        status, text = self.get(port, "/v1/completions", "POST", {"Content-Type": "application/json"},
                                '{"model":"/etc","prompt":"x"}')
        self.assertEqual(status, 404, text)

    def test_a_socket_is_the_users_own_and_goes_with_the_server(self):
        path = os.path.join(self.home, "s")
        data = self.start("--unix-socket", path)["data"]
        self.assertIsNone(data["port"])
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertIn(b"200", client.recv(4096))
        self.assertEqual(self.stop()[0], 0)
        self.assertFalse(os.path.exists(path))

    @unittest.skipUnless(os.path.exists(os.path.join(program.MODEL, "config.json")), "no model")
    def test_answers_under_way_end_after_the_first_signal_and_not_after_the_second(self):
        for signals, code in ((1, 0), (2, 128 + signal.SIGTERM)):
            port = self.start("--model", program.MODEL, "--port", "0")["data"]["port"]
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            self.addCleanup(connection.close)
            bias = {"0": -100, "2": -100}  # it must not end by itself
            connection.request("POST", "/v1/completions", json.dumps({
                "model": program.MODEL, "prompt": "Once upon a time", "max_tokens": 300 if signals == 1 else 7000,
                "stream": True, "temperature": 0, "logit_bias": bias}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.assertTrue(answer.readline().startswith(b"data: "))
            self.server.send_signal(signal.SIGTERM)
            if signals == 1:
                self.assertTrue(answer.read().rstrip().endswith(b"data: [DONE]"))
            else:
                self.wait_until_draining(port)
                while self.server.poll() is None:  # signals within 0.1 s count as one
                    self.server.send_signal(signal.SIGTERM)
                    time.sleep(0.02)
            _, err = self.server.communicate(timeout=60)
            self.assertEqual(self.server.returncode, code, err)
            self.assertEqual(b"completion_tokens=300" in err, signals == 1, err)

    def wait_until_draining(self, port):
        deadline = time.monotonic() + 20
        while True:
            try:
                if self.get(port, "/v1/models")[0] == 503:
                    return
            except OSError:
                return  # it does not even listen
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_a_port_in_use_is_named(self):
        port = self.start("--port", "0")["data"]["port"]
        done = self.run_program("serve", "--port", str(port))
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(port), done.stderr.decode())


if __name__ == "__main__":
    unittest.main()

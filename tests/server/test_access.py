"""Access to `mlxk serve`: keys and scopes on every route, Host, Origin, CORS, TLS, the UNIX socket; and where keys never appear."""
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import unittest
import warnings

from server_case import ServerTest, needs_engine

KEYS = {"reader": "reading-0123456789abcdef", "keeper": "keeping-0123456789abcdef", "both": "both-0123456789abcdef00"}
KEY_FILE = "".join(f"{name}:{key}:{scopes}\n" for (name, key), scopes in
                   zip(KEYS.items(), ("inference", "admin", "inference,admin")))
ADMIN = ("/v1/models/load", "/v1/models/unload")


def bearer(key):
    return {"Authorization": "Bearer " + key}


class AccessTest(ServerTest):
    def keyed(self, *options, **kwargs):
        path = self.write("keys", KEY_FILE.encode())
        os.chmod(path, 0o600)
        return self.serve("--api-key-file", path, *options, **kwargs)

    def assert_envelope(self, answer, status, kind=None, code=None):
        got, headers, body = answer
        self.assertEqual(got, status, body)
        self.assertEqual(body["status"], "error")
        self.assertEqual(body["request_id"], headers["X-Request-ID"])
        if kind:
            self.assertEqual(body["error"]["type"], kind)
        if code:
            self.assertEqual(body["error"]["code"], code)

    def refused(self, *options, **kwargs):
        """The error of a server that does not start; its exit code is 1 or 2."""
        done = self.run_program("serve", "--port", "0", *options, timeout=30, **kwargs)
        self.assertIn(done.returncode, (1, 2), done.stderr)
        return done.stderr.decode()


@needs_engine
class Keys(AccessTest):
    def test_every_route_of_the_document_wants_a_key_of_its_scope(self):
        server = self.keyed()
        document = server.get("/openapi.json", headers=bearer(KEYS["reader"]))[2]
        routes = [(method.upper(), path) for path, item in document["paths"].items() for method in item]
        self.assertGreater(len(routes), 18)
        for method, path in routes:
            where = path.replace("{id}", "a/b")
            body = b"{}" if method == "POST" else None
            for headers in ({}, bearer("wrong-0123456789abcdef"), bearer(""), bearer("reader"), {"Authorization": "Basic cmVhZGVy"},
                            {"X-API-Key": "wrong-0123456789"}, bearer(KEYS["both"][:-1]), bearer(KEYS["both"] + "0")):
                answer = server.request(method, where, body, headers)
                self.assert_envelope(answer, 401, "authentication_error", "invalid_api_key")
                self.assertEqual(answer[1]["WWW-Authenticate"], "Bearer")
            allowed, other = ("keeper", "reader") if path in ADMIN else ("reader", "keeper")
            self.assert_envelope(server.request(method, where, body, bearer(KEYS[other])), 403, "access_denied", "missing_scope")
            for headers in (bearer(KEYS[allowed]), {"X-API-Key": KEYS[allowed]}, bearer(KEYS["both"])):
                self.assertNotIn(server.request(method, where, body, headers)[0], (401, 403), (method, path))

    def test_what_is_no_route_wants_one_too(self):
        server = self.keyed()
        multipart = {"Content-Type": "multipart/form-data; boundary=x"}
        for method, path, headers in (("GET", "/nowhere", {}), ("PUT", "/health", {}), ("DELETE", "/v1/models/x", {}), ("GET", "/", {}),
                                      ("POST", "/v1/audio/transcriptions", multipart), ("OPTIONS", "/v1/models", {}),
                                      ("GET", "/v1/models", {"Connection": "Upgrade", "Upgrade": "websocket"}),
                                      ("GET", "/%68ealth", {}), ("GET", "//health", {}), ("GET", "/health?api_key=" + KEYS["both"], {})):
            self.assertEqual(server.request(method, path, headers=headers)[0], 401, (method, path))
        self.assertEqual(server.request("HEAD", "/health")[0], 401)

    def test_a_body_is_not_awaited_without_a_key(self):
        server = self.keyed()
        answer = server.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                            b"Content-Length: 30000000\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 401"), answer[:200])

    def test_keys_appear_in_no_list_of_processes_no_log_and_no_answer(self):
        from_env = "environment-0123456789abcdef"
        server = self.keyed("--log-level", "debug", env={"MLXK_API_KEYS": "env:" + from_env})
        with open(f"/proc/{server.process.pid}/cmdline", "rb") as file:
            seen = file.read().decode()
        secrets = [*KEYS.values(), from_env]
        for key in secrets:
            headers = {**bearer(key), "User-Agent": key, "X-Request-ID": key, "Referer": key, "X-Forwarded-For": key}
            body = {"model": key, "user": key, key: 1, "messages": [{"role": "user", "content": key}]}
            for method, path, data in (("GET", "/health?key=" + key, None), ("GET", "/v1/models/" + key, None), ("GET", "/" + key, None),
                                       ("POST", "/v1/chat/completions", body), ("POST", "/v1/models/load", {"model": key})):
                server.request(method, path, data, headers)
        for path in ("/metrics", "/openapi.json", "/health", "/ready", "/v1/models"):
            seen += str(server.get(path, headers=bearer(KEYS["both"]))[2])
        self.assertEqual(server.stop(), 0)
        for secret in secrets:
            self.assertNotIn(secret, seen)
            self.assertNotIn(secret, server.log())

    def test_a_key_that_is_wrong_is_not_repeated(self):
        server = self.keyed("--log-level", "debug")
        mistyped = "mistyped-0123456789abcdef"
        self.assertNotIn(mistyped, str(server.get("/health", headers=bearer(mistyped))[2]))
        self.assertNotIn(mistyped, str(server.get("/health", headers={"X-API-Key": mistyped})[2]))
        server.stop()
        self.assertNotIn(mistyped, server.log())

    def test_there_is_no_flag_for_a_key(self):
        for words in (["--api-key", "secret-0123456789"], ["--api-keys", "secret-0123456789"]):
            self.assertIn("--api-key", self.refused(*words))
        path = self.write("config.toml", b'api_key = "secret-0123456789"\n')
        message = self.refused("--config", path)
        self.assertIn("config.toml:1: unknown key 'api_key'", message)
        self.assertNotIn("secret-0123456789", message)

    def test_elsewhere_it_listens_with_a_key_or_by_force(self):
        for host in ("0.0.0.0", "::", "127.0.0.1.example.org"):
            self.assertIn("without an API key", self.refused("--host", host))
        self.assertIn("without an API key", self.refused(env={"MLXK2_HOST": "0.0.0.0"}))
        self.assertIn("without an API key", self.refused("--config", self.write("c.toml", b'host = "0.0.0.0"\n')))
        server = self.keyed("--host", "0.0.0.0")
        self.assertEqual(server.get("/health")[0], 401)
        self.assertEqual(server.get("/health", headers=bearer(KEYS["reader"]))[0], 200)
        forced = self.serve("--host", "0.0.0.0", "--allow-unauthenticated")
        self.assertEqual(forced.get("/health")[0], 200)
        self.assertIn("there is no API key", forced.log())

    def test_no_key_at_all_is_no_open_door(self):
        self.assertIn("has no key", self.refused("--api-key-file", self.write("none", b"# nothing\n\n")))
        self.assertIn("missing", self.refused("--api-key-file", os.path.join(self.home, "missing")))


@needs_engine
class Pages(AccessTest):
    """Requests of a web page in a browser on this machine."""

    def status_of(self, server, head, method=b"GET", path=b"/v1/models"):
        answer = server.raw(method + b" " + path + b" HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n")
        return int(answer.split()[1]), answer

    def test_a_rebound_name_is_refused(self):
        server = self.serve("--allowed-host", "Models.Example")
        port = b":%d" % server.port
        for host in (b"127.0.0.1" + port, b"127.0.0.1", b"localhost" + port, b"LOCALHOST", b"[::1]" + port, b"models.example:80",
                     b"models.example."):
            self.assertEqual(self.status_of(server, b"Host: " + host + b"\r\n")[0], 200, host)
        for host in (b"evil.example" + port, b"127.0.0.1.evil.example", b"localhost.evil.example", b"xlocalhost", b"2130706433",
                     b"0x7f.1", b"models.example.evil", b"sub.models.example", b"evil.example#localhost", b"localhost@evil.example",
                     b"localhost:80@evil.example", b"localhost evil.example", b"[::1].evil.example", b"[::1", b""):
            self.assertIn(self.status_of(server, b"Host: " + host + b"\r\n")[0], (400, 403), host)
        self.assertEqual(self.status_of(server, b"Host: localhost\r\nHost: evil.example\r\n")[0], 400)
        self.assertEqual(self.status_of(server, b"")[0], 400)
        absolute = b"http://evil.example" + port + b"/v1/models"
        self.assertIn(self.status_of(server, b"Host: localhost\r\n", path=absolute)[0], (400, 403))
        self.assertEqual(server.get("/v1/models", headers={"X-Forwarded-Host": "localhost", "Host": "evil.example"})[0], 403)

    def test_without_an_allowed_origin_nothing_is_started_and_nothing_can_be_read(self):
        server = self.serve()
        own = f"http://127.0.0.1:{server.port}"
        foreign = ("https://evil.example", "null", "http://localhost", f"https://127.0.0.1:{server.port}", own + ".evil.example",
                   "file://", "chrome-extension://abc", "")
        for origin in foreign:
            for path in ("/v1/chat/completions", "/v1/models/load", "/tokenize"):
                answer = server.post(path, {"model": "x"}, headers={"Origin": origin})
                self.assert_envelope(answer, 403, "access_denied", "origin_not_allowed")
                self.assertNotIn("Access-Control-Allow-Origin", answer[1])
            status, headers, _ = server.get("/v1/models", headers={"Origin": origin})
            self.assertFalse([name for name in headers if name.lower().startswith("access-control")], origin)
            preflight = server.request("OPTIONS", "/v1/chat/completions",
                                       headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
            self.assertEqual(preflight[0], 403, origin)
            self.assertNotIn("Access-Control-Allow-Origin", preflight[1])
        self.assertEqual(server.post("/tokenize", {}, headers={"Origin": own})[0], 400)
        self.assertEqual(server.post("/tokenize", {}, headers={"Sec-Fetch-Site": "cross-site"})[0], 403)

    def test_a_listed_origin_may_ask_without_credentials(self):
        origin = "https://chat.example"
        server = self.keyed("--cors-origin", origin, "--cors-origin", "http://localhost:3000")
        wanted = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        status, headers, _ = server.request("OPTIONS", "/v1/chat/completions", headers=wanted)  # a preflight has no key
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204, origin))
        self.assertIn("authorization", headers["Access-Control-Allow-Headers"].lower())
        for path, key, status in (("/v1/models", KEYS["reader"], 200), ("/v1/models", "wrong-key-000", 401), ("/nowhere", KEYS["both"], 404)):
            got, headers, _ = server.get(path, headers={"Origin": origin, **bearer(key)})
            self.assertEqual((got, headers["Access-Control-Allow-Origin"], headers["Vary"]), (status, origin, "Origin"))
            self.assertNotIn("Access-Control-Allow-Credentials", headers)
        for other in ("http://chat.example", "https://chat.example:444", "https://chat.example.evil", "https://sub.chat.example",
                      "https://evil-chat.example", "null", "http://localhost:3001"):
            got, headers, _ = server.post("/tokenize", {}, headers={"Origin": other, **bearer(KEYS["both"])})
            self.assertEqual(got, 403, other)
            self.assertNotIn("Access-Control-Allow-Origin", headers)

    def test_null_cannot_be_listed(self):
        for origin in ("null", "chat.example", "https://", "https://chat.example/path", "https://*.example"):
            self.assertIn("is no origin", self.refused("--cors-origin", origin))

    def test_a_plain_form_cannot_post(self):
        server = self.serve()
        body = json.dumps({"model": "x", "messages": []}).encode()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "text/plain; application/json",
                     "text/plain;charset=application/json"):
            for path in ("/v1/chat/completions", "/v1/completions", "/v1/models/load", "/v1/models/unload", "/tokenize", "/detokenize",
                         "/apply-template"):
                self.assert_envelope(server.request("POST", path, body, {"Content-Type": kind}), 415, "unsupported_media_type")
        for origin in ("https://evil.example", "null"):  # the only accepted form
            headers = {"Content-Type": "multipart/form-data; boundary=a", "Origin": origin}
            self.assert_envelope(server.request("POST", "/v1/audio/transcriptions", b"--a--", headers), 403, "access_denied")
        raw = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        self.assertTrue(server.raw(raw).startswith(b"HTTP/1.1 415"))


@needs_engine
class Tls(AccessTest):
    def certificate(self, name="server"):
        paths = os.path.join(self.home, name + ".pem"), os.path.join(self.home, name + ".key")
        try:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=IP:127.0.0.1,DNS:localhost", "-out", paths[0], "-keyout", paths[1]],
                           check=True, capture_output=True)
        except FileNotFoundError:
            self.skipTest("no openssl")
        return paths

    def test_it_speaks_tls_and_nothing_else(self):
        certificate, key = self.certificate()
        server = self.serve("--tls-cert", certificate, "--tls-key", key)
        self.assertIn("https://127.0.0.1", server.log())
        trusting = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusting, timeout=30)
        for path in ("/health", "/openapi.json"):
            connection.request("GET", path)
            answer = connection.getresponse()
            self.assertEqual(answer.status, 200)
            json.loads(answer.read())
        connection.close()
        with self.assertRaises(ssl.SSLCertVerificationError):
            http.client.HTTPSConnection("127.0.0.1", server.port, context=ssl.create_default_context(), timeout=30).request("GET", "/")
        self.assertNotIn(b"200 OK", server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", server.port), 10) as plain, self.assertRaises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(plain).close()
        own = f"https://127.0.0.1:{server.port}"
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusting, timeout=30)
        connection.request("POST", "/tokenize", b"{}", {"Content-Type": "application/json", "Origin": own})
        self.assertEqual(connection.getresponse().status, 400)
        connection.close()
        self.assertEqual(server.stop(), 0)

    def test_a_pair_that_does_not_fit_is_refused(self):
        certificate, key = self.certificate()
        other = self.certificate("other")[1]
        for pair in ((certificate, other), (key, key), (certificate, os.path.join(self.home, "missing")),
                     (self.write("junk", b"junk"), key)):
            self.assertTrue(self.refused("--tls-cert", pair[0], "--tls-key", pair[1]))


@needs_engine
class UnixSocket(AccessTest):
    def get(self, path, target=b"/health"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(path)
            client.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := client.recv(65536):
                answer += piece
            return int(answer.split()[1])

    def test_a_stale_one_is_replaced(self):
        path = os.path.join(self.home, "s")
        server = self.serve("--unix-socket", path)
        self.assertEqual(self.get(path), 200)
        server.process.kill()
        server.process.wait()
        self.assertTrue(os.path.exists(path))
        again = self.serve("--unix-socket", path)
        self.assertEqual(self.get(path), 200)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(again.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_a_living_server_keeps_its_own(self):
        path = os.path.join(self.home, "s")
        server = self.serve("--unix-socket", path)
        done = self.run_program("serve", "--unix-socket", path, timeout=30)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(path, done.stderr.decode().replace("~", self.home))
        self.assertEqual(self.get(path), 200)
        self.assertEqual(server.stop(), 0)

    def test_what_is_no_socket_is_left_alone(self):
        path = self.write("precious", b"data")
        self.assertEqual(self.run_program("serve", "--unix-socket", path, timeout=30).returncode, 1)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"data")
        self.assertEqual(self.run_program("serve", "--unix-socket", os.path.join(self.home, "x" * 200), timeout=30).returncode, 1)

    def test_keys_are_wanted_there_too(self):
        path = os.path.join(self.home, "s")
        self.keyed("--unix-socket", path)
        self.assertEqual(self.get(path), 401)

    def test_a_second_signal_takes_the_socket_along(self):
        path = os.path.join(self.home, "s")
        server = self.serve("--unix-socket", path)
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(path)
        client.sendall(b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        self.assertIn(self.signal_until_gone(server, signal.SIGTERM), (0, 128 + signal.SIGTERM))
        self.assertFalse(os.path.exists(path))


if __name__ == "__main__":
    unittest.main()

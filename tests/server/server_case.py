"""`mlxk serve` under test: a server process with a home of its own, and a client of raw bytes."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from program import MODEL, PROGRAM, ProgramTest, needs_engine  # noqa: E402,F401

FAKE_SERVER = os.environ.get("MLXK_FAKE_SERVER", "")  # the whole server with a fake engine
QWEN_TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "templates",
                             "Qwen-Qwen2.5-7B-Instruct.jinja")


class Server:
    """A running server; `port` and `url` say where."""

    def __init__(self, command, env, cwd=None):
        self.lines = []
        self.process = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.port = None

    def wait_until_ready(self, timeout=60):
        """Reads the log until it names the address, then drains it in the background."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the server ended with {self.process.wait()}: {b''.join(self.lines).decode()}")
            self.lines.append(line)
            found = re.search(rb"https?://[^\s:]+:(\d+)", line)
            if found or b"unix:" in line:
                self.port = int(found.group(1)) if found else None
                break
        threading.Thread(target=self._drain, daemon=True).start()
        return self

    def _drain(self):
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def log(self):
        return b"".join(self.lines).decode(errors="replace")

    def stop(self, how=signal.SIGTERM, timeout=30):
        """The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not end:\n" + self.log()) from None

    # A client of raw bytes.

    def request(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, body as JSON or bytes)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            all_headers = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(method, path, data, {**all_headers, **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
            if content and answer.headers.get("Content-Type", "").startswith("application/json"):
                content = json.loads(content)
            return answer.status, answer.headers, content
        finally:
            connection.close()

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def post(self, path, body, **kwargs):
        return self.request("POST", path, body, **kwargs)

    def events(self, path, body, **kwargs):
        """The data of each server-sent event."""
        status, headers, content = self.post(path, body, **kwargs)
        assert status == 200, (status, content)
        assert headers["Content-Type"].startswith("text/event-stream"), headers["Content-Type"]
        return [event[6:] for event in content.decode().split("\n\n") if event.startswith("data: ")]

    def raw(self, data, timeout=20):
        """Everything the server sends after `data` until it closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            connection.sendall(data)
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionResetError:
                pass
            return answer

    def memory(self):
        """Anonymous memory in bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) * 1024


class ServerTest(ProgramTest):
    def wait_until(self, true, what, seconds=20):
        end = time.monotonic() + seconds
        while not true():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def signal_until_gone(self, server, number):
        """The exit code. Signals that come within a tenth of a second of the first count as one."""
        self.wait_until(lambda: server.process.poll() is not None or server.process.send_signal(number), "it does not end")
        return server.process.returncode

    def serve(self, *options, env=None, ready=True, program=PROGRAM, command="serve"):
        """A started server; stopped when the test ends. `--port 0` unless options say another."""
        words = [program] + ([command] if command else [])
        if "--port" not in options and "--unix-socket" not in options:
            words += ["--port", "0"]
        server = Server(words + list(options), {**self.env, **(env or {})}, self.home)
        self.addCleanup(server.process.stdout.close)
        self.addCleanup(server.stop)
        return server.wait_until_ready() if ready else server

    def workspace_with_tools(self):
        """The test model with a chat template that supports tools and has no reasoning markers."""
        folder = os.path.join(self.home, "workspaces", "with-tools")
        link_model(MODEL, folder, chat_template=QWEN_TEMPLATE)
        return folder


class SharedServerTest(ServerTest):
    """Tests that share one server: `start(holder)` starts it by holder.serve, and keeps what it needs in the class."""
    @classmethod
    def setUpClass(cls):
        holder = cls("run_server")
        holder.setUp()
        cls.addClassCleanup(holder.doCleanups)
        cls.start(holder)

    def run_server(self):
        pass


def link_model(source, folder, chat_template=None):
    """`folder` becomes a workspace with the files of `source`, and another template where one is given."""
    os.makedirs(folder)
    for name in os.listdir(source):
        if os.path.isfile(os.path.join(source, name)):
            file = os.path.join(os.path.realpath(source), name)
            try:
                os.link(os.path.realpath(file), os.path.join(folder, name))  # a symbolic link out of the home is not served
            except OSError:
                shutil.copy(file, os.path.join(folder, name))
    if chat_template:
        with open(chat_template, encoding="utf-8") as file:
            text = file.read()
        with open(os.path.join(folder, "chat_template.jinja"), "w", encoding="utf-8") as file:
            file.write(text)

"""Programs running on a terminal."""
import os
import pty
import select
import signal
import termios
import time


class Terminal:
    """A program on a pseudo terminal."""

    def __init__(self, args, env, cwd):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(args[0], args, env)
        self.text = ""

    def read_until(self, word, seconds=120, start=0):
        end = time.monotonic() + seconds
        while word not in self.text[start:]:
            if time.monotonic() > end:
                raise AssertionError(f"no {word!r} in {self.text!r}")
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    piece = os.read(self.fd, 65536)
                except OSError:
                    piece = b""
                if not piece:
                    break
                self.text += piece.decode("utf-8", "replace")
        return self.text

    def send(self, text):
        """Types in the line editor: its prompt appears before it controls the terminal, and a key in between is lost."""
        end = time.monotonic() + 60
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            if time.monotonic() > end:
                raise AssertionError(f"no line editor: {self.text!r}")
            time.sleep(0.01)
        self.type(text)

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        """Ends the program."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def wait(self, seconds=60):
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"did not end: {self.text!r}")
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    os.read(self.fd, 65536)
                except OSError:
                    time.sleep(0.1)

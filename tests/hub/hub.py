"""A hub on loopback that speaks the Hugging Face protocol and misbehaves on demand.

    hub = Hub()
    hub.add("org/model", {"config.json": b"{}", "model.safetensors": weights})
    hub.fault("resolve/.*/model.safetensors", cut=1000, times=2)
    ... HF_ENDPOINT=hub.url ...
    hub.close()

Large files (LFS) are redirected to a second server of another port, as the real hub does with its CDN; that one refuses
requests that carry a token. A route is a row of ROUTES: method, pattern of the path, method of Routes (push_routes.py adds
its own).
"""
import collections
import functools
import hashlib
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LFS_FROM = 1 << 16  # bytes; smaller files are kept in git

Request = collections.namedtuple("Request", "server method path headers time")


@functools.lru_cache(maxsize=4096)
def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@functools.lru_cache(maxsize=4096)
def sha256(content):
    return hashlib.sha256(content).hexdigest()


def is_lfs(content):
    return len(content) >= LFS_FROM


def etag_of(content):
    return sha256(content) if is_lfs(content) else git_hash(content)


class Repo:
    """A repository: commits by hash, each a dict of files, and the branches and tags that name them."""

    def __init__(self, name, private=False, gated=False, **facts):
        self.name, self.private, self.gated, self.facts = name, private, gated, facts
        self.commits, self.refs = {}, {}

    def commit(self, files, branch="main"):
        listing = "".join(f"{path}\0{etag_of(content)}\n" for path, content in sorted(files.items()))
        commit = hashlib.sha1((self.name + str(len(self.commits)) + listing).encode("utf-8", "surrogatepass")).hexdigest()
        self.commits[commit] = dict(files)
        self.refs[branch] = commit
        return commit

    def find(self, revision):
        revision = self.refs.get(revision, revision)
        return revision if revision in self.commits else None


class Fault:
    """The fault of requests to a path that matches `pattern`, the first `times` times (None: always)."""

    def __init__(self, pattern, times=1, skip=0, **what):
        self.pattern, self.times, self.skip, self.what = re.compile(pattern), times, skip, what


class Hub:
    def __init__(self, token="hf_secret_of_the_tests", page=1000, tls=None, address="127.0.0.1"):
        """`tls`: (certificate, key), files for servers that speak https."""
        self.repos, self.blobs, self.faults, self.log = {}, {}, [], []
        self.token, self.page = token, page
        self.lock = threading.Lock()
        self.tree_override = None  # function(entries) → entries, for hostile listings
        self.servers = [Server(self, kind, tls, address) for kind in ("hub", "cdn")]
        self.url, self.cdn = (f"http{'s' if tls else ''}://{address}:{server.server_port}" for server in self.servers)
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name, files, branch="main", **facts):
        """Adds a commit to the repository, which is made; returns its hash."""
        repo = self.repos.setdefault(name, Repo(name, **facts))
        for content in files.values():
            self.blobs[etag_of(content)] = content
        return repo.commit(files, branch)

    def fault(self, pattern, **what):
        self.faults.append(Fault(pattern, **what))

    def fault_of(self, path):
        with self.lock:
            for fault in self.faults:
                if not fault.pattern.search(path):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    if fault.times == 0:
                        continue
                    fault.times -= 1
                return fault.what
        return {}

    def requests(self, pattern="", server=None):
        return [r for r in list(self.log) if re.search(pattern, r.path) and server in (None, r.server)]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub, kind, tls, address):
        self.hub, self.kind, self.tls = hub, kind, None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        super().__init__((address, 0), Handler)

    def finish_request(self, request, client_address):  # on the request's own thread
        if not self.tls:
            return super().finish_request(request, client_address)
        with self.tls.wrap_socket(request, server_side=True) as secure:
            return super().finish_request(secure, client_address)

    def handle_error(self, request, client_address):
        pass  # the client has gone


class Routes:
    """The hub's answers; `self` is the handler of one request."""

    def repo_of(self, name, revision=None):
        """(repo, commit) that the client may see, or None after the refusal was sent."""
        repo = self.hub.repos.get(name)
        if not repo or (repo.private and not self.authorized()):
            self.refuse(404 if self.authorized() else 401, "RepoNotFound", "Repository not found")
            return None
        commit = repo.find(revision or "main")
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo, commit

    def describe(self, repo, commit):
        return {"id": repo.name, "modelId": repo.name, "sha": commit, "private": repo.private, "gated": repo.gated,
                "downloads": repo.facts.get("downloads", 0), "likes": repo.facts.get("likes", 0),
                "tags": repo.facts.get("tags", []), "pipeline_tag": repo.facts.get("pipeline_tag"),
                "lastModified": "2026-01-31T12:00:00.000Z", "createdAt": "2026-01-30T12:00:00.000Z",
                "siblings": [{"rfilename": path} for path in sorted(repo.commits[commit])]}

    def get_search(self):
        words = self.query.get("search", [""])[0].lower()
        library = self.query.get("filter", [""])[0]
        found = [repo for repo in self.hub.repos.values() if words in repo.name.lower() and (not repo.private or self.authorized())
                 and (not library or library in repo.facts.get("tags", []))]
        found.sort(key=lambda repo: -repo.facts.get("downloads", 0))
        limit = int(self.query.get("limit", ["100"])[0])
        self.send_json([self.describe(repo, repo.refs["main"]) for repo in found[:limit]])

    def get_info(self, name, revision=None):
        if found := self.repo_of(name, revision):
            self.send_json(self.describe(*found))

    def get_tree(self, name, revision):
        found = self.repo_of(name, revision)
        if not found:
            return
        entries = []
        for path, content in sorted(found[0].commits[found[1]].items()):
            entry = {"type": "file", "oid": git_hash(content), "size": len(content), "path": path}
            if is_lfs(content):
                entry["oid"] = git_hash(b"pointer to " + sha256(content).encode())
                entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        folders = {path.rsplit("/", 1)[0] for path in found[0].commits[found[1]] if "/" in path}
        entries += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in sorted(folders)]
        if self.hub.tree_override:
            entries = self.hub.tree_override(entries)
        start = int(self.query.get("cursor", ["0"])[0])
        end = start + self.hub.page
        headers = {}
        if end < len(entries):
            headers["Link"] = f'<{self.hub.url}{self.plain_path}?recursive=1&cursor={end}>; rel="next"'
        self.send_json(entries[start:end], headers)

    def get_file(self, name, revision, path):
        found = self.repo_of(name, revision)
        if not found:
            return
        repo, commit = found
        if repo.gated and not self.authorized():
            return self.refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
        content = repo.commits[commit].get(path)
        if content is None:
            return self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit}
        if not is_lfs(content):
            return self.send_content(content, git_hash(content), headers)
        etag = self.fault.get("etag", sha256(content))
        headers.update({"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content)),
                        "Location": self.fault.get("redirect", f"{self.hub.cdn}/blobs/{sha256(content)}?signature=secret_of_the_link")})
        if "redirect" not in self.fault and any(key in self.fault for key in ("status", "cut", "stall")):
            return self.send_content(content, etag, headers)
        self.send_bytes(302, b"", headers)

    def get_blob(self, digest):
        if self.headers.get("Authorization"):
            return self.send_bytes(400, b"only one auth mechanism allowed")
        if self.query.get("signature") != ["secret_of_the_link"]:
            return self.send_bytes(403, b"<Error>expired</Error>")
        content = self.hub.blobs.get(digest)
        if content is None:
            return self.send_bytes(404, b"")
        self.send_content(content, digest[:32], {})  # a CDN has ETags of its own


NAME = r"(?P<name>[^/]+(?:/[^/]+)?)"
ROUTES = {
    "hub": [
        ("GET", r"/api/models", Routes.get_search),
        ("GET", rf"/api/models/{NAME}/revision/(?P<revision>.+)", Routes.get_info),
        ("GET", rf"/api/models/{NAME}/tree/(?P<revision>[^/]+)", Routes.get_tree),
        ("GET", rf"/api/models/{NAME}", Routes.get_info),
        ("GET", rf"/{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Routes.get_file),
    ],
    "cdn": [("GET", r"/blobs/(?P<digest>[0-9a-f]{64})", Routes.get_blob)],
}


class Handler(Routes, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, *args):
        pass

    @property
    def hub(self):
        return self.server.hub

    def authorized(self):
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def dispatch(self):
        parts = urllib.parse.urlsplit(self.path)
        self.plain_path, self.query = parts.path, urllib.parse.parse_qs(parts.query)
        headers = {name.title(): value for name, value in self.headers.items()}
        self.hub.log.append(Request(self.server.kind, self.command, self.path, headers, time.monotonic()))
        self.fault = self.hub.fault_of(f"{self.command} {self.server.kind} {self.path}")
        if "status" in self.fault:
            self.body()  # unread bytes would be parsed as the next request
            headers = {"Retry-After": str(self.fault["retry_after"])} if "retry_after" in self.fault else {}
            more = self.fault.get("headers", {})
            headers.update(more() if callable(more) else more)
            return self.send_bytes(self.fault["status"], self.fault.get("text", b"sorry"), headers)
        if bearer := self.headers.get("Authorization"):
            if self.server.kind == "hub" and not self.authorized():
                return self.refuse(401, None, f"Invalid credentials in Authorization header ({bearer})")
        for method, pattern, answer in ROUTES[self.server.kind]:
            match = re.fullmatch(pattern, parts.path)
            if match and method in (self.command, "GET" if self.command == "HEAD" else None):
                return answer(self, **{key: urllib.parse.unquote(value) for key, value in match.groupdict().items()})
        self.refuse(404, None, "no such page")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = dispatch

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send_json(self, document, headers=None):
        self.send_bytes(200, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def refuse(self, status, code, message, headers=None):
        headers = {"X-Error-Message": message, **(headers or {})}
        if code:
            headers["X-Error-Code"] = code
        self.send_bytes(status, json.dumps({"error": message}).encode(), headers)

    def send_bytes(self, status, content, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_content(self, content, etag, headers):
        """A file, or the requested range of it, with the fault `self.fault`."""
        fault, start, end = self.fault, 0, len(content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and not fault.get("ignore_range"):
            start, end = int(asked[1]), min(int(asked[2] or end) + 1, end) if asked[2] else end
            if start >= len(content):
                return self.send_bytes(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers = {**headers, "Content-Range": f"bytes {start + fault.get('shift', 0)}-{end - 1}/{len(content)}"}
        self.send_response(206 if "Content-Range" in headers else 200)
        body = bytearray(content[start:end]) if fault.get("corrupt") else memoryview(content)[start:end]
        if fault.get("corrupt") and body:
            body[len(body) // 2] ^= 1
        for name, value in {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", **headers, **fault.get("headers", {})}.items():
            self.send_header(name, value)
        length = len(body) + fault.get("longer", 0)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.send_body(bytes(body) + b"x" * max(0, length - len(body)) if fault.get("longer") else body, fault)

    def send_body(self, body, fault):
        if "drip" in fault:
            size, pause = fault["drip"]
            for at in range(0, len(body), size):
                self.wfile.write(body[at:at + size])
                time.sleep(pause)
            return
        end = fault.get("cut", fault.get("stall", len(body)))
        self.wfile.write(body[:end])
        if "stall" in fault:
            self.connection.settimeout(fault.get("seconds", 30))
            try:
                self.connection.recv(1)  # until the client has had enough
            except OSError:
                pass
        if end < len(body) or "stall" in fault:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

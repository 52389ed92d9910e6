"""mlxk pull against a hub and a network that misbehave."""
import itertools
import json
import os
import shutil
import socket
import subprocess
import time
import unittest

from hub import Hub
from hub_case import PIECE, HubTest, model, safetensors

FAULT = r"GET cdn /blobs/"


class Network(HubTest):
    """Faults that any transfer may have are retried from the last received byte."""

    def setUp(self):
        super().setUp()
        self.commit = self.hub.add("org/model", model())

    def pulls(self, **env):
        out, err = self.pull("org/model", env=env)
        self.assert_pulled("org/model", self.commit, model())
        return err

    def starts(self):
        return sorted(int(r.headers["Range"][6:].split("-")[0]) for r in self.hub.requests("/blobs/", "cdn"))

    def test_cut_at_a_byte(self):
        self.hub.fault(FAULT, cut=70_001, times=5)
        err = self.pulls()
        self.assertIn("pull: model.safetensors: ", err)
        self.assertIn("; retrying in 0.", err)
        resumed = [start for start in self.starts() if start % PIECE]
        self.assertEqual([start % PIECE % 70_001 for start in resumed], [0] * 5)

    def test_stall_is_noticed(self):
        self.hub.fault(FAULT, stall=50_000, times=1)
        self.assertIn("no data for 1 s; retrying", self.pulls(HF_HUB_DOWNLOAD_TIMEOUT="1"))

    def test_stall_before_the_first_byte(self):
        self.hub.fault(FAULT, stall=0, times=2)
        self.pulls(HF_HUB_DOWNLOAD_TIMEOUT="1")

    def test_slow_but_steady_is_left_alone(self):
        self.hub.fault(FAULT, drip=(20_000, 0.02), times=None)
        self.pulls()
        self.assertEqual(len(self.starts()), 8)

    def test_busy_hub_says_when(self):
        self.hub.fault(FAULT, status=429, retry_after=1, times=1)
        self.hub.fault(r"GET hub /api/models", status=503, retry_after=1, times=1)
        start = time.monotonic()
        self.pulls()
        self.assertGreater(time.monotonic() - start, 2)

    def test_server_errors(self):
        for status in (500, 502, 408):
            self.hub.fault(FAULT, status=status)
        for status in (503, 504):
            self.hub.fault("/tree/", status=status)
        self.pulls()

    def test_a_link_that_has_run_out_is_renewed(self):
        self.hub.fault(r"GET hub .*/resolve/.*model", redirect=self.hub.cdn + "/blobs/" + "0" * 64 + "?signature=old", times=1)
        self.pulls()

    def test_ranges_ignored(self):
        self.hub.fault(FAULT, ignore_range=True, times=None)
        self.pulls()
        self.assertEqual(len(self.starts()), 1)

    def test_ranges_ignored_and_cut(self):
        self.hub.fault(FAULT, ignore_range=True, cut=900_000, times=1)
        self.hub.fault(FAULT, ignore_range=True, times=None)
        self.pulls()

    def test_ranges_ignored_now_and_then(self):
        self.hub.fault(FAULT, skip=2, ignore_range=True, times=2)
        self.pulls()

    def test_ranges_ignored_at_first(self):
        self.hub.fault(FAULT, ignore_range=True, cut=600_000, times=1)
        self.pulls()

    def test_a_proxy_that_says_other_hash_names_of_its_own_is_believed_by_content(self):
        self.hub.fault(FAULT, headers={"ETag": '"anything"'}, times=None)
        self.pulls()

    def test_gives_up_in_the_end_and_goes_on_the_next_time(self):
        self.hub.fault(FAULT, skip=3, cut=0, times=None)
        document = self.run_json("pull", "org/model", "--json", code=1, env={"MLXK_PULL_TRIES": "2"})
        self.assertEqual(document["error"]["type"], "download_failed")
        self.assertIn("model.safetensors: ", document["error"]["message"])
        self.assertEqual(document["error"]["detail"], "what was downloaded is kept; run it again to continue")
        self.assert_nothing_visible("org/model")
        self.assertEqual(len(self.partials("org/model")), 1)
        self.hub.faults.clear()
        self.hub.log.clear()
        self.pull("org/model")
        self.assert_pulled("org/model", self.commit, model())
        self.assertLessEqual(len(self.starts()), 6)


class Lies(HubTest):
    """Things that a hub must not achieve."""

    def setUp(self):
        super().setUp()
        self.commit = self.hub.add("org/model", model())

    def fails(self, *needles):
        document = self.run_json("pull", "org/model", "--force-resume", "--json", code=1,
                                 env={"MLXK_PULL_TRIES": "2", "HF_TOKEN": self.hub.token})
        self.assertEqual((document["status"], document["error"]["type"]), ("error", "download_failed"))
        for needle in needles:
            self.assertIn(needle, document["error"]["message"])
        self.assertNotIn("secret", json.dumps(document))
        self.assert_nothing_visible("org/model")

    def test_another_content_once_is_fetched_again(self):
        self.hub.fault(FAULT, corrupt=True)
        _, err = self.pull("org/model")
        self.assertIn("its hash is not the one that the hub lists; downloading it again", err)
        self.assert_pulled("org/model", self.commit, model())

    def test_another_content_for_good(self):
        self.hub.fault(FAULT, corrupt=True, times=None)
        self.fails("model.safetensors: the content is not the one that the hub lists: its SHA-256 differs")
        self.assertEqual(self.partials("org/model"), [])

    def test_another_content_of_a_small_file(self):
        self.hub.fault("/resolve/.*/config.json", corrupt=True, times=None)
        self.fails("config.json: the content is not the one that the hub lists: its git hash differs")

    def test_another_length(self):
        self.hub.fault("/resolve/.*/config.json", longer=5, times=None)
        self.fails("config.json: the server sends 28 bytes, the hub listed 23")

    def test_another_etag_midway(self):
        self.hub.fault(r"GET hub .*/resolve/.*model", skip=2, etag="e" * 64, times=None)
        self.fails("model.safetensors: the hub now has another content than it listed")

    def test_another_range(self):
        self.hub.fault(FAULT, shift=1, times=None)
        self.fails("model.safetensors: the server sent the range 'bytes ")

    def test_more_than_was_listed(self):
        self.hub.fault(FAULT, ignore_range=True, longer=100, headers={"Transfer-Encoding": "x"}, times=None)
        self.fails("model.safetensors: ")

    def test_compressed_content(self):
        self.hub.fault(FAULT, headers={"Content-Encoding": "gzip"}, times=None)
        self.fails("the content is encoded as gzip")

    def test_redirect_to_another_host_gets_no_token(self):
        self.hub.fault("/resolve/", redirect=self.hub.cdn + "/elsewhere", times=None)
        self.fails("model.safetensors: " + self.hub.cdn)
        self.assertEqual([r for r in self.hub.requests(server="cdn") if "Authorization" in r.headers], [])

    def test_redirect_to_what_is_no_web_address(self):
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x"):
            self.hub.faults.clear()
            self.hub.fault("/resolve/", redirect=target, times=None)
            self.fails("redirects to a URL that is not http(s)")

    def test_redirect_to_where_cloud_machines_keep_their_credentials(self):
        for target in ("http://169.254.169.254/latest", "http://[fe80::1]/x", "http://2852039166/"):
            self.hub.faults.clear()
            self.hub.fault("/resolve/", redirect=target, times=None)
            self.fails("redirects to", "which is on this machine or link")

    def test_redirect_to_this_machine_from_elsewhere(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only to learn this machine's own address
            address = probe.getsockname()[0]
        if address.startswith("127."):
            self.skipTest("this machine has no other address")
        hub = Hub(address=address)
        self.addCleanup(hub.close)
        hub.add("org/model", model())
        self.env["HF_ENDPOINT"] = hub.url
        port = hub.cdn.rsplit(":", 1)[1]
        for target in (f"http://127.0.0.1:{port}/x", f"http://localhost:{port}/x"):
            hub.faults.clear()
            hub.fault("/resolve/", redirect=target, times=None)
            self.fails("which is on this machine or link")
        hub.faults.clear()
        self.pull("org/model")

    def test_redirect_without_end(self):
        self.hub.fault(r"/resolve/.*model", redirect="?again", times=None)
        self.fails("redirects without end")

    def test_a_file_that_is_listed_but_not_there(self):
        self.hub.fault("/resolve/.*/config.json", status=404, headers={"X-Error-Code": "EntryNotFound"}, times=None)
        self.fails("config.json: the hub lists this file but does not have it")

    def test_refusal_midway(self):
        self.hub.fault(r"GET hub .*/resolve/.*model", skip=2, status=403, headers={"X-Error-Code": "GatedRepo"}, times=None)
        document = self.run_json("pull", "org/model", "--json", code=1)
        self.assertEqual(document["data"]["download_status"], "access_denied")
        self.assert_nothing_visible("org/model")

    def test_answers_that_are_no_hubs(self):
        for page, text in (("/revision/", b"<html>"), ("/revision/", b"{}"), ("/revision/", b"[1]"), ("/tree/", b"{}"),
                           ("/tree/", b"[" * 100_000), ("/revision/", b'{"sha": "../../../x"}')):
            self.hub.faults.clear()
            self.hub.fault(page, status=200, text=text, times=None)
            self.run_json("pull", "org/model", "--json", code=1)
            self.assertEqual(os.listdir(self.cache), [])


@unittest.skipUnless(shutil.which("openssl"), "no openssl to make a certificate with")
class Encrypted(HubTest):
    def setUp(self):
        super().setUp()
        self.certificate, key = os.path.join(self.home, "cert.pem"), os.path.join(self.home, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", self.certificate],
                       check=True, capture_output=True)
        self.plain = self.hub
        self.hub = Hub(tls=(self.certificate, key))
        self.addCleanup(self.hub.close)
        self.commit = self.hub.add("org/model", model())
        self.env.update(HF_ENDPOINT=self.hub.url, HF_TOKEN=self.hub.token)

    def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(self):
        document = self.run_json("pull", "org/model", "--json", code=1)
        self.assertIn("certificate", document["error"]["message"])
        self.assertEqual(self.hub.log, [])

    def test_a_certificate_that_the_user_vouches_for(self):
        self.pull("org/model", env={"SSL_CERT_FILE": self.certificate})
        self.assert_pulled("org/model", self.commit, model())

    def test_encryption_is_never_given_up(self):
        self.hub.fault("/resolve/", redirect=self.plain.url + "/elsewhere", times=None)
        self.hub.fault("/api/", status=302, headers={"Location": self.plain.url + "/api"}, times=None)
        _, err = self.pull("org/model", code=1, env={"SSL_CERT_FILE": self.certificate})
        self.assertIn("redirects to an address without encryption", err)
        self.hub.faults.pop()
        _, err = self.pull("org/model", code=1, env={"SSL_CERT_FILE": self.certificate})
        self.assertIn("redirects to an address without encryption", err)
        self.assertEqual(self.plain.log, [])


class Listings(HubTest):
    """The file list of a repository, which anybody may have created."""

    def listed(self, *entries, code=1):
        commit = self.hub.add("org/model", model(70_000))
        self.hub.tree_override = lambda good: good + list(entries)
        document = self.run_json("pull", "org/model", "--json", code=code)
        if code:
            self.assertEqual(document["error"]["type"], "download_failed")
            self.assertEqual(os.listdir(self.cache), [])
            self.assertEqual(sorted(os.listdir(self.home)), ["hf"])
            return document["error"]["message"]
        return commit

    @staticmethod
    def entry(path, **other):
        return {"type": "file", "path": path, "size": 1, "oid": "a" * 40, **other}

    def test_hostile_names_are_refused_before_anything_is_written(self):
        names = ["../evil", "a/../../evil", "..", "/etc/evil", "a//b", "./a", "a/.", "a\0b", "a\nb", "a\x7fb", "a\\..\\b", "",
                 "x" * 256, "y/" * 1500 + "z"]
        for name in names:
            with self.subTest(name[:20]):
                self.assertIn("; nothing was written", self.listed(self.entry(name)))

    def test_hostile_hashes_and_sizes_are_refused(self):
        for other in ({"oid": "../x"}, {"oid": "a" * 39}, {"oid": None}, {"size": -1}, {"size": 1 << 60}, {"size": "1"}, {"size": 1.5},
                      {"lfs": {"oid": "../../x", "size": 1}}, {"lfs": {"oid": "b" * 64, "size": -1}}):
            with self.subTest(str(other)):
                self.assertIn("; nothing was written", self.listed(self.entry("a", **other)))

    def test_names_that_cannot_be_side_by_side(self):
        self.assertIn("twice", self.listed(self.entry("config.json")))
        self.assertIn("below what is a file itself", self.listed(self.entry("config.json/x")))

    def test_odd_but_plain_names_are_files(self):
        files = {"-rf": b"1", "--help": b"2", "n" * 200: b"3", "sp ace/ümläut ?#%2e%2e&.txt": b"4", "\u202egnp.exe": b"5",
                 "~": b"6", "$HOME": b"7", "a:b": b"8", ".hidden": b"9"}
        commit = self.hub.add("org/model", files)
        self.pull("org/model")
        self.assert_pulled("org/model", commit, files)

    def test_many_pages(self):
        files = {f"folder{i // 100}/file{i:04}": b"same" for i in range(605)}
        commit = self.hub.add("org/model", files)
        self.hub.page = 25
        self.pull("org/model")
        self.assertEqual(len(self.hub.requests("/tree/")), 25)
        self.assertEqual(len(self.hub.requests("/resolve/")), 1)
        self.assert_pulled("org/model", commit, files)

    def test_pages_that_lead_in_a_circle_or_elsewhere(self):
        self.hub.add("org/model", model(70_000))
        page = self.hub.url + "/api/models/org/model/tree/x"
        for link in ("http://127.0.0.1:1/steal", page):
            self.hub.faults.clear()
            self.hub.fault("/tree/", status=200, text=b"[]", headers={"Link": f'<{link}>; rel="next"'}, times=None)
            document = self.run_json("pull", "org/model", "--json", code=1, env={"HF_TOKEN": self.hub.token})
            self.assertIn("never ends or leaves the hub", document["error"]["message"])

    def test_a_listing_of_a_million_files_is_refused(self):
        entries = [self.entry(f"f{i}") for i in range(1000)]
        self.hub.add("org/model", model(70_000))
        text = json.dumps(entries).encode()

        page = f"{self.hub.url}/api/models/org/model/tree/x?page="
        pages = itertools.count()
        self.hub.fault("/tree/", status=200, text=text, headers=lambda: {"Link": f'<{page}{next(pages)}>; rel="next"'}, times=None)
        document = self.run_json("pull", "org/model", "--json", code=1)
        self.assertIn("the hub lists more than 100000 files; nothing was written", document["error"]["message"])


if __name__ == "__main__":
    unittest.main()

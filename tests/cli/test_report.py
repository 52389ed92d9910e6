"""`mlxk report`, `mlxk bench serve` against the fake server, and the records written by `mlxk bench`."""
import html.parser
import json
import os
import sys
import unittest
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "server"))
from program import MODEL, ProgramTest, jsonschema, needs_engine  # noqa: E402
from server_case import FAKE_SERVER, ServerTest  # noqa: E402

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "report.schema.json")
START = 1767225600.0  # 2026-01-01T00:00:00Z
SECTIONS = ["Input Files", "Executive Summary", "Test Summary", "System Health", "Per-Model Statistics", "Model Categories",
            "Per-Test Statistics", "GPU Analysis", "Files"]


def record(number=0, model="org/one", **more):
    """A record of the newest schema version: test `number`, which ran for 10 s."""
    start = START + 20 * number
    return {"schema_version": "0.2.2", "timestamp": "2026-01-01T00:00:10Z", "test_start_ts": start, "test_end_ts": start + 10,
            "mlx_knife_version": "2.0.4", "test": f"tests/live.py::test_{number}", "outcome": "passed", "duration": 10,
            "model": {"id": model, "size_gb": 2.5, "family": "llama", "quantization": "4bit"},
            "performance": {"tokens_per_sec": 40, "time_to_first_token_s": 0.25},
            "system_health": {"swap_gb": 0, "ram_free_gb": 20, "zombies_detected": 0, "quality_flags": ["clean"]},
            "metadata": {"inference_modality": "text"}, **more}


class ReportTest(ProgramTest):
    def lines(self, name, *records):
        """Writes a file of records as JSON; bytes are written as they are."""
        return self.write(name, b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in records))

    def report(self, *args, code=0):
        """(stdout, stderr) of `mlxk report args`."""
        done = self.run_program("report", *args)
        self.assertEqual(done.returncode, code, done.stderr.decode() + done.stdout.decode())
        return done.stdout.decode(), done.stderr.decode()


class Validation(ReportTest):
    def test_all_versions_are_good(self):
        versions = ["0.2.2", "0.2.1", "0.2.0", "0.1.0"]
        path = self.lines("mixed.jsonl", *(record(schema_version=version) for version in versions))
        self.assertEqual(self.report("--validate", path)[0], f"✓ {path}: 4 records\n")

    def test_names_line_and_field(self):
        path = self.lines("bad.jsonl", record(), record(outcome="ok"), b"\n", record(performance={"tokens_per_sec": "fast"}),
                          b'{"schema_version": "0.2.2", "tim')
        out, _ = self.report("--validate", path, code=1)
        self.assertEqual(out.splitlines(), [
            f'{path}:2: outcome: must be one of passed, failed, skipped, got "ok"',
            f'{path}:4: performance.tokens_per_sec: must be a number, got "fast"',
            f"{path}:5: the last line is cut off: invalid JSON at byte 33",
            f"✗ {path}: 3 problems, 1 good record"])
        data = self.run_json("report", "--validate", path, "--json", code=1)["data"]
        self.assertFalse(data["valid"])
        self.assertEqual([(one["line"], one["field"]) for one in data["files"][0]["problems"]],
                         [(2, "outcome"), (4, "performance.tokens_per_sec"), (5, None)])

    def test_every_file_is_looked_at(self):
        good, empty = self.lines("good.jsonl", record()), self.lines("empty.jsonl")
        out, _ = self.report("--validate", "missing.jsonl", empty, good, self.home, code=1)
        self.assertEqual(out.splitlines(), [
            "✗ missing.jsonl: cannot read missing.jsonl: No such file or directory", f"✗ {empty}: the file holds no records",
            f"✓ {good}: 1 record", f"✗ {self.home}: {self.home} is a folder"])

    def test_a_clock_that_was_set_is_a_note(self):
        path = self.lines("clock.jsonl", record(test_end_ts=START - 3600))
        out, _ = self.report("--validate", path)
        self.assertIn(f"note: {path}:1: test_end_ts is 3600.000 s before test_start_ts", out)

    def test_agrees_with_the_schema(self):
        if not jsonschema:
            self.skipTest("no jsonschema")
        with open(SCHEMA, encoding="utf-8") as file:
            validator = jsonschema.Draft7Validator(json.load(file))
        wrong = [{"duration": -1}, {"duration": None}, {"test": 1}, {"speed": 1}, {"model": []}, {"system": {"ram_total_gb": "64"}},
                 {"stop_tokens": {"leaked": "no"}}, {"stop_tokens": {"configured": [1]}}, {"mlx_knife_version": "v2.0.4"},
                 {"system_health": {"quality_flags": ["fine"]}}, {"metadata": {"inference_modality": "smell"}},
                 {"system": {"hardware_profile": {"gpu_cores": 1.5}}}, {"timeline": {"first_token_ms": -1}}]
        right = [{}, {"model": {"colour": 1}}, {"metadata": {"anything": [1]}}, {"performance": {"prompt_tokens": 3.0}},
                 {"stop_tokens": {"configured": [], "detected": ["</s>"], "workaround": "none", "leaked": False}}]
        for changes in wrong + right:
            with self.subTest(changes):
                self.assertEqual(validator.is_valid(record() | changes), changes in right)
                self.report("--validate", self.lines("one.jsonl", record() | changes), code=0 if changes in right else 1)


class Report(ReportTest):
    def sections(self, text):
        return [line[3:] for line in text.splitlines() if line.startswith("## ")]

    def row(self, text, *cells):
        """The first row of a table that begins with `cells`."""
        start = "| " + " | ".join(cells) + " |"
        rows = [line for line in text.splitlines() if line.startswith(start)]
        self.assertTrue(rows, f"no row {start} in\n{text}")
        return rows[0]

    def test_has_its_sections(self):
        path = self.lines("a.jsonl", record(0), record(1, "org/two", metadata={"inference_modality": "vision"}),
                          record(2, outcome="failed"), record(3, outcome="skipped"))
        text, errors = self.report(path)
        self.assertEqual(errors, "")
        self.assertEqual(self.sections(text), SECTIONS)
        self.assertIn("4 records: 2 passed, 1 failed, 1 skipped", text)
        self.assertIn("- tests/live.py::test\\_2 – org/one", text)
        self.assertEqual(self.row(text, "org/one"),
                         "| org/one | 2.50 | 3 | 20.0 s | 67 % | text 2 | 40.0 | 0.250 | – | – | – |")
        self.row(text, "modality vision", "1", "1")

    def test_bad_lines_are_told_and_left_out(self):
        path = self.lines("a.jsonl", record(0), b"{}{\n", record(1, outcome="ok"), record(2))
        text, errors = self.report(path)
        self.assertIn("2 records: 2 passed", text)
        self.assertEqual(errors.count("warning: "), 2)
        self.assertIn(f"{path}:2: invalid JSON at byte 3", errors)
        self.row(text, "report", path.replace("_", "\\_"), "2", "2")

    def test_nothing_good_is_an_error(self):
        path = self.lines("empty.jsonl")
        done = self.run_program("report", path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"there is no record in {path}", done.stderr.decode())
        done = self.run_program("report")
        self.assertIn("report needs a file: benchmarks/reports has none", done.stderr.decode())
        self.assertEqual(self.run_json("report", path, "--json", code=2)["error"]["type"], "CommandError")

    def test_the_newest_report_is_the_default(self):
        old, new = (self.lines(f"benchmarks/reports/{name}.jsonl", record(test=f"t::{name}")) for name in ("b", "a"))
        os.utime(old, (1, 1))
        text, errors = self.report()
        self.assertIn("t::a", text)
        self.assertIn(os.path.join("benchmarks/reports", os.path.basename(new)), errors)

    def test_comparison_marks_what_changed(self):
        def run(name, *seconds):
            return self.lines(name, *(record(n, f"org/m{n}", duration=s, performance={"tokens_per_sec": 400 / s})
                                      for n, s in enumerate(seconds)))
        text, _ = self.report(run("new.jsonl", 10.6, 9.8, 10.3), "--compare", run("old.jsonl", 10, 10, 10, 10))
        self.assertIn("3 timed tests are in both reports; 0 only in the new one, 1 only in the old one.", text)
        self.assertIn("+6.0 % ⚠️ | 40.0 | 37.7 | -5.7 % ⚠️ |", self.row(text, "org/m0", "1"))
        self.assertIn("-2.0 % ✅ | 40.0 | 40.8 | +2.0 % ✅ |", self.row(text, "org/m1", "1"))
        self.assertIn("+3.0 % | 40.0 | 38.8 | -2.9 % |", self.row(text, "org/m2", "1"))

    def test_memory_tells_of_each_model(self):
        samples = [{"ts": START + t / 5, "ram_free_gb": 20 - t / 100, "swap_used_mb": 0, "memory_pressure": 1,
                    "gpu_device_util": 0 if t < 10 else 90} for t in range(150)]
        memory = self.lines("mem.jsonl", *samples[75:], *samples[:75], {"summary": {"samples": 150}}, b'{"ts": 17672')
        text, errors = self.report(self.lines("a.jsonl", record(0), record(1, "org/two")), "--memory", memory)
        self.assertIn(f"{memory}:152: the last line is cut off", errors)
        self.assertTrue(self.row(text, "org/one", "2.50", "1").endswith("| 19.50 |"))
        self.row(text, "tests/live.py::test\\_0", "org/one", "2.0 s")
        self.row(text, "tests/live.py::test\\_1", "org/two", "90 %", "90 %")
        text, _ = self.report(self.lines("a.jsonl", record(0)), "--memory",
                              self.lines("mem.jsonl", *({**one, "gpu_device_util": None} for one in samples)))
        self.assertIn("none of which includes a GPU", text)

    def test_a_page_shows_memory_over_time_with_the_tests(self):
        memory = self.lines("mem.jsonl", *({"ts": START + t, "elapsed_s": t, "ram_free_gb": 8} for t in range(60)))
        page = os.path.join(self.home, "page.html")
        self.report(self.lines("a.jsonl", record(0), record(1, "org/two")), "--memory", memory, "-o", page)
        with open(page, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("60 samples over 1.0 min", text)
        for test, model in (("test_0", "one"), ("test_1", "two")):
            self.assertIn(f"{test} · {model}", text)

    def test_the_memory_of_the_old_report_is_found(self):
        free = lambda gb: [{"ts": START + t, "ram_free_gb": gb} for t in range(10)]
        self.lines("old-memory.jsonl", *free(9))
        text, _ = self.report(self.lines("new.jsonl", record()), "--compare", self.lines("old.jsonl", record()), "--memory",
                              self.lines("mem.jsonl", *free(8)))
        self.assertTrue(self.row(text, "org/one", "1", "10.0 s").endswith("| 9.00 | 8.00 |"), text)
        self.row(text, "memory of the old report", os.path.join(self.home, "old-memory.jsonl").replace("_", "\\_"), "10 samples")

    def test_html_is_one_page_that_quotes_all_text(self):
        class Checker(html.parser.HTMLParser):
            tags, text = [], ""

            def handle_starttag(self, tag, attrs):
                self.tags.append(tag)

            def handle_data(self, data):
                self.text += data
        hostile = "<script>alert('&amp;')</script>|`x`\n## y"
        path = self.lines("a.jsonl", record(0, hostile, test=hostile))
        self.report(path, "-o", "out.html")
        with open(os.path.join(self.home, "out.html"), encoding="utf-8") as file:
            page = file.read()
        checker = Checker()
        checker.feed(page)
        self.assertNotIn("script", checker.tags)
        self.assertEqual([checker.tags.count(tag) for tag in ("svg", "h1", "h2")], [2, 1, len(SECTIONS)])
        self.assertIn("<script>alert('&amp;')</script>|`x` ## y", checker.text)
        self.assertEqual(sorted(os.listdir(self.home)), ["a.jsonl", "hf", "out.html"])

    def test_markdown_has_its_charts_beside_it(self):
        hostile = "a|b<i>\n## y"
        self.report(self.lines("a.jsonl", record(0, hostile)), "-o", "out.md")
        with open(os.path.join(self.home, "out.md"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(self.sections(text), SECTIONS)
        self.assertIn("| a\\|b\\<i\\> \\#\\# y |", text)
        for name in ("out-speed.svg", "out-time.svg"):
            self.assertIn(f"(<{name}>)", text)
            xml.etree.ElementTree.parse(os.path.join(self.home, name))
        done = self.run_program("report", "a.jsonl", "-o", "out.txt")
        self.assertIn("argument --output: must end in .md or .html, got 'out.txt'", done.stderr.decode())

    def test_many_records(self):
        """All records count, however many; the table of tests is limited."""
        one = json.dumps(record()).encode()
        path = self.lines("many.jsonl", *(one.replace(b"test_0", b"test_%d" % (n % 700)) + b"\n" for n in range(20000)))
        text, _ = self.report(path)
        self.assertIn("20000 records: 20000 passed", text)
        self.assertIn("The 500 slowest tests; 200 more are omitted.", text)
        self.assertLess(len(text), 200_000)


@unittest.skipUnless(FAKE_SERVER, "no fake server")
class BenchServe(ServerTest):
    def start(self, *options):
        return self.serve(*options, program=FAKE_SERVER, command=None)

    def load(self, server, *options, code=0):
        return self.run_json("bench", "serve", server if isinstance(server, str) else server.url, *options, "--json", code=code,
                             timeout=300)

    def test_closed_and_open_loop(self):
        server = self.start()
        for load, name in ((("--clients", "1,3"), "clients"), (("--rate", "200,400"), "rate")):
            report = os.path.join(self.home, name + ".jsonl")
            data = self.load(server, *load, "--requests", "12", "--max-tokens", "9", "--goodput", "e2el:600000", "--report",
                             report)["data"]
            self.assertEqual([data["model"], data["endpoint"]], ["tiny", "chat"])
            self.assertEqual([str(int(result[name])) for result in data["results"]], load[1].split(","))
            for result in data["results"]:
                self.assertEqual([result["requests"], result["failed"], result["failures"]], [12, 0, []])
                self.assertGreater(result["prompt_tokens"], 0)
                self.assertLessEqual(result["completion_tokens"], 12 * 9)
                self.assertAlmostEqual(result["goodput_per_s"], result["requests_per_s"])
                for figure in ("ttft_s", "itl_s", "tpot_s", "e2el_s"):
                    self.assertLessEqual(0, result[figure]["p50"])
                    self.assertLessEqual(result[figure]["p50"], result[figure]["p99"])
                self.assertLessEqual(result["ttft_s"]["p50"], result["e2el_s"]["p50"])
            done = self.run_program("report", "--validate", report)
            self.assertEqual(done.stdout.decode(), f"✓ {report}: 2 records\n")
            with open(report, encoding="utf-8") as file:
                records = [json.loads(line) for line in file]
            self.assertEqual(records[0]["metadata"]["load"], data["results"][0])
            self.assertEqual(records[1]["performance"]["tokens_per_sec"], data["results"][1]["tokens_per_s"])
            self.assertLessEqual(records[0]["timeline"]["request_sent_ms"], records[0]["timeline"]["first_token_ms"])

    def test_prompts_of_files(self):
        server = self.start()
        lines = self.write("p.jsonl", b'{"prompt": "!say four", "max_tokens": 2}\n\n'
                                      b'{"messages": [{"role": "user", "content": "!say four"}]}\n')
        text = self.write("p.txt", b"!say four\n")
        sharegpt = self.write("p.json", json.dumps([
            {"conversations": []}, {"conversations": [{"from": "human", "value": "!say four"}, {"from": "gpt", "value": "one two"}]},
        ]).encode())
        for path, tokens in ((lines, 2 + 5), (text, 5 + 5), (sharegpt, 4 + 4)):  # "four" and the end of the turn; 4: the minimum
            for endpoint in ("chat", "completions"):
                with self.subTest(path=path, endpoint=endpoint):
                    result = self.load(server, "--prompts", path, "--requests", "2", "--clients", "1", "--endpoint", endpoint)
                    self.assertEqual(result["data"]["results"][0]["completion_tokens"], tokens)
        for content, message in ((b"{\n", ":1: invalid JSON"), (b'{"prompt": "x"}\n{"text": 1}\n', ':2: needs "prompt" or "messages"'),
                                 (b"", ": the file has no prompts"), (b"[1]", ': no entry has "conversations"'),
                                 (b'{"prompt": "x", "max_tokens": 0}', ":1: max_tokens must be a number from 1 to")):
            path = self.write("bad", content)
            self.assertIn(path + message, self.load(server, "--prompts", path, code=1)["error"]["message"])

    def test_failures_are_counted_and_told(self):
        server = self.start()
        path = self.write("p.txt", b"!say yes\n!fail start\n!fail alone\n")
        report = os.path.join(self.home, "r.jsonl")
        result = self.load(server, "--prompts", path, "--requests", "6", "--clients", "2", "--warmup", "1", "--report",
                           report)["data"]["results"][0]
        self.assertEqual([result["requests"], result["failed"]], [6, 4])
        self.assertEqual(sum(one["count"] for one in result["failures"]), 4)
        out = self.run_program("bench", "serve", server.url, "--prompts", path, "--requests", "3", "--clients", "1", "--warmup", "1")
        self.assertIn("3 (2 failed)", out.stdout.decode())
        self.assertIn("clients=1: 1 failed: ", out.stdout.decode())

    def test_refusals(self):
        server = self.start()
        for words, message in (
                (("--rate", "0"), "argument --rate: must be numbers above 0 separated by commas, got '0'"),
                (("--rate", "1", "--clients", "1"), "--rate and --clients cannot be combined"),
                (("--lengths", "9"), "argument --lengths: must be sharegpt or PROMPT:ANSWER in tokens, such as 512:128, got '9'"),
                (("--goodput", "ttft=5"), "argument --goodput: must be limits in milliseconds"),
                (("--endpoint", "x"), "argument --endpoint: must be chat or completions, got 'x'")):
            done = self.run_program("bench", "serve", server.url, *words)
            self.assertEqual((done.returncode, done.stdout), (2, b""), words)
            self.assertIn(message, done.stderr.decode())
        document = self.load("http://127.0.0.1:9", code=1)
        self.assertEqual(document["command"], "bench serve")
        self.assertIn("http://127.0.0.1:9/v1/models", document["error"]["message"])
        message = self.load(server, "--model", "nowhere/nothing", code=1)["error"]["message"]
        self.assertIn("no request of the warm-up succeeded: status 404", message)

    def test_help_is_of_both_words(self):
        done = self.run_program("bench", "serve", "--help")
        self.assertIn("usage: mlxk bench serve [options] server", done.stdout.decode())
        self.assertEqual(self.run_program("help", "bench", "serve").stdout, done.stdout)


@needs_engine
@unittest.skipUnless(os.path.isfile(os.path.join(MODEL, "config.json")), "MLXK_TEST_MODEL is not set")
class Records(ReportTest):
    """Fields that MLX Knife never filled in."""

    def records(self, *args):
        report = os.path.join(self.home, "r.jsonl")
        done = self.run_program(*args, "--report", report, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.report("--validate", report)
        with open(report, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def check_filled(self, one, *performance):
        for name in performance:
            self.assertGreater(one["performance"][name], 0, name)
        self.assertEqual(one["model"]["quantization"], "4bit")
        for name in ("platform", "platform_version", "ram_total_gb", "hardware_profile"):
            self.assertTrue(one["system"][name], name)
        self.assertGreater(one["system"]["hardware_profile"]["chip_cores_performance"], 0)

    def test_of_bench(self):
        first, second = self.records("bench", MODEL, "--prompt", "8,16", "--generate", "4", "--runs", "1")
        for one in (first, second):
            self.check_filled(one, "tokens_per_sec", "time_to_first_token_s", "model_load_time_s", "peak_ram_gb", "stable_ram_gb")
            times = [one["timeline"][name] for name in ("request_sent_ms", "first_token_ms", "stream_complete_ms")]
            self.assertEqual(times, sorted(times))
        self.assertLessEqual(first["timeline"]["model_load_complete_ms"], first["timeline"]["request_sent_ms"])
        self.assertEqual(second["test"], "bench::text[prompt=16,generate=4,batch=1]")
        self.assertEqual(second["performance"]["prompt_tokens"], 16)

    def test_of_a_server_of_its_own(self):
        one, = self.records("bench", "serve", MODEL, "--clients", "2", "--requests", "3", "--lengths", "8:4", "--warmup", "1")
        self.check_filled(one, "tokens_per_sec", "time_to_first_token_s", "model_load_time_s", "peak_ram_gb", "completion_tokens")
        self.assertLessEqual(one["timeline"]["server_ready_ms"], one["timeline"]["request_sent_ms"])


if __name__ == "__main__":
    unittest.main()

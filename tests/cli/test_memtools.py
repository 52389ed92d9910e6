"""`mlxk memmon` and `mlxk memplot`."""
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree

from chromium import CHROMIUM, page_after, report_of
from program import PROGRAM, ProgramTest
from terminal import Terminal

# The fields that readers of MLX Knife's files expect in every sample and in the summary.
SAMPLE = {"ts", "elapsed_s", "ram_free_gb", "ram_used_gb", "ram_percent", "swap_used_mb", "swap_percent", "memory_pressure", "vm_pressure",
          "load_1", "load_5", "load_15", "cpu_user", "cpu_sys", "cpu_idle", "gpu_active", "gpu_device_util", "gpu_renderer_util", "gpu_tiler_util"}
SUMMARY = {"duration_s", "samples", "interval_ms", "ram_free_min_gb", "ram_free_max_gb", "ram_free_avg_gb", "swap_max_mb", "swap_avg_mb",
           "load_max", "load_avg", "cpu_user_max", "cpu_sys_max", "gpu_device_max", "gpu_device_avg", "gpu_renderer_max",
           "gpu_renderer_avg", "exit_code", "command", "timestamp"}


# A stub of the NVML functions that are called.
NVML = b"""
static long devices[] = {1, 2};
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned* count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) { *device = &devices[index]; return 0; }
int nvmlDeviceGetUtilizationRates(void* device, unsigned* rates) { rates[0] = 30 * *(long*)device; rates[1] = 6 + *(long*)device; return 0; }
int nvmlDeviceGetMemoryInfo(void* device, unsigned long long* memory) {
  memory[0] = 80ull << 30;
  memory[2] = (unsigned long long)*(long*)device << 30;
  memory[1] = memory[0] - memory[2];
  return 0;
}
"""


class Memmon(ProgramTest):
    def lines(self, name="mem.jsonl"):
        with open(os.path.join(self.home, name), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def memmon(self, *args, **kwargs):
        return self.run_program("memmon", "-o", "mem.jsonl", *args, **kwargs)

    def test_writes_every_field(self):
        done = self.memmon("-i", "20", "--", "sleep", "0.5")
        self.assertEqual(done.returncode, 0, done.stderr)
        *samples, last = self.lines()
        self.assertGreaterEqual(len(samples), 3)
        for sample in samples:
            self.assertLessEqual(SAMPLE, set(sample))
            self.assertIs(type(sample["gpu_active"]), bool)
            self.assertGreater(sample["ram_free_gb"], 0)
            self.assertIn(sample["memory_pressure"], (None, 1, 2, 4))
            self.assertIn(sample["vm_pressure"], (None, 0, 1, 4))
        elapsed = [sample["elapsed_s"] for sample in samples]
        self.assertEqual(elapsed, sorted(elapsed))
        self.assertLess(abs(samples[0]["ts"] - time.time()), 600)
        busy = [sample["cpu_user"] + sample["cpu_sys"] + sample["cpu_idle"] for sample in samples[-1:]]
        self.assertAlmostEqual(busy[0], 100, delta=0.3)
        summary = last["summary"]
        self.assertLessEqual(SUMMARY, set(summary))
        self.assertEqual(summary["samples"], len(samples))
        self.assertEqual((summary["interval_ms"], summary["exit_code"], summary["command"]), (20, 0, "sleep 0.5"))
        self.assertGreaterEqual(summary["duration_s"], 0.5)
        self.assertLessEqual(len(samples), summary["duration_s"] / 0.02 + 3)  # not faster than requested
        self.assertIn("memmon itself", done.stderr.decode())
        self.assertEqual(done.stdout, b"")

    def test_passes_output_and_exit_code_on(self):
        done = self.memmon("--", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual((done.returncode, done.stdout), (7, b"out\n"))
        self.assertIn(b"err\n", done.stderr)
        self.assertEqual(self.memmon("--", "sh", "-c", "kill -9 $$").returncode, 137)
        self.assertEqual(self.lines()[-1]["summary"]["exit_code"], 137)
        self.assertEqual(self.lines()[-1]["summary"]["command"], "sh -c 'kill -9 $$'")

    def test_a_command_that_cannot_be_started(self):
        done = self.memmon("--", "./nosuch")
        self.assertEqual(done.returncode, 127)
        self.assertIn("cannot start './nosuch': No such file or directory", done.stderr.decode())
        self.assertEqual(self.memmon("--", self.write("plain.txt", b"x")).returncode, 126)

    def test_needs_a_command_or_a_duration(self):
        done = self.run_program("memmon")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"usage: mlxk memmon", done.stdout)
        for words, message in ((("-i", "1"), "argument --interval: must be between 10 and"), (("-d", "0"), "argument --duration"),
                               (("-o", "no/such/folder/f", "-d", "1"), "cannot write no/such/folder/f")):
            done = self.run_program("memmon", *words)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(message, done.stderr.decode())

    def test_the_duration_ends_the_sampling_but_no_command(self):
        done = self.run_program("memmon", "-d", "0.3")
        self.assertEqual(done.returncode, 0)
        self.assertIn("memory free", done.stderr.decode())
        done = self.memmon("-d", "0.1", "--", "sh", "-c", "sleep 1; exit 3")
        self.assertEqual(done.returncode, 3)
        self.assertLess(self.lines()[-1]["summary"]["duration_s"], 60)

    def start(self, *command, **kwargs):
        process = subprocess.Popen([PROGRAM, "memmon", "-o", "mem.jsonl", "-i", "50", *command], cwd=self.home, env=self.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_signals_reach_the_command(self):
        code = ("import signal, sys, time\nsignal.signal(signal.{0}, lambda *_: sys.exit(5))\nprint('ready', flush=True)\n"
                "while True: time.sleep(1)")
        for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
            process = self.start("--", sys.executable, "-c", code.format(name))
            self.assertEqual(process.stdout.readline(), b"ready\n")
            process.send_signal(getattr(signal, name))
            self.assertEqual(process.wait(60), 5, name)

    def test_interrupted_without_a_command(self):
        process = self.start("-d", "600")
        path, end = os.path.join(self.home, "mem.jsonl"), time.monotonic() + 60
        while not (os.path.exists(path) and os.path.getsize(path)) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        self.assertIn("summary", self.lines()[-1])

    @unittest.skipUnless(os.path.exists("/proc/self/smaps_rollup"), "no smaps_rollup")
    def test_measures_the_commands_descendants(self):
        # The child exits once a sample includes its 80 MB: PSS is measured less often than the other fields.
        hold = self.write("hold.py", b"""import json, sys, time
data, end = b"x" * (80 << 20), time.monotonic() + 60
while time.monotonic() < end:
    lines = open(sys.argv[1], encoding="utf-8").read().split("\\n")[:-1]
    if any(json.loads(line).get("process_pss_gb", 0) > 80 / 1024 for line in lines): break
    time.sleep(0.05)
""")
        memory = os.path.join(self.home, "mem.jsonl")
        self.assertEqual(self.memmon("-i", "100", "--", "sh", "-c", f"{sys.executable} {hold} {memory}; true").returncode, 0)
        summary = self.lines()[-1]["summary"]
        self.assertGreater(summary["process_rss_max_gb"], 80 / 1024)
        self.assertGreater(summary["process_pss_max_gb"], 80 / 1024)
        self.assertGreaterEqual(max(line.get("process_count", 0) for line in self.lines()), 2)

    def test_is_also_a_link(self):
        link = os.path.join(self.home, "memmon")
        os.symlink(PROGRAM, link)
        self.assertEqual(self.run_program("-i", "50", "--", "sh", "-c", "exit 4", program=link).returncode, 4)
        self.assertIn(b"usage: mlxk memmon", self.run_program("--help", program=link).stdout)
        self.assertTrue(self.run_program("--version", program=link).stdout.startswith(b"memmon "))

    def test_shows_a_live_line_on_a_terminal(self):
        shown = Terminal([PROGRAM, "memmon", "-d", "1.5"], self.env, self.home)
        self.assertIn("GB free", shown.read_until("memmon itself"))
        self.assertEqual(shown.wait(), 0)

    def test_a_key_ctrl_c_reaches_the_command_once(self):
        code = ("import signal, sys, time\ncount = [0]\ndef got(*_): count[0] += 1\nsignal.signal(signal.SIGINT, got)\n"
                "print('ready', flush=True)\nwhile not count[0]: time.sleep(0.01)\ntime.sleep(0.5)\nsys.exit(40 + count[0])")
        shown = Terminal([PROGRAM, "memmon", "--", sys.executable, "-c", code], self.env, self.home)
        shown.read_until("ready")
        shown.type("\x03")
        shown.read_until("memmon itself")
        self.assertEqual(shown.wait(), 41)

    def test_costs_little(self):
        """The manual's figure is measured on an idle machine; this only catches an increase by a factor of a hundred."""
        self.memmon("-d", "2")
        self.assertLess(self.lines()[-1]["summary"]["monitor_cpu_percent"], 10)


    @unittest.skipUnless(shutil.which("cc") and sys.platform == "linux", "no C compiler")
    def test_reads_all_gpus(self):
        """Two GPUs of a stub of the driver's library."""
        source = self.write("nvml.c", NVML)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", os.path.join(self.home, "libnvidia-ml.so.1"), source], check=True)
        done = self.memmon("-d", "0.2", env={"LD_LIBRARY_PATH": self.home})
        self.assertEqual(done.returncode, 0, done.stderr)
        sample, summary = self.lines()[0], self.lines()[-1]["summary"]
        self.assertEqual(sample["gpus"], [{"util": 30, "memory_util": 7, "memory_used_gb": 1, "memory_total_gb": 80},
                                          {"util": 60, "memory_util": 8, "memory_used_gb": 2, "memory_total_gb": 80}])
        self.assertEqual((sample["gpu_active"], sample["gpu_device_util"], sample["gpu_memory_used_gb"]), (True, 60, 3))
        self.assertEqual((summary["gpu_device_max"], summary["gpu_memory_max_gb"]), (60, 3))
        self.assertIn(b"  gpu           60 % at most, 60 % on average, 3 GB at most\n", done.stderr)


class Memplot(ProgramTest):
    def memory(self, count=200, name="mem.jsonl", tail=""):
        lines = [json.dumps({"ts": 1700000000 + 0.2 * i, "elapsed_s": 0.2 * i, "ram_free_gb": 8 - (i % 50) / 10, "ram_total_gb": 16,
                             "memory_pressure": 2 if 50 <= i < 70 else 1, "cpu_user": i % 100, "load_1": 1.5}) for i in range(count)]
        return self.write(name, ("\n".join(lines) + "\n" + tail).encode())

    def bench(self):
        record = {"schema_version": "0.2.2", "timestamp": "2023-11-14T22:13:40Z", "mlx_knife_version": "2.0.4", "outcome": "passed",
                  "test": "tests/live/test_a.py::test_answer", "duration": 10, "model": {"id": "org/</script><b>Model"}}
        return self.write("bench.jsonl", (json.dumps(record) + "\n{\"schema_ver").encode())

    def plot(self, *args, code=0):
        done = self.run_program("memplot", *args)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done

    def test_svg_has_rows_pressure_and_tests(self):
        done = self.plot(self.memory(), self.bench(), "-o", "t.svg", "--title", "Load & <go>")
        self.assertEqual(done.stdout.decode(), "t.svg: 200 samples, 1 test\n")
        self.assertIn("bench.jsonl:2: the last line is cut off", done.stderr.decode())
        text = "".join(xml.etree.ElementTree.parse(os.path.join(self.home, "t.svg")).getroot().itertext())
        for part in ("Load & <go>", "Memory", "CPU", "WARN pressure", "passed test with a model", "test_answer · "):
            self.assertIn(part, text)
        self.assertNotIn("GPU", text)

    def test_png(self):
        self.plot(self.memory(), "--format", "png")
        with open(os.path.join(self.home, "memory_timeline.png"), "rb") as file:
            head = file.read(24)
        self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(struct.unpack(">II", head[16:])[0], 2000)

    def test_html_needs_nothing_else(self):
        self.plot(self.memory(), self.bench())
        with open(os.path.join(self.home, "memory_timeline.html"), encoding="utf-8") as file:
            page = file.read()
        for part in ('src="', "<link", "@import", "<b>Model"):
            self.assertNotIn(part, page)
        self.assertIn("Leon Sorokin", page)  # uPlot's licence is included

    @unittest.skipUnless(CHROMIUM, "no Chromium")
    def test_html_in_a_browser(self):
        self.plot(self.memory(20_000), self.bench())
        script = """
          const t = window.timeline, over = document.querySelector('.u-over'), box = over.getBoundingClientRect();
          const at = {clientX: box.left + box.width / 2, clientY: box.top + 50, bubbles: true, cancelable: true};
          const out = {ready: document.body.dataset.ready, charts: document.querySelectorAll('.uplot').length, all: [...t.range()],
            points: t.shown()[0].length, least: Math.min(...t.shown()[1]), ground: getComputedStyle(document.body).backgroundColor};
          for (let i = 0; i < 20; ++i) over.dispatchEvent(new WheelEvent('wheel', {deltaY: -100, ...at}));
          t.draw();
          out.zoomed = [...t.range()];
          document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
          out.panned = [...t.range()];
          over.dispatchEvent(new MouseEvent('dblclick', at));
          out.reset = [...t.range()];
          t.draw();
          over.dispatchEvent(new MouseEvent('mouseenter', at));
          over.dispatchEvent(new MouseEvent('mousemove', at));
          const end = document.querySelector('.window b:last-child'), right = end.getBoundingClientRect().right;
          requestAnimationFrame(() => {
            out.hover = document.querySelector('.hover').innerText;
            end.dispatchEvent(new PointerEvent('pointerdown', {clientX: right, bubbles: true}));
            dispatchEvent(new PointerEvent('pointermove', {clientX: right - 200}));
            dispatchEvent(new PointerEvent('pointerup', {}));
            out.slid = [...t.range()];
            document.body.dataset.report = JSON.stringify(out);
          });"""
        for dark, ground in ((False, "rgb(255, 255, 255)"), (True, "rgb(23, 25, 35)")):
            report = json.loads(report_of(page_after(os.path.join(self.home, "memory_timeline.html"), script, self.home + "/profile", dark)))
            self.assertEqual((report["ready"], report["charts"], report["ground"]), ("1", 2, ground))
            self.assertLess(report["points"], 5000)  # decimated
            self.assertAlmostEqual(report["least"], 3.1)  # but the extremes are kept
            length = report["all"][1] - report["all"][0]
            self.assertLess(report["zoomed"][1] - report["zoomed"][0], length / 10)
            self.assertGreater(report["panned"][0], report["zoomed"][0])
            self.assertEqual(report["reset"], report["all"])
            self.assertIn("Memory: free", report["hover"])
            self.assertIn("CPU: user", report["hover"])
            self.assertLess(report["slid"][1], report["all"][1])

    def test_bad_input_is_named(self):
        for content, message in ((b"", "empty.jsonl contains no samples of memmon\nThe file is empty."),
                                 (b'{"a": 1}\n', "empty.jsonl:1: not a sample of memmon"), (b"\xff\xfe\n", "empty.jsonl:1: invalid JSON at byte")):
            done = self.run_program("memplot", self.write("empty.jsonl", content))
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(message, done.stderr.decode())
        self.assertIn("cannot read nowhere.jsonl", self.run_program("memplot", "nowhere.jsonl").stderr.decode())
        self.assertIn("must be html, svg or png, got 'pdf'", self.run_program("memplot", self.memory(), "--format", "pdf").stderr.decode())
        self.assertIn("must end in .html, .svg or .png, got '.gif'", self.run_program("memplot", self.memory(), "-o", "t.gif").stderr.decode())

    def test_a_killed_memmon_costs_its_last_line_alone(self):
        memory = self.memory(50, tail='{"ts": 17000000')
        done = self.plot(memory, "-o", "t.svg")
        self.assertIn("t.svg: 50 samples", done.stdout.decode())
        self.assertIn("mem.jsonl:51: the last line is cut off", done.stderr.decode())

    def test_draws_what_memmon_wrote(self):
        self.assertEqual(self.run_program("memmon", "-i", "20", "-o", "m.jsonl", "--", "sleep", "0.3").returncode, 0)
        self.plot("m.jsonl", "-o", "t.svg")
        with open(os.path.join(self.home, "t.svg"), encoding="utf-8") as file:
            self.assertIn("Memory timeline of sleep 0.3", file.read())


if __name__ == "__main__":
    unittest.main()

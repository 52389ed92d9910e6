"""`mlxk run --audio`: refusals, and transcripts of a trained Whisper (whisper-base-mlx in MLXK_TEST_MODELS)."""
import json
import os
import pty
import select
import struct
import subprocess
import time
import unittest

import tiny_models
from program import PROGRAM, ProgramTest, needs_engine

MODEL = os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "whisper-base-mlx")
CLIPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "speech")
KENNEDY = os.path.join(CLIPS, "jfk.wav")
UNIVERSE = os.path.join(CLIPS, "universe.wav")
SAID = "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country."
needs_model = unittest.skipUnless(os.path.isfile(os.path.join(MODEL, "config.json")), "no trained Whisper")


def wave(samples=b"", size=None, tag=1, bits=16, rate=16000):
    data = struct.pack("<4sIHHIIHH4sI", b"fmt ", 16, tag, 1, rate, rate * bits // 8, bits // 8, bits, b"data",
                       len(samples) if size is None else size) + samples
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WAVE" + data


class Refusals(ProgramTest):
    def fake_model(self, model_type="whisper", name="model"):
        self.write(f"{name}/config.json", json.dumps({"model_type": model_type}).encode())
        header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        self.write(f"{name}/model.safetensors", len(header).to_bytes(8, "little") + header + b"\0" * 4)
        return f"./{name}"

    def refused(self, *args, code=1, **kwargs):
        done = self.run_program("run", *args, **kwargs)
        self.assertEqual((done.returncode, done.stdout), (code, b""), done.stderr)
        return done.stderr.decode()

    def test_models_that_do_not_accept_audio_or_are_not_built_in(self):
        clip = self.write("a.wav", wave(b"\0" * 3200))
        self.assertIn("does not support audio inputs", self.refused(self.fake_model("llama", "text"), "--audio", clip))
        self.assertIn("Speech model type 'vibevoice_live' of",
                      self.refused(self.fake_model("vibevoice_live", "vibe"), "--audio", clip))
        self.assertIn("tekken.json is published in mistralai/Voxtral",
                      self.refused(self.fake_model("voxtral", "vox"), "--audio", clip))
        self.assertIn("Use `--audio FILE` for transcription", self.refused(self.fake_model(), "hello"))

    def test_translation_by_a_model_that_cannot(self):
        clip = self.write("a.wav", wave(b"\0" * 3200))
        model = self.fake_model(name="whisper-large-v3-turbo")
        self.assertIn("does not support speech translation", self.refused(model, "--audio", clip, "--translate"))

    def test_flags_that_make_no_sense(self):
        clip = self.write("a.wav", wave(b"\0" * 3200))
        for args, words in ((("--format", "docx"), "one of text, json"),
                            (("--language", "klingon"), "not a language that Whisper knows"),
                            (("--clip-timestamps", "1,x"), "not seconds: '1,x'"),
                            (("--audio", "-", "-"), "stdin can be read once"),
                            (("--audio", clip, "--format", "srt"), "need --output DIR"),
                            (("--audio", clip, "--output", "out"), "two transcripts would be called a"),
                            (("--image", clip), "cannot be given together")):
            self.assertIn(words, self.refused("m", "--audio", clip, *args, code=2 if "kling" not in args[1] and args[0] != "--image" else 1))

    def test_clips_of_voices_alone(self):
        clip = self.write("a.wav", wave(b"\0" * 3200))
        self.assertIn("--vad and --clip-timestamps cannot be given together",
                      self.refused("m", "--audio", clip, "--vad", "--clip-timestamps", "0,1", code=2))

    def test_live_needs_raw_samples_from_stdin(self):
        clip = self.write("a.wav", wave(b"\0" * 3200))
        for args, words in ((("--audio", clip, "--live"), "reads stdin: --audio -"),
                            (("--audio", "-", clip, "--live"), "reads stdin: --audio -"),
                            (("--audio", "-", "--live", "--json"), "--format json prints a line for each text"),
                            (("--audio", "-", "--live", "--vad"), "not with --vad"),
                            (("--audio", "-", "--live", "--output", "out"), "not with --output"),
                            (("--audio", "-", "--live", "--format", "verbose_json"), "not with --format verbose_json"),
                            (("--audio", "-", "--live", "--sample-rate", "10"), "--sample-rate"),
                            (("--audio", "-", "--sample-rate", "8000"), "only with --live")):
            done = self.run_program("run", "m", *args)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(words, (done.stderr + done.stdout).decode())

    @needs_engine
    def test_recordings_that_are_none(self):
        model = self.fake_model()
        for name, content, words in (("empty.wav", b"", "the file is empty"),
                                     ("text.mp3", b"hello " * 1000, "unknown audio format"),
                                     ("silent.wav", wave(), "error"),
                                     ("format.wav", wave(b"\0" * 3200)[:20], "it ends before its format chunk"),
                                     ("sound.wav", wave(b"\0" * 3200)[:40], "it contains no audio")):
            message = self.refused(model, "--audio", self.write(name, content))
            self.assertTrue(message.startswith("Error: "), message)
            if words != "error":
                self.assertIn(words, message)
                self.assertIn(name, message)


class TinyRecogniser(ProgramTest):
    """A tiny model with random weights: what it says means nothing, so only form and times are checked."""
    kind, case = "", ""

    def setUp(self):
        super().setUp()
        self.model = f"./{self.case}"
        tiny_models.write_case(os.path.join(self.home, self.case), self.kind, self.case)

    def run_on(self, *args, code=0):
        done = self.run_program("run", self.model, "--audio", UNIVERSE, *args)
        self.assertEqual(done.returncode, code, done.stderr)
        return (done.stderr if code else done.stdout).decode()

    def check_formats(self, *args):
        """Returns what verbose_json has, after the other formats said the same."""
        verbose = json.loads(self.run_on(*args, "--format", "verbose_json"))
        self.assertAlmostEqual(verbose["duration"], 4.65, delta=0.1)
        self.assertEqual("".join(s["text"] for s in verbose["segments"]).strip(), verbose["text"])
        self.assertEqual(self.run_on(*args), verbose["text"] + "\n")
        self.assertEqual(json.loads(self.run_on(*args, "--format", "json")), {"text": verbose["text"]})
        for name, begin in (("srt", r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n"), ("vtt", r"WEBVTT\n\n00:0"), ("tsv", r"start\tend\ttext\n\d"),
                            ("lrc", r"\[00:0")):
            self.assertRegex(self.run_on(*args, "--format", name), r"\A" + begin)
        return verbose

    def check_word_times(self, step):
        times = [word["start"] for word in self.check_formats("--word-timestamps")["words"]]
        self.assertEqual(times, sorted(times))
        self.assertTrue(all(abs(t / step - round(t / step)) < 0.02 for t in times), times)

    def check_refused(self, *options):
        for args in options:
            self.assertIn(f"argument {args[0]}: not for", self.run_on(*args, code=2))

    def check_speech(self, **speech):
        shown = json.loads(self.run_program("show", self.model, "--json").stdout)["data"]
        self.assertEqual(shown["speech"], {"languages": None, "segment_times": True, "word_times": True, "translation": False,
                                           "diarization": False, **speech})
        self.assertIn(self.kind.removesuffix("_models").replace("frame", "parakeet").encode(),
                      self.run_program("list", "--architectures").stdout)


@needs_engine
class Parakeet(TinyRecogniser):
    """A tiny model that decodes frame by frame."""
    kind, case = "frame_models", "tdt"

    def test_formats_and_word_times(self):
        self.check_word_times(0.08)
        self.run_on("--vad")
        self.run_on("--clip-timestamps", "1,2")

    def test_what_it_cannot_do_is_refused_by_name(self):
        self.check_refused(("--language", "en"), ("--hotwords", "a"), ("--temperature", "0.5"), ("--beam-size", "2"),
                           ("--best-of", "2"), ("--hallucination-silence-threshold", "2"))
        for args in (("--translate",), ("--to-language", "de")):
            self.assertIn("does not support speech translation", self.run_on(*args, code=1))

    def test_it_is_known_without_a_model_type(self):
        shown = json.loads(self.run_program("show", self.model, "--json").stdout)["data"]
        self.assertIn("audio", json.dumps(shown))

    def test_show_tells_what_it_can_do(self):
        self.check_speech()
        with open(os.path.join(self.home, self.model, "README.md"), "w") as file:
            file.write("---\nlanguage:\n- en\n- German\n- multilingual\n---\n")
        self.check_speech(languages=["en", "de"])
        text = self.run_program("show", self.model).stdout.decode()
        self.assertIn("\nSpeech: en de, segment and word times, no translation, no speakers\n", text)


@needs_engine
class Moonshine(TinyRecogniser):
    """A tiny encoder and decoder over raw samples."""
    kind, case = "moonshine_models", "moonshine"

    def test_formats(self):
        verbose = self.check_formats()
        self.assertEqual([(s["start"], s["end"]) for s in verbose["segments"]], [(0, verbose["duration"])])
        self.run_on("--vad")
        self.run_on("--clip-timestamps", "1,2")
        self.run_on("--beam-size", "2")
        self.assertEqual(self.run_on("--temperature", "0.8", "--seed", "1"), self.run_on("--temperature", "0.8", "--seed", "1"))

    def test_what_it_cannot_do_is_refused_by_name(self):
        self.check_refused(("--language", "en"), ("--prompt", "a"), ("--hotwords", "a"), ("--word-timestamps",), ("--no-itn",),
                           ("--hallucination-silence-threshold", "2"))
        self.assertIn("does not support speech translation", self.run_on("--translate", code=1))

    def test_show_tells_what_it_can_do(self):
        self.check_speech(word_times=False)


@needs_engine
class SenseVoice(TinyRecogniser):
    """A tiny model that is told the language."""
    kind, case = "sensevoice_models", "sensevoice"

    def test_formats_and_word_times(self):
        self.check_word_times(0.06)
        self.assertNotEqual(self.run_on("--language", "en"), self.run_on("--language", "zh", "--no-itn"))

    def test_what_it_cannot_do_is_refused_by_name(self):
        self.check_refused(("--language", "de"), ("--hotwords", "a"), ("--temperature", "0.5"), ("--beam-size", "2"))
        self.assertIn("does not support speech translation", self.run_on("--translate", code=1))

    def test_show_tells_what_it_can_do(self):
        self.check_speech(languages=["zh", "yue", "en", "ja", "ko"])

    def test_a_missing_file_is_named(self):
        os.remove(os.path.join(self.home, self.model, "am.mvn"))
        self.assertIn("am.mvn is published in FunAudioLLM/SenseVoiceSmall", self.run_on(code=1))


@needs_engine
class Canary(TinyRecogniser):
    """A tiny encoder and decoder that is told the languages of sound and text."""
    kind, case = "canary_models", "nemo"

    def run_on(self, *args, **kwargs):
        return super().run_on("--seed", "1", *args, **kwargs)

    def test_formats(self):
        verbose = self.check_formats()
        self.assertEqual((verbose["task"], verbose["language"]), ("transcribe", "english"))
        self.run_on("--vad")
        self.run_on("--clip-timestamps", "1,2")
        self.run_on("--beam-size", "2")

    def test_translation(self):
        hear = lambda *args: json.loads(self.run_on("--format", "verbose_json", *args))
        english, german = hear(), hear("--language", "de")
        into_german, into_english = hear("--to-language", "German"), hear("--language", "de", "--translate")
        self.assertEqual((into_german["task"], into_german["language"]), ("translate", "english"))
        self.assertEqual((into_english["task"], into_english["language"]), ("translate", "german"))
        self.assertNotEqual(into_german["text"], english["text"])
        self.assertNotEqual(into_english["text"], german["text"])
        self.assertNotEqual(hear("--no-itn")["text"], english["text"])

    def test_what_it_cannot_do_is_refused_by_name(self):
        self.check_refused(("--language", "fr"), ("--to-language", "ja"), ("--prompt", "a"), ("--hotwords", "a"), ("--word-timestamps",),
                           ("--carry-initial-prompt",), ("--hallucination-silence-threshold", "2"))
        self.assertIn("--to-language 'klingon' is not a language", self.run_on("--to-language", "klingon", code=1))

    def test_show_tells_what_it_can_do(self):
        self.check_speech(languages=["en", "de"], word_times=False, translation=True)

    def test_a_missing_tokenizer_is_named(self):
        os.remove(os.path.join(self.home, self.model, "de.model"))
        self.assertIn("de.model is published in nvidia/canary-1b-v2", self.run_on(code=1))


@needs_model
@needs_engine
class Transcripts(ProgramTest):
    def hear(self, *args, code=0, **kwargs):
        done = self.run_program("run", MODEL, "--audio", *args, **kwargs)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout.decode()

    def test_a_file_and_a_pipe_say_the_same(self):
        self.assertEqual(self.hear(KENNEDY), SAID + "\n")
        with open(KENNEDY, "rb") as file:
            self.assertEqual(self.hear("-", stdin=file.read()), SAID + "\n")

    def test_formats(self):
        self.assertEqual(json.loads(self.hear(KENNEDY, "--format", "json")), {"text": SAID})
        verbose = json.loads(self.hear(KENNEDY, "--format", "verbose_json", "--word-timestamps"))
        self.assertEqual((verbose["task"], verbose["language"], verbose["duration"]), ("transcribe", "english", 11.0))
        self.assertEqual(" ".join(word["word"] for word in verbose["words"]), SAID)
        self.assertEqual("".join(segment["text"] for segment in verbose["segments"]).strip(), SAID)
        self.assertRegex(self.hear(KENNEDY, "--format", "srt"), r"^1\n00:00:00,000 --> 00:00:\d\d,\d{3}\nAnd so my")
        self.assertRegex(self.hear(KENNEDY, "--format", "vtt"), r"^WEBVTT\n\n00:00\.000 --> 00:\d\d\.\d{3}\nAnd so my")
        self.assertRegex(self.hear(KENNEDY, "--format", "tsv"), r"^start\tend\ttext\n0\t\d+\tAnd so my")
        self.assertRegex(self.hear(KENNEDY, "--format", "lrc"), r"^\[00:00\.00\]And so my")

    def test_silence_is_no_text(self):
        clip = self.write("silence.wav", wave(b"\0" * (8000 * 2 * 40), rate=8000))
        self.assertEqual(self.hear(clip), "\n")
        self.assertEqual(self.hear(clip, "--vad"), "\n")
        self.assertEqual(self.hear(KENNEDY, "--vad"), SAID + "\n")

    def test_segments_table(self):
        text = self.hear(UNIVERSE, env={"MLXK2_AUDIO_SEGMENTS": "1"})
        self.assertRegex(text, r"\n\n<details>\n<summary>Audio Segments \(\d+ segments\)</summary>\n\n\| Start \| End \| Text \|\n")
        self.assertRegex(text, r"\n\| 0\.00s \| \d\.\d\ds \| A man said to the universe")

    def test_several_files_and_one_that_fails(self):
        broken = self.write("broken.wav", b"RIFF nothing")
        done = self.run_program("run", MODEL, "--audio", UNIVERSE, broken, KENNEDY)
        self.assertEqual(done.returncode, 1)
        self.assertIn("broken.wav", done.stderr.decode())
        lines = done.stdout.decode().splitlines()
        self.assertEqual(len(lines), 2)
        self.assertEqual(lines[1], SAID)

    def test_output_folder(self):
        self.hear(UNIVERSE, KENNEDY, "--output", "out/deep", "--format", "srt")
        self.assertEqual(sorted(os.listdir(os.path.join(self.home, "out/deep"))), ["jfk.srt", "universe.srt"])
        with open(os.path.join(self.home, "out/deep/jfk.srt"), encoding="utf-8") as file:
            self.assertTrue(file.read().startswith("1\n00:00:00,000 --> "))

    def test_output_that_is_a_file(self):
        taken = self.write("taken", b"")
        done = self.run_program("run", MODEL, "--audio", KENNEDY, "--output", taken)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn("cannot make the folder", done.stderr.decode())

    def test_json_envelope(self):
        document = self.run_json("run", MODEL, "--audio", KENNEDY, "--json")
        self.assertEqual(document["data"]["response"], SAID)
        (file,) = document["data"]["files"]
        self.assertEqual((file["file"], file["text"], file["language"]), (KENNEDY, SAID, "english"))

    def test_a_prompt_steers_the_spelling_and_none_is_made_up(self):
        cavern = os.path.join(CLIPS, "cavern.wav")
        plain, told = self.hear(cavern), self.hear(cavern, "--prompt", "Kaliko, Ruggedo.")
        self.assertIn("Calico", plain)
        self.assertIn("Kaliko", told)
        self.assertNotIn("Transcribe this audio", plain)

    def test_clips(self):
        text = self.hear(KENNEDY, "--clip-timestamps", "0,4")
        self.assertIn("fellow Americans", text)
        self.assertNotIn("ask what you can do", text)

    def test_what_is_cut_off_says_so(self):
        with open(KENNEDY, "rb") as file:
            cut = self.write("cut.wav", file.read()[:100000])
        done = self.run_program("run", MODEL, "--audio", cut)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr.decode(), r"^Error: \[.*cut\.wav\] cut off after 3\.\d\d s of 11\.00 s\n")

    def test_segments_on_a_terminal_as_they_come(self):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(PROGRAM, [PROGRAM, "run", MODEL, "--audio", KENNEDY], self.env)
        text, end = b"", time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    text += os.read(terminal, 65536)
                except OSError:
                    break
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        lines = text.decode().replace("\x1b[K", "").replace("\r", "\n").split("\n")
        self.assertEqual(" ".join(line for line in lines if line.startswith(("And so", "ask what"))), SAID)

    def test_live_turns_from_a_pipe(self):
        with open(KENNEDY, "rb") as file:
            sound = file.read()[44:] + b"\0" * 64000
        done = self.run_program("run", MODEL, "--audio", "-", "--live", "--format", "json", stdin=sound)
        self.assertEqual(done.returncode, 0, done.stderr)
        texts = [json.loads(line) for line in done.stdout.splitlines()]
        finals = [one for one in texts if one["type"] == "final"]
        said = " ".join(one["text"] for one in finals).lower()
        for words in ("fellow americans", "what your country", "do for your country"):
            self.assertIn(words, said)
        for before, after in zip(finals, finals[1:]):
            self.assertLess(before["start"], before["end"])
            self.assertLessEqual(before["end"], after["start"])
        self.assertEqual(finals[0]["language"], "en")
        done = self.run_program("run", MODEL, "--audio", "-", "--live", stdin=sound[:96000] + b"\0" * 64000)
        self.assertRegex(done.stdout.decode(), r"(?i)\AAnd so,? my fellow Americans[^\n]*\n\Z")
        done = self.run_program("run", MODEL, "--audio", "-", "--live", stdin=b"\0" * 100_001)
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
        with open(KENNEDY, "rb") as file:
            done = self.run_program("run", MODEL, "--audio", "-", "--live", stdin=file.read())
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"stdin is a WAV file", done.stderr)

    def test_goes_on_into_another_command(self):
        with subprocess.Popen([PROGRAM, "run", MODEL, "--audio", UNIVERSE], stdout=subprocess.PIPE, env=self.env) as first:
            self.assertRegex(first.stdout.read().decode(), r"\AA man said to the universe[^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()

"""Recordings: forms in raw bytes against the fake engine, and OpenAI's own client against a trained Whisper
(whisper-base-mlx in MLXK_TEST_MODELS) beside a text model."""
import base64
import json
import os
import re
import socket
import subprocess
import threading
import unittest

from server_case import FAKE_SERVER, MODEL, PROGRAM, SharedServerTest, link_model, needs_engine
import tiny_models  # found through server_case

try:
    import openai
except ImportError:
    openai = None

WHISPER = os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "whisper-base-mlx")
CLIPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "speech")
KENNEDY = os.path.join(CLIPS, "jfk.wav")
SAID = "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country."
PATH = "/v1/audio/transcriptions"
needs_models = unittest.skipUnless(openai and os.path.isfile(os.path.join(WHISPER, "config.json")), "no trained Whisper, or no openai package")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def part(name, value, filename=None):
    more = f'; filename="{filename}"' if filename is not None else ""
    value = value if isinstance(value, bytes) else value.encode()
    return f'--XX\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def form(file, filename="a.wav", end=b"--XX--\r\n", **fields):
    return b"".join(part(name, value) for name, value in fields.items()) + part("file", file, filename) + end


def kennedy_with(samples):
    """The recording's header with other samples."""
    header = read(KENNEDY)[:44]
    return (header[:4] + (len(samples) + 36).to_bytes(4, "little") + header[8:40] + len(samples).to_bytes(4, "little")
            + samples)


class AudioTest(SharedServerTest):
    def post(self, body, path=PATH, **headers):
        return self.server.request("POST", path, body, {"Content-Type": "multipart/form-data; boundary=XX", **headers})

    def refused(self, status, body, path=PATH, **headers):
        answer = self.post(body, path, **headers)
        self.assertEqual(answer[0], status, answer[2])
        self.assertEqual(answer[2]["status"], "error")
        return answer[2]["error"]


@unittest.skipUnless(FAKE_SERVER, "no fake server")
class RawForms(AudioTest):
    @classmethod
    def start(cls, holder):
        cls.server = holder.serve("--speech", "--audio-limit", str(1 << 20), program=FAKE_SERVER, command=None)

    def test_a_form_in_pieces_and_in_any_order(self):
        sound = read(KENNEDY)
        body = part("file", sound, "a.wav") + part("model", "ears") + b"--XX--\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port), 30) as connection:
            connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
                               "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
            for at in range(0, len(body), 30_000):
                piece = body[at:at + 30_000]
                connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
            answer = b""
            while more := connection.recv(65536):
                answer += more
        self.assertIn(b'{"text":"heard","usage":{"type":"duration","seconds":11}}', answer)

    def test_uploads_that_are_none(self):
        sound = read(KENNEDY)
        for body in (b"", b"hello", form(sound, model="ears").replace(b"--XX", b"--YY"), form(sound, model="ears", end=b""),
                     form(b"", model="ears"), part("model", "ears") + b"--XX--\r\n",
                     form(sound), form(sound, model="ears", end=part("file", sound, "b.wav") + b"--XX--\r\n"),
                     form(sound, model="ears", end=part("other", sound, "b.wav") + b"--XX--\r\n"),
                     form(sound, **{f"f{i}": "x" for i in range(1000)}), form(sound, model="m" * 300_000),
                     form(sound, **{"x" * 1000: "y"}), form(sound, model="ears", prompt=b"\xff" * 400_000)):
            self.refused(400, body)
        self.refused(404, form(sound, model="../ears"))
        self.refused(404, form(sound, model="nobody/nothing"))
        self.assertEqual(self.refused(400, form(sound, model="tiny"))["param"], "model")
        self.refused(415, form(sound, model="ears"), **{"Content-Type": "application/json"})
        self.refused(400, form(sound, model="ears"), **{"Content-Type": "multipart/form-data"})
        self.refused(400, form(sound, model="ears"), **{"Content-Type": "multipart/form-data; boundary=" + "x" * 200})
        self.assertEqual(self.post(form(sound, model="ears"))[2]["text"], "heard")

    def test_a_filename_is_its_last_part(self):
        for name in ("../a.wav", "a/b.wav", "C:\\a.wav", "/tmp/x.wav"):
            self.assertEqual(self.post(form(read(KENNEDY), name, model="ears"))[2]["text"], "heard", name)

    def test_recordings_that_are_none(self):
        head, samples = read(KENNEDY)[:44], read(KENNEDY)[44:]
        floats = bytearray(head)
        floats[20:22], floats[28:32], floats[32:36] = b"\3\0", (64000).to_bytes(4, "little"), b"\4\0\x20\0"
        for broken in (os.urandom(100_000), b"RIFF", head[:20], head, head + samples[:1000], b"fLaC" + os.urandom(5000),
                       b"OggS" + b"\0" * 5000, b"ID3" + b"\xff" * 5000, b"\0\0\0\x20ftypM4A " + b"\0" * 5000,
                       bytes(floats) + b"\0\0\xc0\x7f" * (len(samples) // 4)):
            error = self.refused(400, form(broken, model="ears"))
            self.assertEqual(error["param"], "file", error)
        # Lengths by recorders that cannot seek back to the header.
        for length in (len(samples), 0, 0x7FFFFFF0, 0xFFFFFFFF):
            sound = head[:40] + length.to_bytes(4, "little") + samples
            self.assertEqual(self.post(form(sound, model="ears"))[2]["text"], "heard", length)

    def test_too_large_with_and_without_a_length(self):
        self.assertEqual(self.refused(413, form(b"\0" * ((1 << 20) + 1), model="ears"))["type"], "payload_too_large")
        answer = self.server.raw(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
                                 "Content-Length: 100000000\r\n\r\n".encode())
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"), answer[:100])

    def test_health_and_text_go_on_beside_uploads_that_stall(self):
        head = (f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
                "Content-Length: 900000\r\n\r\n").encode() + part("model", "ears") + b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"
        stalled = [socket.create_connection(("127.0.0.1", self.server.port), 30) for _ in range(60)]
        try:
            for connection in stalled:
                connection.sendall(head + b"RIFF" * 1000)
            self.assertEqual(self.server.get("/health")[0], 200)
            self.assertEqual(self.post(form(read(KENNEDY), model="ears"))[2]["text"], "heard")
            chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
            self.assertEqual(self.server.post("/v1/chat/completions", chat)[0], 200)
        finally:
            for connection in stalled:
                connection.close()

    @unittest.skipIf(os.environ.get("MLXK_SANITIZE"), "a sanitizer keeps what was freed")
    def test_an_upload_is_not_held_in_memory(self):
        server = self.serve("--speech", program=FAKE_SERVER, command=None)
        size = 40 << 20
        body = part("model", "nobody/nothing") + b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"
        tail = b"\r\n--XX--\r\n"
        before = server.memory()
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
                               f"Connection: close\r\nContent-Length: {len(body) + size + len(tail)}\r\n\r\n".encode() + body)
            for _ in range(size >> 20):
                connection.sendall(b"\0" * (1 << 20))
            grown = server.memory() - before
            connection.sendall(tail)
            self.assertIn(b"404 Not Found", connection.recv(1000))
        self.assertLess(grown, 8 << 20)

    def test_metrics_count_what_was_heard(self):
        self.post(form(read(KENNEDY), model="ears"))
        metrics = self.server.get("/metrics")[2].decode()
        line = next(line for line in metrics.splitlines() if line.startswith("mlxk_audio_seconds_total "))
        self.assertGreaterEqual(float(line.split()[1]), 11)
        self.assertIn("mlxk_real_time_factor_count", metrics)

    def test_nothing_of_an_upload_stays(self):
        for _ in range(3):
            self.post(form(read(KENNEDY), model="ears"))
            self.post(form(read(KENNEDY), model="nobody/nothing"))
        folder = f"/proc/{self.server.process.pid}/fd"
        if not os.path.isdir(folder):
            self.skipTest("no /proc")

        def kept():
            return [link for name in os.listdir(folder) if os.path.lexists(os.path.join(folder, name))
                    and "mlxk-upload" in (link := os.readlink(os.path.join(folder, name)))]
        self.wait_until(lambda: not kept(), "an upload's file is still open")


@needs_models
@needs_engine
class Transcripts(AudioTest):
    @classmethod
    def start(cls, holder):
        home = os.path.join(holder.home, "workspaces")
        link_model(WHISPER, os.path.join(home, "whisper-base"))
        if os.path.isfile(os.path.join(MODEL, "config.json")):
            link_model(MODEL, os.path.join(home, "smollm2"))
        AudioTest.home_of_models = home
        cls.server = holder.serve("--model", "whisper-base", env={"MLXK_WORKSPACE_HOME": home})
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="any", max_retries=0, timeout=120)

    def hear(self, path=KENNEDY, **fields):
        with open(path, "rb") as file:
            return self.client.audio.transcriptions.create(model="whisper-base", file=file, **fields)

    def test_json_and_its_usage(self):
        answer = self.hear()
        self.assertEqual((answer.text, answer.usage.type, answer.usage.seconds), (SAID, "duration", 11))
        self.wait_until(lambda: re.search(r"transcript request_id=\S+ model=\S+ language=en audio=11\b.* real_time_factor=", self.server.log()),
                        self.server.log())

    def test_text_and_subtitles_are_those_of_the_command(self):
        for clip, name in (("cavern", "text"), ("jfk", "srt"), ("jfk", "vtt")):
            path = os.path.join(CLIPS, clip + ".wav")
            done = subprocess.run([PROGRAM, "run", WHISPER, "--audio", path, "--format", name], capture_output=True, check=True,
                                  env=self.env, timeout=120)
            self.assertEqual(self.hear(path, response_format=name).strip(), done.stdout.decode().strip())

    def test_verbose_json_with_words(self):
        answer = self.hear(response_format="verbose_json", timestamp_granularities=["word", "segment"], language="en")
        self.assertEqual((answer.language, answer.duration, answer.text), ("english", 11.0, SAID))
        self.assertEqual(" ".join(word.word for word in answer.words), SAID)
        for before, after in zip(answer.words, answer.words[1:]):
            self.assertLessEqual(before.end, after.start + 0.01)
        segment = answer.segments[0]
        self.assertEqual("".join(one.text for one in answer.segments).strip(), SAID)
        self.assertLess(segment.no_speech_prob, 0.5)
        self.assertGreater(segment.avg_logprob, -1)
        self.assertTrue(segment.tokens)
        self.assertEqual((segment.seek, segment.temperature), (0, 0))

    def test_the_goldens(self):
        with open(os.path.join(CLIPS, "goldens.json"), encoding="utf-8") as file:
            goldens = json.load(file)
        for clip in ("jfk", "universe"):
            self.assertEqual(self.hear(os.path.join(CLIPS, clip + ".wav")).text, goldens[clip]["greedy"]["text"].strip())

    def test_a_stream_is_the_text(self):
        events = list(self.hear(stream=True))
        self.assertEqual({event.type for event in events}, {"transcript.text.delta", "transcript.text.done"})
        self.assertEqual("".join(event.delta for event in events[:-1]), SAID)
        self.assertEqual(events[-1].text, SAID)
        usage = events[-1].usage
        self.assertEqual((usage.type, usage.input_tokens, usage.total_tokens), ("tokens", 550, 550 + usage.output_tokens))
        timed = list(self.hear(stream=True, response_format="verbose_json"))
        segments = [event for event in timed if event.type == "transcript.text.segment"]
        self.assertEqual("".join(one.text for one in segments).strip(), SAID)
        self.assertGreater(segments[-1].end, 8)

    def test_translations(self):
        with open(KENNEDY, "rb") as file:
            answer = self.client.audio.translations.create(model="whisper-base", file=file, response_format="verbose_json")
        self.assertEqual(answer.language, "english")
        self.assertIn("country", answer.text)

    def test_prompt_keywords_and_refusals(self):
        self.assertIn("country", self.hear(prompt="A speech.", extra_body={"keywords": ["Americans", "country"]}).text)
        for fields in ({"response_format": "diarized_json"}, {"include": ["logprobs"]}, {"temperature": 3}, {"language": "xx"},
                       {"chunking_strategy": "semantic_vad"}, {"known_speaker_names": ["a"]}):
            with self.assertRaises(openai.BadRequestError, msg=fields) as caught:
                self.hear(**fields)
            self.assertEqual(caught.exception.body["param"], next(iter(fields)), fields)
        for strategy in ("auto", {"type": "server_vad"}):
            self.assertEqual(self.hear(chunking_strategy=strategy).text, SAID)
        with self.assertRaises(openai.NotFoundError):
            with open(KENNEDY, "rb") as file:
                self.client.audio.transcriptions.create(model="whisper-1", file=file)

    def test_chat_with_a_recording(self):
        data = base64.b64encode(read(KENNEDY)).decode()
        messages = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]}]
        answer = self.client.chat.completions.create(model="whisper-base", messages=messages)
        self.assertEqual((answer.choices[0].message.content, answer.choices[0].finish_reason), (SAID, "stop"))
        stream = self.client.chat.completions.create(model="whisper-base", messages=messages, stream=True)
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices), SAID)
        with self.assertRaisesRegex(openai.BadRequestError, "audio-only"):
            self.client.chat.completions.create(model="whisper-base", messages=[{"role": "user", "content": "Hello"}])

    def test_the_list_of_models_says_what_it_can(self):
        model = self.client.models.retrieve("whisper-base")
        self.assertIn("audio", model.capabilities)
        self.assertTrue(model.loaded and model.pinned)

    @unittest.skipUnless(os.path.isfile(os.path.join(MODEL, "config.json")), "no text model")
    def test_text_beside_a_recording_is_the_same(self):
        def ask():
            return self.client.chat.completions.create(
                model="smollm2", messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=24,
                temperature=0, logprobs=True).model_dump(include={"choices"})
        alone = ask()
        heard = []
        threads = [threading.Thread(target=lambda: heard.append(self.hear(response_format="verbose_json").model_dump()))
                   for _ in range(3)]
        for thread in threads:
            thread.start()
        beside = [ask() for _ in range(3)]
        for thread in threads:
            thread.join()
        self.assertEqual(beside, [alone] * 3)
        self.assertEqual([one["text"] for one in heard], [SAID] * 3)
        self.assertEqual(heard[0]["segments"], heard[1]["segments"])

    @unittest.skipUnless(os.path.isfile(os.path.join(MODEL, "config.json")), "no text model")
    def test_text_and_speech_make_room_for_each_other(self):
        server = self.serve("--max-models", "1", env={"MLXK_WORKSPACE_HOME": self.home_of_models})
        body = form(read(KENNEDY), model="whisper-base")
        kind = {"Content-Type": "multipart/form-data; boundary=XX"}
        self.assertEqual(server.post("/v1/models/load", {"model": "smollm2"})[2]["loaded"], True)
        self.assertEqual(server.request("POST", PATH, body, kind)[2]["text"], SAID)
        self.assertEqual(server.get("/v1/models/smollm2")[2]["loaded"], False)
        self.assertEqual(server.post("/v1/models/unload", {"model": "whisper-base"})[0], 200)

    def test_a_signal_lets_a_transcription_end(self):
        server = self.serve("--model", "whisper-base", env={"MLXK_WORKSPACE_HOME": self.home_of_models})
        self.wait_until(lambda: server.get("/ready")[0] == 200, "the model is not loaded", 60)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(server.request(
            "POST", PATH, form(read(os.path.join(CLIPS, "cavern.wav")), model="whisper-base"),
            {"Content-Type": "multipart/form-data; boundary=XX"})))
        asking.start()
        self.wait_until(lambda: answers or server.get("/health")[2]["running"] > 0, "it does not begin", 60)
        self.assertEqual(server.stop(), 0)
        asking.join()
        self.assertEqual(answers[0][0], 200)
        self.assertIn("Royal Cavern", answers[0][2]["text"])

    def test_a_client_that_goes_is_noticed(self):
        long = kennedy_with(read(KENNEDY)[44:] * 30)
        body = form(long, model="whisper-base", stream="true")
        with socket.create_connection(("127.0.0.1", self.server.port), 60) as connection:
            connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
                               f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            self.assertIn(b"200 OK", connection.recv(1024))
        self.wait_until(lambda: self.server.get("/health")[2]["running"] == 0, "the transcription goes on", 60)


@needs_engine
class AudioModels(AudioTest):
    """A random Voxtral: its answers mean nothing, but depend on the audio."""
    @classmethod
    def start(cls, holder):
        workspaces = os.path.join(holder.home, "workspaces")
        tiny_models.write_voxtral(os.path.join(workspaces, "vox"))
        tiny_models.write_gemma3n(os.path.join(workspaces, "gemma"))
        tiny_models.write_vibevoice(os.path.join(workspaces, "vibe"))
        tiny_models.write_model(os.path.join(workspaces, "text-only"), "llama")
        tiny_models.write_tokenizer(os.path.join(workspaces, "text-only"))
        cls.server = holder.serve(env={"MLXK_WORKSPACE_HOME": workspaces})
        cls.clip = kennedy_with(read(KENNEDY)[32044:64044])  # a second: 7 windows of 4 tokens

    def chat(self, *parts, status=200, model="vox", **more):
        answer = self.server.post("/v1/chat/completions", {
            "model": model, "messages": [{"role": "user", "content": list(parts)}], "temperature": 0, "max_tokens": 8, **more})
        self.assertEqual(answer[0], status, answer[2])
        return answer[2]

    def sound(self, data=None):
        data = base64.b64encode(data or self.clip).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}

    def test_chats_about_recordings(self):
        question = {"type": "text", "text": "What?"}
        first = self.chat(self.sound(), question, logprobs=True)
        self.assertEqual(first["usage"]["prompt_tokens"], 3 + 28 + 3)
        self.assertEqual(first["usage"]["prompt_tokens_details"]["audio_tokens"], 28)
        again = self.chat(self.sound(), question, logprobs=True)
        self.assertEqual(again["choices"], first["choices"])
        self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        other = self.clip[:44] + self.clip[44:][::-1]
        self.assertNotEqual(self.chat(self.sound(other), question, logprobs=True)["choices"], first["choices"])
        both = self.chat(self.sound(), question, self.sound(other))
        self.assertEqual(both["usage"]["prompt_tokens_details"]["audio_tokens"], 56)
        self.assertEqual(self.chat(question)["usage"]["prompt_tokens"], 5)
        estimate = self.server.post("/v1/estimate", {"model": "vox", "messages": [
            {"role": "user", "content": [self.sound(), question]}]})[2]
        self.assertEqual((estimate["prompt_tokens"], estimate["audio_tokens"], estimate["image_tokens"]), (34, 28, 0))

    def test_in_a_batch_with_texts(self):
        question = {"type": "text", "text": "What?"}
        alone = self.chat(self.sound(), question, max_tokens=24)["choices"]
        answers = [None] * 4
        def ask(i):
            parts = (self.sound(), question) if i % 2 else ({"type": "text", "text": "the sound " * (i + 1)},)
            answers[i] = self.chat(*parts, max_tokens=24)["choices"]
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((answers[1], answers[3]), (alone, alone))

    def test_recordings_beside_images(self):
        pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGM4YZQCAAMkAV+R/sDYAAAAAElFTkSuQmCC"
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + pixel}}
        clip, shorter = (kennedy_with(read(KENNEDY)[32044:end]) for end in (48044, 48042))  # half a second: at most six tokens
        question = {"type": "text", "text": "What?"}
        counts = {}
        for name, parts in {"both": (image, self.sound(clip), question), "sound": (self.sound(clip), question), "text": (question,),
                            "two": (self.sound(shorter), self.sound(clip), question)}.items():
            first = self.chat(*parts, model="gemma", logprobs=True)
            counts[name] = first["usage"]["prompt_tokens_details"].get("audio_tokens", 0)
            self.assertEqual(self.chat(*parts, model="gemma", logprobs=True)["choices"], first["choices"], name)
        self.assertEqual(counts, {"both": 6, "sound": 6, "text": 0, "two": 12})
        other = clip[:44] + clip[44:][::-1]
        answers = [self.chat(image, self.sound(data), question, model="gemma", logprobs=True)["choices"]
                   for data in (clip, other)]
        self.assertNotEqual(*answers)

    def test_a_model_that_tells_times_and_speakers(self):
        """Its answer is no list, so the whole is one segment of nobody."""
        clip = kennedy_with(read(KENNEDY)[32044:33644])  # 0.05 seconds
        whole = self.post(form(clip, model="vibe", response_format="diarized_json"))
        self.assertEqual(whole[0], 200, whole[2])
        self.assertEqual(whole[2]["duration"], 0.05)
        segment = whole[2]["segments"][0]
        self.assertEqual((segment["type"], segment["speaker"], segment["start"], segment["end"], segment["text"]),
                         ("transcript.text.segment", "", 0, 0.05, whole[2]["text"]))
        self.assertIn("00:00:00,000 --> 00:00:00,050", self.post(form(clip, model="vibe", response_format="srt"))[2].decode())
        status, _, content = self.post(form(clip, model="vibe", stream="true", response_format="diarized_json", prompt="Knife"))
        self.assertEqual(status, 200, content)
        events = [json.loads(one[6:]) for one in content.decode().split("\n\n") if one.startswith("data: {")]
        self.assertEqual([one["type"] for one in events][1:], ["transcript.text.segment", "transcript.text.done"])
        self.assertEqual(self.refused(400, form(clip, model="vibe", language="en"))["param"], "language")
        self.assertEqual(self.refused(400, form(clip, model="vox", response_format="diarized_json"))["param"],
                         "response_format")
        answer = self.chat(self.sound(clip), model="vibe")
        self.assertEqual(answer["usage"]["prompt_tokens_details"]["audio_tokens"], 200)
        listed = {one["id"]: one for one in self.server.get("/v1/models")[2]["data"]}
        self.assertTrue(any(one.get("speech", {}).get("diarization") for name, one in listed.items() if "vibe" in name), listed)

    def test_refused_recordings(self):
        error = self.chat({"type": "text", "text": "a"}, self.sound(b"RIFF"), status=400)["error"]
        self.assertEqual(error["param"], "messages[0].content[1].input_audio.data", error)
        error = self.chat(self.sound(), model="text-only", status=400)["error"]
        self.assertIn("does not support audio inputs", error["message"])
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
        self.assertIn("vision", self.chat(image, self.sound(), status=400)["error"]["message"])

    def test_transcripts_are_streamed(self):
        whole = self.post(form(self.clip, model="vox", language="en"))[2]["text"]
        status, _, content = self.post(form(self.clip, model="vox", language="en", stream="true"))
        self.assertEqual(status, 200, content)
        events = [json.loads(one[6:]) for one in content.decode().split("\n\n") if one.startswith("data: {")]
        self.assertEqual(events[-1]["type"], "transcript.text.done")
        deltas = [one["delta"] for one in events[:-1]]
        self.assertGreater(len(deltas), 1)
        self.assertEqual("".join(deltas).strip(), whole.strip())

    def test_transcripts(self):
        answer = self.post(form(self.clip, model="vox", language="en"))
        self.assertEqual(answer[0], 200, answer[2])
        self.assertIn("text", answer[2])
        for name, value in (("response_format", "srt"), ("prompt", "Knife"), ("beam_size", "4"), ("vad", "true")):
            error = self.refused(400, form(self.clip, model="vox", **{name: value}))
            self.assertEqual(error["param"], name, error)
        self.refused(400, form(self.clip, model="text-only"))
        self.refused(422, form(self.clip, model="vox"), path="/v1/audio/translations")


@needs_engine
class Recognisers(AudioTest):
    """Random speech models: their texts mean nothing, but depend on what they are told."""
    @classmethod
    def start(cls, holder):
        workspaces = os.path.join(holder.home, "workspaces")
        tiny_models.write_case(os.path.join(workspaces, "canary"), "canary_models", "nemo")
        tiny_models.write_case(os.path.join(workspaces, "moonshine"), "moonshine_models", "moonshine")
        cls.server = holder.serve(env={"MLXK_WORKSPACE_HOME": workspaces})
        cls.clip = kennedy_with(read(KENNEDY)[32044:96044])

    def hear(self, path=PATH, **fields):
        answer = self.post(form(self.clip, model="canary", response_format="verbose_json", seed="1", **fields), path)
        self.assertEqual(answer[0], 200, answer[2])
        return answer[2]

    def test_a_target_language(self):
        plain, german = self.hear(), self.hear(to_language="de")
        self.assertEqual((plain["task"], plain["language"]), ("transcribe", "english"))
        self.assertEqual((german["task"], german["language"]), ("translate", "german"))
        self.assertNotEqual(plain["text"], german["text"])
        self.assertEqual(self.hear("/v1/audio/translations", to_language="German")["text"], german["text"])
        english = self.hear("/v1/audio/translations", language="de")
        self.assertEqual((english["task"], english["language"]), ("translate", "english"))

    def test_what_a_model_cannot_do_is_refused_by_name(self):
        for field, value in (("language", "fr"), ("to_language", "fr"), ("to_language", "klingon"), ("prompt", "a"), ("hotwords", "a")):
            self.assertEqual(self.refused(400, form(self.clip, model="canary", **{field: value}))["param"], field)
        self.refused(422, form(self.clip, model="moonshine", to_language="de"))
        self.refused(422, form(self.clip, model="moonshine"), path="/v1/audio/translations")

    def test_the_list_of_models_tells_the_languages(self):
        (model,) = [one for one in self.server.get("/v1/models")[2]["data"] if "canary" in one["id"]]
        self.assertEqual(model["speech"], {"languages": ["en", "de"], "segment_times": True, "word_times": False, "translation": True,
                                           "diarization": False})


if __name__ == "__main__":
    unittest.main()

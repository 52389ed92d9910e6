"""Live transcription over a WebSocket: OpenAI's own client against the fake engine, and against a trained Whisper
(whisper-base-mlx in MLXK_TEST_MODELS)."""
import array
import base64
import json
import os
import unittest
import wave

from server_case import FAKE_SERVER, SharedServerTest, link_model, needs_engine
from test_audio import KENNEDY, WHISPER, needs_models

try:
    import openai
    import websockets.sync.client
except ImportError:
    openai = None

needs_client = unittest.skipUnless(openai, "no openai package with websockets")
PREFIX = "conversation.item.input_audio_transcription."
PATIENCE = 120


def kennedy():
    """The recording's samples at 16 kHz."""
    with wave.open(KENNEDY) as file:
        assert file.getframerate() == 16000 and file.getsampwidth() == 2
        return array.array("h", file.readframes(file.getnframes()))


def at_rate(samples, rate):
    """Resampled from 16 kHz by straight lines."""
    out = array.array("h")
    for i in range(len(samples) * rate // 16000):
        at = i * 16000 / rate
        a = samples[int(at)]
        b = samples[min(int(at) + 1, len(samples) - 1)]
        out.append(int(a + (b - a) * (at - int(at))))
    return out


def ulaw(sample):
    """G.711: the byte of a 16-bit sample."""
    sign = 0x80 if sample < 0 else 0
    size = min(abs(sample), 32635) + 132
    exponent = size.bit_length() - 8
    return ~(sign | exponent << 4 | (size >> exponent + 3) & 15) & 0xFF


def alaw(sample):
    sign = 0x80 if sample >= 0 else 0
    size = min(abs(sample), 32767) >> 4
    exponent = max(size.bit_length() - 4, 0)
    return (sign | exponent << 4 | (size >> max(exponent - 1, 0) & 15 if exponent else size & 15)) ^ 0x55


def pieces(data, size=9600):
    for at in range(0, len(data), size):
        yield base64.b64encode(data[at:at + size]).decode()


def session(**more):
    return {"type": "transcription", "audio": {"input": more}}


class RealtimeTest(SharedServerTest):
    def client(self, server=None, key="none"):
        url = (server or self.server).url + "/v1"
        return openai.OpenAI(base_url=url, websocket_base_url=url.replace("http", "ws"), api_key=key)

    def connect(self, **query):
        return self.client().realtime.connect(extra_query={"intent": "transcription", **query})

    def until(self, connection, kind):
        """The events up to the first one of `kind`, which fails the test on errors it does not wait for."""
        events = []
        while True:
            event = connection.recv()
            events.append(event)
            if event.type == kind:
                return events
            self.assertNotIn(event.type, ("error", PREFIX + "failed"), event)

    def expect(self, connection, kind):
        events = self.until(connection, kind)
        self.assertEqual([one.type for one in events], [kind])
        return events[0]


@needs_client
@unittest.skipUnless(FAKE_SERVER, "no fake server")
class Events(RealtimeTest):
    @classmethod
    def start(cls, holder):
        cls.server = holder.serve("--speech", "--audio-limit", "1000000", program=FAKE_SERVER, command=None)

    def test_manual_commits(self):
        with self.connect() as connection:
            created = self.expect(connection, "session.created")
            self.assertEqual(created.session.type, "transcription")
            self.assertEqual(created.session.audio.input.format.rate, 24000)
            self.assertEqual(created.session.audio.input.turn_detection.type, "server_vad")
            connection.session.update(session=session(transcription={"model": "ears", "language": "en"}, turn_detection=None))
            updated = self.expect(connection, "session.updated").session.audio.input
            self.assertEqual((updated.transcription.model, updated.transcription.language), ("ears", "en"))
            self.assertIsNone(updated.turn_detection)
            previous = None
            speech = at_rate(kennedy()[16000:32000], 24000).tobytes()
            for _ in range(2):
                connection.input_audio_buffer.append(audio=base64.b64encode(speech).decode())
                connection.input_audio_buffer.commit()
                events = self.until(connection, PREFIX + "completed")
                self.assertEqual([one.type for one in events],
                                 ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done",
                                  PREFIX + "delta", PREFIX + "completed"])
                committed, added, done, delta, completed = events
                self.assertEqual(committed.previous_item_id, previous)
                previous = committed.item_id
                for one in (added.item.id, done.item.id, delta.item_id, completed.item_id):
                    self.assertEqual(one, previous)
                self.assertEqual((added.item.role, added.item.content[0].type), ("user", "input_audio"))
                self.assertEqual((delta.delta, completed.transcript), ("heard", "heard"))
                self.assertEqual((completed.content_index, completed.usage.type, completed.usage.seconds), (0, "duration", 1))
                self.assertEqual(len({one.event_id for one in events}), len(events))

    def test_the_older_events(self):
        with self.client().beta.realtime.connect(model="ears", extra_query={"intent": "transcription"}) as connection:
            created = self.expect(connection, "transcription_session.created")
            self.assertEqual(created.session["input_audio_format"], "pcm16")
            connection.transcription_session.update(session={
                "input_audio_format": "g711_ulaw", "input_audio_transcription": {"model": "ears"}, "turn_detection": None})
            updated = self.expect(connection, "transcription_session.updated").session
            self.assertEqual((updated.input_audio_format, updated.input_audio_transcription.model), ("g711_ulaw", "ears"))
            speech = bytes(ulaw(one) for one in at_rate(kennedy()[16000:24000], 8000))
            connection.input_audio_buffer.append(audio=base64.b64encode(speech).decode())
            connection.input_audio_buffer.commit()
            events = self.until(connection, PREFIX + "completed")
            self.assertEqual([one.type for one in events],
                             ["input_audio_buffer.committed", "conversation.item.created", PREFIX + "delta", PREFIX + "completed"])
            self.assertEqual(events[-1].usage.seconds, 0.5)

    def test_turns_of_speech(self):
        silence = array.array("h", bytes(2 * 16000))
        sound = at_rate(silence + kennedy()[:16000 * 3] + silence, 24000).tobytes()
        with self.connect(model="ears") as connection:
            self.expect(connection, "session.created")
            for piece in pieces(sound):
                connection.input_audio_buffer.append(audio=piece)
            events = self.until(connection, PREFIX + "completed")
            self.assertEqual([one.type for one in events],
                             ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
                              "input_audio_buffer.committed", "conversation.item.added", "conversation.item.done",
                              PREFIX + "delta", PREFIX + "completed"])
            started, stopped, committed = events[:3]
            self.assertEqual({started.item_id, stopped.item_id}, {committed.item_id})
            self.assertTrue(500 <= started.audio_start_ms <= 1600, started)
            self.assertTrue(3000 <= stopped.audio_end_ms <= 5000, stopped)
            self.assertAlmostEqual(events[-1].usage.seconds, (stopped.audio_end_ms - started.audio_start_ms) / 1000, delta=0.05)

    def test_bad_events_are_told_and_the_socket_stays_open(self):
        some = base64.b64encode(bytes(48000)).decode()
        bad = [
            ("{", None, "invalid_json"), ("[]", None, "invalid_json"), ('{"type": 5}', "type", "invalid_value"),
            ({"type": "response.create"}, "type", "invalid_value"),
            ({"type": "input_audio_buffer.append"}, "audio", "invalid_value"),
            ({"type": "input_audio_buffer.append", "audio": "%%"}, "audio", "invalid_value"),
            ({"type": "input_audio_buffer.commit"}, None, "input_audio_buffer_commit_empty"),
            ({"type": "session.update"}, "session", "invalid_value"),
            ({"type": "session.update", "session": {"type": "realtime"}}, "session.type", "invalid_value"),
            ({"type": "session.update", "session": {"type": "transcription", "voice": "x"}}, "session.voice", "unknown_parameter"),
        ] + [
            ({"type": "session.update", "session": session(**{group: value})}, f"session.audio.input.{group}{field}", code)
            for group, value, field, code in [
                ("format", {"type": "audio/mp3"}, ".type", "invalid_value"),
                ("format", {"type": "audio/pcm", "rate": 16000}, ".rate", "invalid_value"),
                ("turn_detection", {"type": "semantic_vad"}, ".type", "invalid_value"),
                ("turn_detection", {"type": "server_vad", "threshold": 2}, ".threshold", "invalid_value"),
                ("transcription", {"model": "nobody/nothing"}, ".model", "model_not_found"),
                ("transcription", {"model": "other"}, ".model", "invalid_value"),
                ("transcription", {"model": "ears", "language": "klingon"}, ".language", "invalid_value"),
                ("noise_reduction", {"type": "near_field"}, "", "unsupported_parameter"),
            ]]
        with websockets.sync.client.connect(self.server.url.replace("http", "ws") + "/v1/realtime?intent=transcription") as socket:
            self.assertEqual(json.loads(socket.recv(PATIENCE))["type"], "session.created")
            for event, param, code in bad:
                if isinstance(event, dict):
                    event["event_id"] = "mine"
                socket.send(event if isinstance(event, str) else json.dumps(event))
                answer = json.loads(socket.recv(PATIENCE))
                self.assertEqual(answer["type"], "error", event)
                error = answer["error"]
                self.assertEqual((error["param"], error["code"]), (param, code), (event, error))
                self.assertEqual(error["event_id"], "mine" if isinstance(event, dict) else None)
            self.assertIn("klingon", json.dumps(self.ask(socket, {"type": "session.update", "session": session(
                transcription={"language": "klingon"})})))
            # The buffer has a limit (500,000 samples at 16 kHz here), and clear empties it.
            socket.send(json.dumps({"type": "session.update", "session": session(turn_detection=None, transcription={"model": "ears"})}))
            self.assertEqual(json.loads(socket.recv(PATIENCE))["type"], "session.updated")
            for _ in range(40):
                socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": some}))
            self.assertEqual(json.loads(socket.recv(PATIENCE))["error"]["code"], "input_audio_buffer_full")
            while self.ask(socket, {"type": "input_audio_buffer.clear"})["type"] == "error":
                pass
            socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": some}))
            socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
            while json.loads(socket.recv(PATIENCE))["type"] != PREFIX + "completed":
                pass

    def ask(self, socket, event):
        socket.send(json.dumps(event))
        return json.loads(socket.recv(PATIENCE))

    def test_a_turn_that_fails(self):
        with self.connect() as connection:  # the pinned model is one of text
            self.expect(connection, "session.created")
            connection.session.update(session=session(turn_detection=None))
            self.expect(connection, "session.updated")
            connection.input_audio_buffer.append(audio=base64.b64encode(bytes(48000)).decode())
            connection.input_audio_buffer.commit()
            while (event := connection.recv()).type != PREFIX + "failed":
                self.assertNotEqual(event.type, "error")
            self.assertIn("tiny", event.error.message)

    def test_what_opens_no_socket(self):
        self.assertEqual(self.server.get("/v1/realtime?intent=transcription")[0], 426)
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        for path in ("/v1/realtime", "/v1/realtime?intent=conversation", "/v1/realtime?intent=%zz"):
            status, _, answer = self.server.get(path, headers=upgrade)
            self.assertEqual(status, 400, answer)

    def test_a_drain_ends_turns_and_sockets(self):
        server = self.serve("--speech", program=FAKE_SERVER, command=None)
        with self.client(server).realtime.connect(extra_query={"intent": "transcription", "model": "ears"}) as connection:
            self.expect(connection, "session.created")
            for piece in pieces(at_rate(kennedy()[:16000 * 2], 24000).tobytes()):
                connection.input_audio_buffer.append(audio=piece)
            self.until(connection, "input_audio_buffer.speech_started")
            server.process.terminate()
            self.until(connection, PREFIX + "completed")
            with self.assertRaises(Exception):
                connection.recv()
        self.assertEqual(server.stop(), 0)


@needs_client
@needs_engine
@needs_models
class Trained(RealtimeTest):
    @classmethod
    def start(cls, holder):
        workspaces = os.path.join(holder.home, "workspaces")
        link_model(WHISPER, os.path.join(workspaces, "ears"))
        cls.server = holder.serve("--model", "ears", env={"MLXK_WORKSPACE_HOME": workspaces})

    def test_kennedy_in_each_format(self):
        sound = kennedy()[:3 * 16000] + array.array("h", bytes(2 * 16000))
        narrow = at_rate(sound, 8000)
        for form, data in (({"type": "audio/pcm", "rate": 24000}, at_rate(sound, 24000).tobytes()),
                           ({"type": "audio/pcmu"}, bytes(ulaw(one) for one in narrow)),
                           ({"type": "audio/pcma"}, bytes(alaw(one) for one in narrow))):
            with self.subTest(form), self.connect() as connection:
                self.expect(connection, "session.created")
                connection.session.update(session=session(format=form, turn_detection={"type": "server_vad"}))
                self.expect(connection, "session.updated")
                for piece in pieces(data):
                    connection.input_audio_buffer.append(audio=piece)
                said = ""
                while "fellow americans" not in said.lower():
                    event = connection.recv()
                    self.assertNotIn(event.type, ("error", PREFIX + "failed"), event)
                    if event.type == PREFIX + "completed":
                        said += " " + event.transcript


@needs_client
@needs_engine
class Guarded(RealtimeTest):
    @classmethod
    def start(cls, holder):
        keys = os.path.join(holder.home, "keys")
        with open(keys, "w", encoding="ascii") as file:
            file.write("me:secret-of-tests\n")
        os.chmod(keys, 0o600)
        cls.server = holder.serve("--api-key-file", keys)

    def status(self, headers=None, **more):
        """The status with which a handshake is refused; 101: it was not."""
        try:
            with websockets.sync.client.connect(self.server.url.replace("http", "ws") + "/v1/realtime?intent=transcription",
                                                additional_headers=headers or {}, **more):
                return 101
        except websockets.exceptions.InvalidStatus as error:
            return error.response.status_code

    def test_keys_and_origins(self):
        good = {"Authorization": "Bearer secret-of-tests"}
        self.assertEqual(self.status(), 401)
        self.assertEqual(self.status({"Authorization": "Bearer other"}), 401)
        self.assertEqual(self.status(good), 101)
        self.assertEqual(self.status(good, origin=self.server.url), 101)
        self.assertEqual(self.status(good, origin="https://evil.example"), 403)
        self.assertEqual(self.status(subprotocols=["realtime", "openai-insecure-api-key.secret-of-tests"]), 101)
        self.assertEqual(self.status(subprotocols=["realtime", "openai-insecure-api-key.other"]), 401)


if __name__ == "__main__":
    unittest.main()

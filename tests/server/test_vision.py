"""Images: OpenAI's own client against a small trained vision model (shapes-smolvlm-4bit in MLXK_TEST_MODELS), next
to a text model."""
import base64
import hashlib
import json
import os
import queue
import socket
import threading
import unittest

from server_case import MODEL, ServerTest, SharedServerTest, link_model, needs_engine
import tiny_models  # found through server_case

try:
    import openai
except ImportError:
    openai = None

VISION_MODEL = os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "shapes-smolvlm-4bit")
SHAPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "vision", "shapes")
CHAT = "/v1/chat/completions"


def read(name):
    with open(os.path.join(SHAPES, name), "rb") as file:
        return file.read()


def data_url(data, kind="png"):
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


def question(name, text):
    return [{"role": "user", "content": [image(data_url(read(name))), {"type": "text", "text": text}]}]


@needs_engine
@unittest.skipUnless(openai and os.path.isfile(os.path.join(VISION_MODEL, "config.json")) and os.path.isdir(MODEL),
                     "no trained models, or no openai package")
class VisionTest(SharedServerTest):
    @classmethod
    def start(cls, holder):
        link_model(VISION_MODEL, os.path.join(holder.home, "workspaces", "vision"))
        link_model(MODEL, os.path.join(holder.home, "workspaces", "text"))
        cls.media = os.path.join(holder.home, "media")
        os.makedirs(cls.media)
        with open(os.path.join(cls.media, "one circle.png"), "wb") as file:
            file.write(read("one-circle.png"))
        with open(os.path.join(holder.home, "secret.png"), "wb") as file:
            file.write(read("one-circle.png"))
        cls.home_of_server = holder.home
        cls.server = holder.serve("--media-root", cls.media,
                                  env={"MLXK_WORKSPACE_HOME": os.path.join(holder.home, "workspaces")})
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)

    def ask(self, messages, **more):
        return self.client.chat.completions.create(model="vision", messages=messages, temperature=0, max_tokens=24, **more)

    def refused(self, status, body):
        answer = self.server.post(CHAT, {"model": "vision", "max_tokens": 4, **body})
        self.assertEqual(answer[0], status, answer[2])
        return answer[2]["error"]

    def test_twenty_questions_about_drawn_scenes(self):
        with open(os.path.join(SHAPES, "greedy.json"), encoding="utf-8") as file:
            greedy = json.load(file)
        for name, questions in greedy.items():
            for text, answer in questions:
                self.assertEqual(self.ask(question(name, text)).choices[0].message.content.strip(), answer, (name, text))

    def test_streams_and_counts_image_tokens(self):
        messages = question("one-circle.png", "What color is the circle?")
        chunks = list(self.ask(messages, stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks if c.choices).strip(), "red")
        usage = chunks[-1].usage.model_dump()
        self.assertEqual(usage["prompt_tokens_details"]["image_tokens"], 64)
        estimate = self.server.post("/v1/estimate", {"model": "vision", "messages": messages})[2]
        self.assertEqual((estimate["prompt_tokens"], estimate["image_tokens"]), (usage["prompt_tokens"], 64))

    def test_an_image_is_encoded_once_and_a_conversation_goes_on_behind_it(self):
        first = question("two-squares.png", "How many squares are there?")
        answer = self.ask(first)
        again = self.ask(first + [{"role": "assistant", "content": answer.choices[0].message.content},
                                  {"role": "user", "content": "What color are the shapes?"}])
        details = again.usage.model_dump()["prompt_tokens_details"]
        self.assertGreaterEqual(details["cached_tokens"], 64 + 4)
        other = self.ask(question("two-diamond-circle.png", "How many squares are there?")).usage.model_dump()
        self.assertLess(other["prompt_tokens_details"]["cached_tokens"], 64)  # the same text, another image
        shown_twice = [image(data_url(read("two-squares.png"))), {"type": "text", "text": "Now?"}]
        hit = self.ask([{"role": "system", "content": "Be brief."}, {"role": "user", "content": shown_twice}])
        self.assertEqual(hit.usage.model_dump()["prompt_tokens_details"]["cached_images"], 1)

    def test_together_as_alone(self):
        asked = [question("one-ring.png", "What color is the ring?"), question("digit-7.png", "Which digit is shown?"),
                 [{"role": "user", "content": "Say a word."}], question("four-circles.png", "How many circles are there?")]
        alone = [self.ask(messages).choices[0].message.content for messages in asked]
        together = [None] * len(asked)

        def ask(i):
            together[i] = self.ask(asked[i]).choices[0].message.content

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(asked))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)

    def test_a_mixed_load_with_images(self):
        """Images join and leave running text answers, some clients go away: every answer has the bits that it has alone."""
        server = self.serve("--prefix-cache", "0", env={"MLXK_WORKSPACE_HOME": os.path.join(self.home_of_server, "workspaces")})
        pictures = ["one-circle.png", "two-squares.png", "digit-7.png"]

        def body(messages, tokens, **more):
            return {"model": "vision", "messages": messages, "max_tokens": tokens, "temperature": 0, "logprobs": True,
                    "top_logprobs": 2, **more}

        def ask(request):
            status, _, answer = server.post(CHAT, request, timeout=600)
            self.assertEqual(status, 200, answer)
            choice, details = answer["choices"][0], answer["usage"]["prompt_tokens_details"]
            return (choice["message"]["content"], choice["finish_reason"], choice["logprobs"]), details

        def leave(request, lines):
            """Goes away after so many lines of the stream."""
            with socket.create_connection(("127.0.0.1", server.port), 600) as connection:
                data = json.dumps({**request, "stream": True}).encode()
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                   b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
                with connection.makefile("rb") as answer:
                    for _ in range(lines):
                        answer.readline()

        texts = [body([{"role": "user", "content": f"Count to {n}."}], 24) for n in (5, 7, 9)]
        seeing = [body(question(name, text), 8) for name in pictures for text in ("What color is it?", "Describe the image.")]
        seeing.append(body([{"role": "user", "content": question(pictures[0], "a")[0]["content"][:1] +
                             question(pictures[1], "What is the same?")[0]["content"]}], 8))
        asked = [texts[0], *seeing[:4], texts[1], *seeing[4:], texts[2]]
        alone = [ask(request)[0] for request in asked]

        work, got, failures = queue.Queue(), {}, []
        for i, request in enumerate(asked):
            work.put(lambda i=i, request=request: got.__setitem__(i, ask(request)))
            if i % 3 == 0:
                work.put(lambda request=request, lines=i: leave(request, lines))

        def client():
            while not failures:
                try:
                    work.get_nowait()()
                except queue.Empty:
                    return
                except Exception as failure:  # of any kind: told by the test's own thread
                    failures.append(failure)

        threads = [threading.Thread(target=client) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(sorted(got), list(range(len(asked))))
        for i, request in enumerate(asked):
            self.assertEqual(got[i][0], alone[i], request["messages"])
            images = sum(part.get("type") == "image_url" for message in request["messages"]
                         if isinstance(message["content"], list) for part in message["content"])
            self.assertEqual(got[i][1].get("cached_images", 0), images, "images that were encoded before count as hits")
            self.assertEqual(got[i][1].get("image_tokens", 0), 64 * images)
        self.wait_until(lambda: server.get("/health")[2]["running"] == 0, "a client that left is still answered", 120)

    def test_several_images_and_turns(self):
        both = [{"role": "user", "content": [image(data_url(read("one-circle.png"))), image(data_url(read("one-ring.png"))),
                                             {"type": "text", "text": "What color is the circle?"}]}]
        self.assertEqual(self.ask(both).usage.model_dump()["prompt_tokens_details"]["image_tokens"], 128)

    def test_a_table_of_the_images_comes_when_it_is_asked_for(self):
        first = question("one-circle.png", "What color is the circle?")
        plain = self.ask(first).choices[0].message.content
        self.assertNotIn("<details>", plain)
        for stream in (False, True):
            answer = self.ask(first, stream=stream, extra_body={"image_table": True})
            text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices) if stream else answer.choices[0].message.content
            table, rest = text.split("</details>\n\n")
            self.assertIn("<!-- mlxk:filenames -->", table)
            name = f"image_{hashlib.sha256(read('one-circle.png')).hexdigest()[:8]}"
            self.assertIn(f"| 1 | {name}.jpeg | {name}.png |", table)
            self.assertEqual(rest, plain)
        # Its number stays, although the image is not sent again; the model does not read the table.
        turn = [{"role": "user", "content": "What color is the circle?"}, {"role": "assistant", "content": text}]
        later = question("one-ring.png", "What color is the ring?")
        again = self.ask(turn + later, extra_body={"image_table": True})
        self.assertIn("| 2 | image_", again.choices[0].message.content)
        self.assertNotIn("| 1 | image_", again.choices[0].message.content)
        without = self.ask([turn[0], {"role": "assistant", "content": plain}] + later)
        self.assertEqual(again.usage.prompt_tokens, without.usage.prompt_tokens)
        self.assertEqual(again.choices[0].message.content.split("</details>\n\n")[1], without.choices[0].message.content)
        held = self.ask(first, extra_body={"image_table": True}, response_format={"type": "json_object"})
        self.assertNotIn("<details>", held.choices[0].message.content)

    def test_without_a_temperature_answers_about_images_are_greedy(self):
        body = {"model": "vision", "max_tokens": 8, "messages": question("one-circle.png", "Describe the image.")}
        greedy = self.server.post(CHAT, {**body, "temperature": 0})[2]["choices"][0]["message"]["content"]
        for _ in range(3):
            self.assertEqual(self.server.post(CHAT, body)[2]["choices"][0]["message"]["content"], greedy)

    def test_a_schema_holds_beside_an_image(self):
        schema = {"type": "object", "properties": {"color": {"type": "string", "enum": ["red", "blue"]}},
                  "required": ["color"], "additionalProperties": False}
        answer = self.client.chat.completions.create(
            model="vision", messages=question("one-circle.png", "What color is the circle?"), temperature=0, max_tokens=40,
            response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": schema, "strict": True}})
        self.assertIn(json.loads(answer.choices[0].message.content)["color"], ("red", "blue"))

    def test_models_without_vision_say_so_before_anything_about_addresses(self):
        for url in (data_url(read("one-circle.png")), "https://example.org/a.png"):
            error = self.refused(400, {"model": "text", "messages": [{"role": "user", "content": [image(url)]}]})
            self.assertEqual(error["code"], "capability_mismatch", error)

    def test_addresses(self):
        def ask(url, status=400):
            return self.refused(status, {"messages": [{"role": "user", "content": [image(url)]}]})

        self.assertIn("External URLs are not supported", ask("https://example.org/a.png")["message"])
        self.assertEqual(ask("https://example.org/a.png")["param"], "messages[0].content[0].image_url.url")
        for path in ("/etc/passwd", os.path.join(self.home_of_server, "secret.png"), self.media + "/../secret.png",
                     self.media + "/%2e%2e/secret.png", self.media + "/none.png", self.media):
            self.assertIn("no such file", ask("file://" + path)["message"], path)
        os.symlink(os.path.join(self.home_of_server, "secret.png"), os.path.join(self.media, "link.png"))
        self.assertIn("no such file", ask(f"file://{self.media}/link.png")["message"])
        answer = self.ask([{"role": "user", "content": [image(f"file://{self.media}/one%20circle.png"),
                                                        {"type": "text", "text": "What color is the circle?"}]}])
        self.assertEqual(answer.choices[0].message.content.strip(), "red")

    def test_broken_images_are_refused_by_field(self):
        png = read("one-circle.png")
        for data in (png[:200], b"GIF89a", b"\xff\xd8\xff\xe0 no more", png[:16] + b"\xff\xff\xff\xff" + png[20:], b"text"):
            error = self.refused(400, {"messages": [{"role": "user", "content": [
                {"type": "text", "text": "a"}, image(data_url(data))]}]})
            self.assertIn("messages[0].content[1].image_url", error["message"] + str(error["param"]))
        error = self.refused(400, {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "a"}}]}]})
        self.assertIn("video_url", error["message"])

    def test_what_users_write_is_no_image(self):
        error = self.refused(400, {"messages": [{"role": "system", "content": "<image>"}] + question("one-ring.png", "a")})
        self.assertIn("placeholder", error["message"])
        self.assertEqual(self.ask([{"role": "user", "content": question("one-ring.png", "<image> <image>")[0]["content"]}])
                         .usage.model_dump()["prompt_tokens_details"]["image_tokens"], 64)


@needs_engine
class Florence2Test(ServerTest):
    def test_a_question_needs_an_image(self):
        tiny_models.write_florence2(os.path.join(self.home, "workspaces", "florence2"))
        server = self.serve(env={"MLXK_WORKSPACE_HOME": os.path.join(self.home, "workspaces")})

        def ask(content):
            return server.post(CHAT, {"model": "florence2", "max_tokens": 5, "temperature": 0,
                                      "messages": [{"role": "user", "content": content}]})

        picture = image(data_url(read("one-circle.png")))
        status, _, answer = ask([picture, {"type": "text", "text": "<CAPTION>"}])
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["usage"]["prompt_tokens_details"]["image_tokens"], 10)
        again = ask([picture, {"type": "text", "text": "What does the image describe?"}])[2]
        self.assertEqual(again["choices"][0]["message"]["content"], answer["choices"][0]["message"]["content"])
        self.assertEqual(again["usage"]["prompt_tokens_details"]["cached_images"], 1)
        for path, more in ((CHAT, {"messages": [{"role": "user", "content": "What is a cat?"}]}),
                           ("/v1/completions", {"prompt": "What is a cat?"})):
            status, _, answer = server.post(path, {"model": "florence2", "max_tokens": 5, **more})
            self.assertEqual((status, answer["error"]["code"]), (400, "capability_mismatch"), answer)
            self.assertIn("needs an image. Add an `image_url` part to a message.", answer["error"]["message"])


if __name__ == "__main__":
    unittest.main()

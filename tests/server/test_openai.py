"""Every feature of the server through OpenAI's own Python client; MLXK_TEST_MODEL names a workspace of SmolLM2."""
import base64
import json
import os
import sys
import threading
import unittest

from server_case import MODEL, Server, SharedServerTest, link_model, QWEN_TEMPLATE  # noqa: F401

try:
    import openai
except ImportError:
    openai = None
if openai is None or not os.path.isfile(os.path.join(MODEL, "config.json")):
    print("no model, or no openai package")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"temperature": 0, "max_tokens": 24}
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city",
    "parameters": {"type": "object", "additionalProperties": False, "required": ["city", "unit"],
                   "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}}}}}
PERSON = {"type": "object", "additionalProperties": False, "required": ["name", "age"],
          "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150}}}


class OpenAITest(SharedServerTest):
    @classmethod
    def start(cls, holder):
        home = os.path.join(holder.home, "workspaces")
        link_model(MODEL, os.path.join(home, "smollm2"))
        link_model(MODEL, os.path.join(home, "with-tools"), chat_template=QWEN_TEMPLATE)
        cls.server = holder.serve("--model", "smollm2", env={"MLXK_WORKSPACE_HOME": home})
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="any", max_retries=0, timeout=120)

    def chat(self, messages=None, model="smollm2", **fields):
        return self.client.chat.completions.create(model=model, messages=messages or QUESTION, **{**GREEDY, **fields})

    def complete(self, prompt, **fields):
        return self.client.completions.create(model="smollm2", prompt=prompt, **{**GREEDY, **fields})

    def refused(self, call, *args, kind=None, **kwargs):
        with self.assertRaises(kind or openai.BadRequestError) as caught:
            call(*args, **kwargs)
        return caught.exception


class Chat(OpenAITest):
    def test_knows_the_capital(self):
        answer = self.chat()
        self.assertEqual(answer.object, "chat.completion")
        self.assertIn("Paris", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.model, "smollm2")
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_streamed_text_is_the_whole_text(self):
        whole = self.chat()
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual([c.choices[0].finish_reason for c in chunks if c.choices][-1], "stop")
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)

    def test_length_ends_an_answer(self):
        for field in ("max_tokens", "max_completion_tokens"):
            answer = self.client.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, **{field: 3})
            self.assertEqual(answer.choices[0].finish_reason, "length")
            self.assertEqual(answer.usage.completion_tokens, 3)

    def test_stop_strings_do_not_show(self):
        full = self.chat().choices[0].message.content
        for stop in ("capital of", ["nowhere", "capital of"]):
            answer = self.chat(stop=stop)
            self.assertEqual(answer.choices[0].message.content, full.split("capital of")[0])
            self.assertEqual(answer.choices[0].finish_reason, "stop")
        text = "".join(c.choices[0].delta.content or "" for c in self.chat(stop="capital of", stream=True) if c.choices)
        self.assertEqual(text, full.split("capital of")[0])

    def test_several_choices_share_the_prompt(self):
        one = self.chat()
        three = self.chat(n=3, temperature=1.2, seed=5)
        self.assertEqual([choice.index for choice in three.choices], [0, 1, 2])
        self.assertGreater(len({choice.message.content for choice in three.choices}), 1)
        self.assertEqual(three.usage.prompt_tokens, one.usage.prompt_tokens)
        greedy = self.chat(n=2)
        self.assertEqual([c.message.content for c in greedy.choices], [one.choices[0].message.content] * 2)

    def test_streams_several_choices(self):
        whole = self.chat(n=2, temperature=1.2, seed=9)
        texts = ["", ""]
        for chunk in self.chat(n=2, temperature=1.2, seed=9, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        self.assertEqual(texts, [choice.message.content for choice in whole.choices])

    def test_a_seed_repeats_an_answer(self):
        first = self.chat(temperature=1.5, top_p=1, seed=3).choices[0].message.content
        self.assertEqual(self.chat(temperature=1.5, top_p=1, seed=3).choices[0].message.content, first)
        others = {self.chat(temperature=1.5, top_p=1, seed=seed).choices[0].message.content for seed in range(4, 8)}
        self.assertTrue(others - {first})

    def test_logprobs_are_those_of_the_tokens(self):
        answer = self.chat(logprobs=True, top_logprobs=3)
        content = answer.choices[0].logprobs.content
        self.assertEqual(b"".join(bytes(token.bytes) for token in content).decode(), answer.choices[0].message.content)
        for token in content:
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertLessEqual(token.logprob, 0)
            self.assertEqual(token.top_logprobs[0].token, token.token)  # greedy
            self.assertGreaterEqual(token.top_logprobs[0].logprob, token.top_logprobs[1].logprob)
        streamed = [t for c in self.chat(logprobs=True, top_logprobs=3, stream=True) if c.choices and c.choices[0].logprobs
                    for t in c.choices[0].logprobs.content]
        self.assertEqual([t.token for t in streamed], [t.token for t in content])

    def test_logit_bias_forbids_and_forces(self):
        tokens = self.server.post("/tokenize", {"model": "smollm2", "content": " Paris"})[2]["tokens"]
        answer = self.chat(logit_bias={str(token): -100 for token in tokens})
        self.assertNotIn("Paris", answer.choices[0].message.content)
        forced = self.chat(logit_bias={str(tokens[0]): 100}, max_tokens=3).choices[0].message.content
        self.assertEqual(forced, self.server.post("/detokenize", {"model": "smollm2", "tokens": [tokens[0]] * 3})[2]["content"])

    def test_penalties_and_samplers_are_taken(self):
        repeats = [{"role": "user", "content": "Say hello hello hello."}]
        plain = self.chat(repeats, max_tokens=40, extra_body={"repetition_penalty": 1}).choices[0].message.content
        for more in ({"frequency_penalty": 2}, {"presence_penalty": 2}, {"extra_body": {"repetition_penalty": 1.8}}):
            more.setdefault("extra_body", {}).setdefault("repetition_penalty", 1)
            self.assertNotEqual(self.chat(repeats, max_tokens=40, **more).choices[0].message.content, plain, more)
        again = "I like cats. " * 5 + "I like"
        plain = self.complete(again, extra_body={"repetition_penalty": 1}).choices[0].text
        self.assertTrue(plain.startswith(" cats. I like cats."), plain)
        dry = self.complete(again, extra_body={"repetition_penalty": 1, "dry_multiplier": 5}).choices[0].text
        self.assertFalse(dry.startswith(" cats. I like cats."), dry)
        for more in ({"top_k": 1}, {"min_p": 1}):
            answer = self.chat(temperature=2, extra_body=more).choices[0].message.content
            self.assertEqual(answer, self.chat().choices[0].message.content, more)
        self.chat(temperature=1, extra_body={"xtc_probability": 1, "xtc_threshold": 0.1, "top_k": 40})

    def test_system_and_developer_are_heard(self):
        for role in ("system", "developer"):
            rendered = self.server.post("/apply-template", {"model": "smollm2", "messages": [
                {"role": "system", "content": "Speak like a pirate."}, *QUESTION]})[2]["prompt"]
            self.assertIn("pirate", rendered)
            answer = self.chat([{"role": role, "content": "Speak like a pirate."}, *QUESTION])
            self.assertGreater(answer.usage.prompt_tokens, self.chat([{"role": role, "content": "Hi"}, *QUESTION]).usage.prompt_tokens)

    def test_content_parts_are_text(self):
        parts = [{"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]}]
        self.assertEqual(self.chat(parts).choices[0].message.content, self.chat().choices[0].message.content)

    def test_many_at_once_answer_as_alone(self):
        questions = [[{"role": "user", "content": f"Count from {n} to {n + 5}."}] for n in range(12)]
        alone = [self.chat(q).choices[0].message.content for q in questions]
        together = [None] * len(questions)

        def ask(index):
            together[index] = self.chat(questions[index]).choices[0].message.content

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(questions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)

    def test_a_prefix_that_was_seen_is_counted_as_cached(self):
        system = {"role": "system", "content": "You answer briefly. " * 60}
        self.chat([system, {"role": "user", "content": "One?"}])
        second = self.chat([system, {"role": "user", "content": "Two?"}])
        self.assertGreater(second.usage.prompt_tokens_details.cached_tokens, 200)
        self.assertLess(second.usage.prompt_tokens_details.cached_tokens, second.usage.prompt_tokens)


class Structured(OpenAITest):
    def test_a_json_schema_is_kept(self):
        answer = self.chat([{"role": "user", "content": "Tell me of Ada, 36 years old, as JSON."}], max_tokens=60, response_format={
            "type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}})
        person = json.loads(answer.choices[0].message.content)
        self.assertEqual(sorted(person), ["age", "name"])
        self.assertTrue(0 <= person["age"] <= 150)

    def test_the_client_parses_into_a_model(self):
        import pydantic

        class Person(pydantic.BaseModel):
            name: str = pydantic.Field(max_length=12)
            age: int = pydantic.Field(ge=0, le=150)

        answer = self.client.chat.completions.parse(model="smollm2", messages=[
            {"role": "user", "content": "Tell me of Ada, 36 years old, as JSON."}], max_tokens=60, temperature=0, response_format=Person)
        self.assertIsInstance(answer.choices[0].message.parsed, Person)

    def test_json_object_is_an_object(self):
        answer = self.chat([{"role": "user", "content": "Name two colours as JSON."}], max_tokens=200, temperature=0.3, seed=1,
                           response_format={"type": "json_object"})
        if answer.choices[0].finish_reason == "stop":
            self.assertIsInstance(json.loads(answer.choices[0].message.content), dict)
        self.assertTrue(answer.choices[0].message.content.lstrip().startswith("{"))

    def test_streams_and_batches_keep_their_schemas(self):
        answers = [None] * 6

        def ask(index):
            schema = {"type": "object", "properties": {f"key{index}": {"type": "integer", "maximum": 1000, "minimum": 0}}, "required": [f"key{index}"],
                      "additionalProperties": False}
            stream = self.chat(max_tokens=40, temperature=0.8, seed=index, stream=True, response_format={
                "type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
            answers[index] = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(answers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, answer in enumerate(answers):
            self.assertEqual(list(json.loads(answer)), [f"key{index}"])

    def test_a_bad_schema_is_refused(self):
        error = self.refused(self.chat, response_format={
            "type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}})
        self.assertIn("response_format", str(error.param or error))

    def test_grammars_hold(self):
        answer = self.chat(extra_body={"grammar": {"type": "regex", "source": "(yes|no)"}})
        self.assertIn(answer.choices[0].message.content, ("yes", "no"))
        answer = self.chat(extra_body={"grammar": {"type": "lark", "source": 'start: "a" "b"+ "c"'}}, max_tokens=20, temperature=1, seed=1)
        self.assertRegex(answer.choices[0].message.content, "^ab+c?$")


class Tools(OpenAITest):
    def ask(self, **fields):
        return self.chat([{"role": "user", "content": "What is the weather in Paris?"}], model="with-tools",
                         tools=[WEATHER], **{"max_tokens": 80, **fields})

    def assert_call(self, call):
        self.assertEqual(call.function.name, "get_weather")
        arguments = json.loads(call.function.arguments)
        self.assertEqual(sorted(arguments), ["city", "unit"])
        self.assertIn(arguments["unit"], ("celsius", "fahrenheit"))

    def test_a_required_call_keeps_its_schema(self):
        for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
            answer = self.ask(tool_choice=choice, parallel_tool_calls=False)
            self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
            self.assertEqual(len(answer.choices[0].message.tool_calls), 1)
            self.assertTrue(answer.choices[0].message.tool_calls[0].id)
            self.assert_call(answer.choices[0].message.tool_calls[0])

    def test_streamed_calls_are_whole_calls(self):
        name, arguments, reason = "", "", None
        for chunk in self.ask(tool_choice="required", parallel_tool_calls=False, stream=True):
            for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                self.assertEqual(call.index, 0)
                name += call.function.name or ""
                arguments += call.function.arguments or ""
            reason = chunk.choices[0].finish_reason if chunk.choices and chunk.choices[0].finish_reason else reason
        whole = self.ask(tool_choice="required", parallel_tool_calls=False).choices[0].message.tool_calls[0]
        self.assertEqual((name, arguments, reason), (whole.function.name, whole.function.arguments, "tool_calls"))

    def test_a_round_trip_with_a_result(self):
        call = self.ask(tool_choice="required", parallel_tool_calls=False).choices[0].message
        answer = self.chat([{"role": "user", "content": "What is the weather in Paris?"}, call.to_dict(),
                            {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "18 degrees, sunny"}],
                           model="with-tools", tools=[WEATHER], tool_choice="none")
        self.assertTrue(answer.choices[0].message.content)
        self.assertFalse(answer.choices[0].message.tool_calls)

    def test_a_template_without_tools_gets_the_generic_form(self):
        """The default model in an agent's loop: a call, its result, an answer; whole and streamed."""
        question = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The weather in Paris?"}]
        ask = dict(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, max_tokens=80)
        answer = self.chat(question, **ask).choices[0]
        self.assertEqual(answer.finish_reason, "tool_calls")
        call = answer.message.tool_calls[0]
        self.assert_call(call)
        name, arguments = "", ""
        for chunk in self.chat(question, stream=True, **ask):
            for piece in chunk.choices[0].delta.tool_calls or []:
                name += piece.function.name or ""
                arguments += piece.function.arguments or ""
        self.assertEqual((name, arguments), (call.function.name, call.function.arguments))
        after = self.chat([*question, answer.message.model_dump(),
                           {"role": "tool", "tool_call_id": call.id, "content": "18 degrees, sunny"}],
                          tools=[WEATHER], tool_choice="none", max_tokens=20).choices[0]
        self.assertTrue(after.message.content)
        self.assertFalse(after.message.tool_calls)

    def test_a_plain_question_beside_tools_is_answered_in_words(self):
        answer = self.chat([{"role": "user", "content": "What is the capital of France?"}], tools=[WEATHER],
                           max_tokens=40).choices[0]
        self.assertFalse(answer.message.tool_calls)
        self.assertIn("Paris", answer.message.content)


class History(OpenAITest):
    def test_what_was_broken_before_ends_no_conversation(self):
        call = {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Par'}}
        for broken in ([{"role": "assistant", "content": None, "tool_calls": [call]},
                        {"role": "tool", "tool_call_id": "a", "content": "18"}],
                       [{"role": "assistant", "tool_calls": [{**call, "id": None}]}, {"role": "tool", "content": {"celsius": 18}}],
                       [{"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{"}},
                        {"role": "function", "name": "get_weather", "content": "18"}],
                       [{"role": "assistant", "content": None}], [{"role": "assistant", "content": ""}],
                       [{"role": "assistant"}], [{"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}],
                       [{"role": "narrator", "content": "It rains."}], [{"role": "user", "content": [{"type": "odd", "odd": 1}]}]):
            for model in ("smollm2", "with-tools"):
                body = {"model": model, "messages": [*QUESTION, *broken, *QUESTION], "max_tokens": 2, "temperature": 0}
                status, _, answer = self.server.post("/v1/chat/completions", body)
                self.assertEqual(status, 200, (broken, answer))

    def test_an_unknown_role_writes_no_special_tokens(self):
        def tokens(role):
            return self.chat([{"role": role, "content": "a<|im_end|>b"}, *QUESTION], max_tokens=1).usage.prompt_tokens

        plain = len(self.server.post("/tokenize", {"model": "smollm2", "content": "a<|im_end|>b"})[2]["tokens"])
        self.assertGreater(tokens("narrator") - tokens("assistant"), 0)
        self.assertLess(plain, 5)


class Completions(OpenAITest):
    def test_goes_on_with_text(self):
        answer = self.complete("The capital of France is")
        self.assertEqual(answer.object, "text_completion")
        self.assertIn("Paris", answer.choices[0].text)

    def test_takes_ids_and_several_prompts(self):
        ids = self.server.post("/tokenize", {"model": "smollm2", "content": "The capital of France is"})[2]["tokens"]
        text = self.complete("The capital of France is").choices[0].text
        self.assertEqual(self.complete(ids).choices[0].text, text)
        several = self.complete(["The capital of France is", "Two and two make"])
        self.assertEqual([choice.index for choice in several.choices], [0, 1])
        self.assertEqual(several.choices[0].text, text)
        self.assertEqual([choice.text for choice in self.complete([ids, ids]).choices], [text, text])

    def test_streams(self):
        text = "".join(chunk.choices[0].text for chunk in self.complete("The capital of France is", stream=True) if chunk.choices)
        self.assertEqual(text, self.complete("The capital of France is").choices[0].text)

    def test_echo_with_logprobs_scores_the_prompt(self):
        answer = self.complete("The capital of France is", echo=True, logprobs=2, max_tokens=2).choices[0]
        self.assertTrue(answer.text.startswith("The capital of France is"))
        self.assertIsNone(answer.logprobs.token_logprobs[0])
        self.assertEqual("".join(answer.logprobs.tokens), answer.text)
        self.assertEqual(len(answer.logprobs.tokens), len(answer.logprobs.token_logprobs))
        self.assertTrue(all(value <= 0 for value in answer.logprobs.token_logprobs[1:]))
        self.assertEqual(answer.logprobs.text_offset[1], len(answer.logprobs.tokens[0]))

    def test_a_suffix_is_refused_by_name(self):
        self.assertEqual(self.refused(self.complete, "a", suffix="b").param, "suffix")


class Refusals(OpenAITest):
    def test_bad_values_name_their_field(self):
        cases = {"temperature": -1, "top_p": 2, "n": 0, "max_tokens": -2, "presence_penalty": 3, "frequency_penalty": -3,
                 "stop": ["a"] * 2000, "top_logprobs": 21, "logit_bias": {"99999999": 1}, "seed": 1.5, "stream": 1, "tools": {}}
        for field, value in cases.items():
            error = self.refused(self.client.chat.completions.create, model="smollm2", messages=QUESTION,
                                 extra_body={field: value, **({"logprobs": True} if field == "top_logprobs" else {})})
            self.assertIn(field, error.param or "", field)

    def test_messages_are_checked(self):
        for messages, where in (([], "messages"), ([{"role": "<|im_end|>", "content": "x"}], "messages[0].role"),
                                ([{"role": "user", "content": 5}], "messages[0].content"),
                                ([{"role": "user", "content": [{"type": "file"}]}], "messages[0].content[0]")):
            error = self.refused(self.client.chat.completions.create, model="smollm2", messages=messages)
            self.assertIn(where, error.param or "", messages)

    def test_an_image_is_refused_by_a_text_model(self):
        pixel = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
        self.refused(self.chat, [{"role": "user", "content": [
            {"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}}]}])

    def test_an_unknown_model_is_not_found(self):
        for call in (lambda: self.chat(model="nowhere/nothing"), lambda: self.client.models.retrieve("nowhere/nothing"),
                     lambda: self.client.completions.create(model="/etc", prompt="x")):
            error = self.refused(call, kind=openai.NotFoundError)
            self.assertEqual(error.type, "model_not_found")

    def test_what_is_not_built_in_says_so(self):
        error = self.refused(lambda: self.client.images.generate(model="smollm2", prompt="x"), kind=openai.InternalServerError)
        self.assertEqual(error.status_code, 501)

    def test_a_text_model_gives_no_vectors(self):
        error = self.refused(lambda: self.client.embeddings.create(model="smollm2", input="x"))
        self.assertEqual((error.status_code, error.code), (400, "capability_mismatch"))

    def test_a_prompt_beyond_the_context_is_refused_before_prefill(self):
        self.assertIn("context", str(self.refused(self.chat, [{"role": "user", "content": "word " * 20000}])))


class Models(OpenAITest):
    def test_lists_and_describes(self):
        models = {model.id: model for model in self.client.models.list()}
        self.assertEqual(sorted(models), ["smollm2", "with-tools"])
        self.assertEqual(list(models)[0], "smollm2")  # the pinned one
        model = self.client.models.retrieve("smollm2").to_dict()
        self.assertEqual(model["context_length"], 8192)
        self.assertIn("chat", model["capabilities"])
        self.assertEqual(model["quantization"]["bits"], 4)

    def test_an_answer_can_be_left_early(self):
        with self.chat(stream=True, max_tokens=2000, messages=[{"role": "user", "content": "Write a long story."}]) as stream:
            next(iter(stream))
        self.assertIn("Paris", self.chat().choices[0].message.content)

    def test_many_clients_at_once_asynchronously(self):
        import asyncio

        async def ask_all():
            async with openai.AsyncOpenAI(base_url=self.server.url + "/v1", api_key="any", max_retries=0) as client:
                return await asyncio.gather(*(client.chat.completions.create(model="smollm2", messages=QUESTION, **GREEDY)
                                              for _ in range(40)))

        answers = {answer.choices[0].message.content for answer in asyncio.run(ask_all())}
        self.assertEqual(len(answers), 1)


if __name__ == "__main__":
    unittest.main()

"""`mlxk run --image`: refusals and, with a small trained model (shapes-smolvlm-4bit in
MLXK_TEST_MODELS), answers about images."""
import hashlib
import json
import os
import unittest

import tiny_models
from program import MODEL, ProgramTest, needs_engine

VISION_MODEL = os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "shapes-smolvlm-4bit")
SHAPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "vision", "shapes")
CIRCLE = os.path.join(SHAPES, "one-circle.png")
RING = os.path.join(SHAPES, "one-ring.png")
needs_model = unittest.skipUnless(os.path.isfile(os.path.join(VISION_MODEL, "config.json")), "no trained vision model")


class Refusals(ProgramTest):
    def test_images_that_are_not_there_or_too_many_at_a_time(self):
        done = self.run_program("run", "./none", "a", "--image", "missing.png")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"Image not found: missing.png", done.stderr)
        self.write("big.png", b"\0" * (10 * 1024 * 1024 + 1))
        self.assertIn(b"Image too large (>10MB): big.png", self.run_program("run", "./none", "a", "--image", "big.png").stderr)
        for chunk in ("0", "6"):
            self.assertNotEqual(self.run_program("run", "./none", "a", "--chunk", chunk, "--image", CIRCLE).returncode, 0)


@needs_engine
class Florence2(ProgramTest):
    """A model that answers nothing but questions about an image."""

    def setUp(self):
        super().setUp()
        self.model = os.path.join(self.home, "florence2")
        tiny_models.write_florence2(self.model)

    def refusal(self, *args):
        done = self.run_program("run", self.model, *args)
        self.assertEqual(done.returncode, 1, done.stdout)
        return done.stderr.decode()

    def test_a_task_is_the_sentence_of_its_training(self):
        def ask(prompt):
            return self.run_json("run", self.model, prompt, "--image", CIRCLE, "--temperature", "0", "--max-tokens", "6",
                                 "--json")["data"]

        task, sentence, other = (ask(p) for p in ("<CAPTION>", "What does the image describe?", "What is it?"))
        self.assertEqual(task["usage"]["prompt_tokens"], 10 + 1 + len("What does the image describe?") + 1)
        self.assertEqual(task["response"], sentence["response"])
        self.assertLess(other["usage"]["prompt_tokens"], task["usage"]["prompt_tokens"])
        region = ask("<REGION_TO_CATEGORY><loc_1><loc_2><loc_13><loc_4>")
        self.assertEqual(region["usage"]["prompt_tokens"], 10 + 1 + len("What is the region ?") + 4 + 1)
        self.assertIn("the task <CAPTION> must be the whole prompt",
                      self.refusal("<CAPTION> of it", "--image", CIRCLE))

    def test_text_alone_is_refused(self):
        self.assertIn("needs an image. Use `--image FILE`.", self.refusal("What is a cat?"))

    def test_it_is_not_converted(self):
        done = self.run_program("convert", self.model, "./converted", "--quantize", "8")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"it needs an image", done.stderr)


@needs_engine
@needs_model
class Answers(ProgramTest):
    def ask(self, *args, **kwargs):
        done = self.run_program("run", VISION_MODEL, *args, "--temperature", "0", "--max-tokens", "24", **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def test_one_image_with_its_table(self):
        answer = self.ask("What color is the circle?", "--image", CIRCLE)
        with open(CIRCLE, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()[:8]
        self.assertTrue(answer.startswith("<details>\n<summary>📸 Image Metadata (1 image)</summary>\n"), answer)
        self.assertIn(f"| 1 | image_{digest}.jpeg | one-circle.png | - | - | - |", answer)
        self.assertEqual(answer.split("</details>\n\n")[1].strip(), "red")

    def test_from_a_pipe_and_without_exif(self):
        with open(CIRCLE, "rb") as file:
            data = file.read()
        answer = self.ask("What color is the circle?", "--image", "-", stdin=data, env={"MLXK2_EXIF_METADATA": "0"})
        self.assertIn("| Image | Filename |\n", answer)
        self.assertEqual(answer.split("</details>\n\n")[1].strip(), "red")

    def test_several_images_in_chunks(self):
        answer = self.ask("What color is the shape?", "--image", CIRCLE, RING, "--chunk", "1")
        self.assertIn("📸 Chunk 1/2: Images 1-1", answer)
        self.assertIn("📸 Chunk 2/2: Images 2-2", answer)
        data = self.run_json("run", VISION_MODEL, "What color is the circle?", "--image", CIRCLE, "--temperature", "0",
                             "--json")["data"]
        self.assertTrue(data["response"].strip().endswith("red"), data)
        self.assertGreater(data["usage"]["prompt_tokens"], 64)

    def test_text_alone_needs_no_image(self):
        done = self.run_program("run", VISION_MODEL, "Say yes.", "--max-tokens", "4")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_models_without_vision_say_so(self):
        done = self.run_program("run", MODEL, "a", "--image", CIRCLE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"does not support vision inputs", done.stderr)

    def test_broken_images_name_the_file(self):
        self.write("broken.png", b"\x89PNG\r\n\x1a\n nothing")
        done = self.run_program("run", VISION_MODEL, "a", "--image", "broken.png")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"broken.png", done.stderr)


if __name__ == "__main__":
    unittest.main()

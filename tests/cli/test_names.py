"""Names that could lead elsewhere, and links out of the cache: every command that takes a model refuses them."""
import os
import unittest

from program import ProgramTest

NAMES = ["", "..", "../x", "a/../b", "./../../etc", "a\nb", "a\x7fb", "x" * 200, "-x", "org/ x", "оrg/model", "o/m@../../x", "o/m@", "@x",
         "models--o--m", "o//m", "/o/m", "o/m/", "o/m@\u202emain"]


class Names(ProgramTest):
    def setUp(self):
        super().setUp()
        self.write("hf/hub/models--o--m/snapshots/" + "a" * 40 + "/config.json", b'{"model_type":"llama"}')
        self.write("outside/config.json", b'{"model_type":"llama"}')
        self.env["HF_HUB_OFFLINE"] = "1"

    def files(self):
        return sorted(os.path.join(parent, name) for parent, _, names in os.walk(self.home) for name in names)

    def test_are_refused_and_change_nothing(self):
        before = self.files()
        for name in NAMES:
            for command in (["show"], ["health"], ["rm", "-f"], ["pull"], ["clone"], ["verify"], ["run"]):
                target = [os.path.join(self.home, "t")] if command == ["clone"] else ["hi"] if command == ["run"] else []
                with self.subTest(name=name, command=command[0]):
                    done = self.run_program(*command, "--json", "--", name, *target)
                    if command == ["health"] and done.returncode == 0:  # without models nothing is unhealthy
                        self.assertIn(b'"total": %d' % (1 if name == "" else 0), done.stdout)
                        continue
                    self.assertIn(done.returncode, (1, 2), done.stdout)
        self.assertEqual(self.files(), before)

    def test_a_link_out_of_the_cache_is_no_snapshot(self):
        folder = os.path.join(self.home, "hf/hub/models--o--m/snapshots")
        os.symlink(os.path.join(self.home, "outside"), os.path.join(folder, "b" * 40))
        for spec in ["o/m@" + "b" * 40, "o/m@bbbb"]:
            self.assertEqual(self.run_json("show", spec, "--json", code=1)["error"]["type"], "hash_not_found")
        self.run_program("rm", "o/m@bbbb", "--json")
        self.run_program("rm", "o/m", "--json")
        self.assertTrue(os.path.exists(os.path.join(self.home, "outside/config.json")))


if __name__ == "__main__":
    unittest.main()

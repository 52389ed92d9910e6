"""Two minutes of mixed load (load.py) on a real model; MLXK_LOAD_SECONDS sets another duration."""
import os
import subprocess
import sys
import unittest

from server_case import MODEL, ServerTest, link_model, QWEN_TEMPLATE

if not os.path.isfile(os.path.join(MODEL, "config.json")):
    print("no model: MLXK_TEST_MODEL is not set")
    sys.exit(77)  # ctest's SKIP_RETURN_CODE


class UnderLoad(ServerTest):
    def test_no_wrong_answer_no_growth_no_stuck_request(self):
        home = os.path.join(self.home, "workspaces")
        link_model(MODEL, os.path.join(home, "smollm2"))
        link_model(MODEL, os.path.join(home, "with-tools"), chat_template=QWEN_TEMPLATE)
        server = self.serve("--model", "smollm2", "--prefix-cache", "64M", env={"MLXK_WORKSPACE_HOME": home})
        load = os.path.join(os.path.dirname(os.path.abspath(__file__)), "load.py")
        done = subprocess.run([sys.executable, load, server.url, "smollm2", "--tools-model", "with-tools", "--pid", str(server.process.pid),
                               "--seconds", os.environ.get("MLXK_LOAD_SECONDS", "120")], capture_output=True, text=True)
        print(done.stdout, file=sys.stderr)
        self.assertEqual(done.returncode, 0, done.stderr + server.log()[-3000:])
        self.assertEqual(server.stop(), 0, server.log())


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Every rule of check_layering.py is seen to fail on a tree that breaks it."""
import tempfile
import unittest
from pathlib import Path

from check_layering import check

CLEAN = {
    "src/base/CMakeLists.txt": "mlxk_library(NAME base LIBS fmt::fmt)",
    "src/base/error.h": "#pragma once\n#include <string>\n",
    "src/json/CMakeLists.txt": "mlxk_library(NAME json DEPS base)",
    "src/json/json.h": '#include "base/error.h"\n',
    "src/kernels/CMakeLists.txt": "mlxk_library(NAME kernels DEPS base LIBS mlxk_mlx)",
    "src/kernels/cpu_ops.cpp": '#include "mlx/mlx.h"\n#include <mlx/ops.h>\n',
    "src/models/CMakeLists.txt": "mlxk_library(NAME models DEPS kernels)",
    "src/models/models.inc": "",
    "src/policy/CMakeLists.txt": "mlxk_library(NAME policy\n  DEPS json  # an arrow\n  TEST_DEPS probe)",
    "src/policy/policy.cpp": '#include "policy/policy.h"\n#include "base/error.h"\n',
    "src/policy/policy.h": "",
    "src/policy/policy_test.cpp": '#include "probe/probe.h"\n',
    "src/probe/CMakeLists.txt": "mlxk_library(NAME probe DEPS base)",
    "src/probe/probe.h": "",
    "src/tokenizer/CMakeLists.txt": "mlxk_library(NAME tokenizer DEPS base)",
    "src/tokenizer/tokenizer.cpp": '#include "mlxk_rust.h"\n',
    "apps/mlxk/CMakeLists.txt": "target_link_libraries(mlxk_app PUBLIC mlxk_options mlxk_policy CLI11::CLI11)",
    "apps/mlxk/parser.cpp": '#include <CLI/CLI.hpp>\n#include "parser.h"\n#include "policy/policy.h"\n',
    "tests/data/long.txt": "x\n" * 1000,
}


class Layering(unittest.TestCase):
    def violations(self, changes):
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**CLEAN, **changes}.items():
                path = Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check(Path(root))

    def refused(self, name, text, message):
        found = self.violations({name: text})
        self.assertEqual(len(found), 1, found)
        self.assertIn(message, found[0])

    def test_a_clean_tree_passes(self):
        self.assertEqual(self.violations({}), [])

    def test_an_include_needs_an_arrow(self):
        self.refused("src/json/a.cpp", '#include "probe/probe.h"\n', "DEPS does not lead to probe")
        self.refused("src/policy/a.cpp", '#  include "probe/probe.h"\n', "DEPS does not lead to probe")
        self.refused("apps/mlxk/a.cpp", '#include "probe/probe.h"\n', "DEPS does not lead to probe")

    def test_a_header_of_tests_alone_may_use_their_arrows(self):
        cases = {"src/policy/cases.h": '#include "probe/probe.h"\n', "src/policy/policy_test.cpp": '#include "policy/cases.h"\n'}
        self.assertEqual(self.violations(cases), [])
        self.assertEqual(len(self.violations({**cases, "src/policy/a.cpp": '#include "policy/cases.h"\n'})), 1)

    def test_the_table_of_models_is_an_exception_for_probe_and_policy_alone(self):
        self.assertEqual(self.violations({"src/probe/a.cpp": '#include "models/models.inc"\n'}), [])
        self.refused("src/json/a.cpp", '#include "models/models.inc"\n', "DEPS does not lead to models")

    def test_mlx_stays_in_the_engine(self):
        self.refused("src/json/a.cpp", '#include "mlx/array.h"\n', "includes mlx/array.h; only")
        self.refused("apps/mlxk/a.cpp", "#include <mlx/array.h>\n", "includes mlx/array.h; only")
        found = self.violations({"src/probe/CMakeLists.txt": "mlxk_library(NAME probe DEPS models)"})
        self.assertIn("src/probe: leads to kernels, models, which load libmlx", found)

    def test_cycles_are_found(self):
        found = self.violations({"src/base/CMakeLists.txt": "mlxk_library(NAME base DEPS json)"})
        self.assertIn("src/base: its arrows lead back to itself", found)
        self.assertIn("src/json: its arrows lead back to itself", found)

    def test_unknown_rooms_and_files_are_found(self):
        self.refused("src/json/CMakeLists.txt", "mlxk_library(NAME json DEPS base cellar)", "unknown room cellar")
        self.refused("src/json/a.cpp", '#include "base/gone.h"\n', "does not exist")
        self.refused("src/json/a.cpp", '#include "../base/error.h"\n', "name it from src/")
        self.refused("src/loft/a.cpp", "", "src/loft: no CMakeLists.txt")

    def test_the_rust_header_belongs_to_tokenizer(self):
        self.refused("src/json/a.cpp", '#include "mlxk_rust.h"\n', "only tokenizer may")

    def test_cli11_is_in_one_translation_unit(self):
        self.refused("apps/mlxk/b.cpp", "#include <CLI/CLI.hpp>\n", "got apps/mlxk/b.cpp, apps/mlxk/parser.cpp")
        self.refused("apps/mlxk/parser.cpp", "", "got none")
        self.refused("src/json/a.cpp", "#include <CLI/CLI.hpp>\n", "only apps may")

    def test_a_type_is_defined_once(self):
        defined = "namespace mlxk {\nstruct Answer {\n  int n;\n};\n}\n"
        for other in ("class Answer final : public Base {\n};", "enum class Answer : int { yes };", "enum Answer { no };",
                      "template <class T, int N = 1>\nstruct Answer {};", 'struct __attribute__((visibility("x"))) Answer {};',
                      "int f() { return 1; }\nunion Answer { int i; };"):
            found = self.violations({"src/base/answer.h": defined, "src/json/b.cpp": f"namespace mlxk {{\n{other}\n}}"})
            self.assertEqual(found, ["mlxk::Answer is defined in src/base/answer.h and src/json/b.cpp"], other)
        for other in ("class Answer;", "struct Answer f();", "namespace {\nstruct Answer {};\n}", "struct A { struct Answer {}; };",
                      "void f() { struct Answer {}; }", "namespace b {\nstruct Answer {};\n}", "// struct Answer {\n",
                      'const char* s = "struct Answer {";', "template <>\nstruct Answer<int> {};", "struct Answer::Part {};"):
            found = self.violations({"src/base/answer.h": defined, "src/json/b.cpp": f"namespace mlxk {{\n{other}\n}}"})
            self.assertEqual(found, [], other)

    def test_long_files_are_found(self):
        self.assertEqual(self.violations({"src/json/a.cpp": "\n" * 600}), [])
        self.refused("src/json/a.cpp", "\n" * 601, "601 lines, more than 600")
        self.refused("tools/make-x", "\n" * 601, "601 lines, more than 600")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""check_layering.py ROOT: checks every #include of src and apps against the arrows that the rooms' CMakeLists.txt state.

A room is a folder of src whose CMakeLists.txt calls mlxk_library(NAME … DEPS …). It may include itself, its DEPS and
theirs; its tests TEST_DEPS too. No two files define one type (type_names.py). Prints one line per violation and exits 1
when there is any.
"""
import re
import sys
from pathlib import Path

from type_names import types_defined

# The rooms that may include mlx/; they become the one shared library that is opened at first use.
MLX_ROOMS = {"kernels", "nn", "models", "sample", "convert", "backend"}
# These may include the table of names without the engine.
ALLOWED = {("probe", "models/models.inc")}
MAX_LINES = 600
SOURCE_SUFFIXES = {".h", ".cpp", ".inc", ".rs", ".py", ".cmake", ".txt", ".sh", ""}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
KEYWORDS = {"NAME", "DEPS", "LIBS", "TEST_DEPS", "TEST_LABEL", "SEPARATE"}


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def parse_room(cmake_text):
    """The arguments of mlxk_library by keyword; None when the file calls no mlxk_library."""
    text = re.sub(r"#.*", "", cmake_text)
    call = re.search(r"mlxk_library\s*\(([^)]*)\)", text)
    if not call:
        return None
    arguments, keyword = {}, None
    for word in call.group(1).split():
        if word in KEYWORDS:
            keyword = word
            arguments.setdefault(keyword, [])
        elif keyword:
            arguments[keyword].append(word)
    return arguments


def parse_app(cmake_text):
    """The rooms that the program links: the mlxk_<room> of its target_link_libraries."""
    text = re.sub(r"#.*", "", cmake_text)
    words = " ".join(re.findall(r"target_link_libraries\s*\(([^)]*)\)", text))
    return set(re.findall(r"\bmlxk_(\w+)", words)) - {"options", "app"}


def closure(names, deps):
    """`names` and everything reachable from them."""
    reached, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo.extend(deps.get(name, ()))
    return reached


def cycles(deps):
    return sorted(room for room, direct in deps.items() if room in closure(direct, deps))


def sources(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in {".h", ".cpp", ".inc"})


def includes(path):
    """(quote, target) of every #include."""
    return INCLUDE.findall(read(path))


def test_files(src, room):
    """The room's tests, and the headers that nothing else of it includes."""
    files = sources(src / room)
    tests = {p for p in files if p.stem.endswith("_test") or "testing" in p.relative_to(src).parts}
    by_tests = {target for p in tests for _, target in includes(p)}
    by_rest = {target for p in files if p not in tests for _, target in includes(p)}
    return tests | {p for p in files if str(p.relative_to(src)) in by_tests - by_rest}


def check(root):
    """Every violation as one line of text."""
    src, found = root / "src", []
    rooms = {}
    for cmake in sorted(src.glob("*/CMakeLists.txt")):
        arguments = parse_room(read(cmake))
        name = cmake.parent.name
        if arguments is None or arguments.get("NAME") != [name]:
            found.append(f"src/{name}/CMakeLists.txt: no mlxk_library(NAME {name} …)")
        rooms[name] = arguments or {}
    for folder in sorted(p for p in src.iterdir() if p.is_dir() and p.name not in rooms):
        found.append(f"src/{folder.name}: no CMakeLists.txt")
    deps = {name: arguments.get("DEPS", []) for name, arguments in rooms.items()}
    test_deps = {name: arguments.get("TEST_DEPS", []) for name, arguments in rooms.items()}

    for room in rooms:
        for dep in deps[room] + test_deps[room]:
            if dep not in rooms:
                found.append(f"src/{room}/CMakeLists.txt: unknown room {dep}")
        if room not in MLX_ROOMS and (engine := closure(deps[room], deps) & MLX_ROOMS):
            found.append(f"src/{room}: leads to {', '.join(sorted(engine))}, which load libmlx")
    for room in cycles(deps):
        found.append(f"src/{room}: its arrows lead back to itself")

    for room in rooms:
        reach, test_reach = closure([room], deps), closure([room, *test_deps[room]], deps)
        tests = test_files(src, room)
        for path in sources(src / room):
            found += check_includes(root, path, room, test_reach if path in tests else reach)

    cli11 = []
    for app in sorted((root / "apps").glob("*/CMakeLists.txt")):
        reach = closure(parse_app(read(app)), deps)
        for path in sources(app.parent):
            found += check_includes(root, path, None, reach, app.parent)
            if any(target.startswith("CLI/") for _, target in includes(path)):
                cli11.append(path.relative_to(root))
    if len(cli11) != 1 or cli11[0].suffix != ".cpp":
        found.append(f"CLI11 belongs into one translation unit of apps, got {', '.join(map(str, cli11)) or 'none'}")
    return found + check_types(root) + check_lengths(root)


def check_includes(root, path, room, reach, app=None):
    """The violations of one file of `room` (None: of the folder `app`) that may include the rooms of `reach`."""
    found, place = [], path.relative_to(root)
    for quote, target in includes(path):
        head = target.split("/")[0]
        if head == "mlx":
            if room not in MLX_ROOMS:
                found.append(f"{place}: includes {target}; only {', '.join(sorted(MLX_ROOMS))} may")
        elif target.endswith("mlxk_rust.h"):
            if room != "tokenizer":
                found.append(f"{place}: includes {target}; only tokenizer may")
        elif head == "CLI" and room is not None:
            found.append(f"{place}: includes {target}; only apps may")
        elif quote == '"' and ".." in target.split("/"):
            found.append(f"{place}: includes {target}; name it from src/")
        elif quote == '"' and app and (app / target).is_file():
            continue  # the app's own
        elif quote == '"' and "/" in target:
            if not (root / "src" / target).is_file():
                found.append(f"{place}: includes {target}, which does not exist")
            elif head not in reach and (room, target) not in ALLOWED:
                found.append(f"{place}: includes {target}, but DEPS does not lead to {head}")
    return found


def check_types(root):
    """Types of one name in two files: in one program, the linker keeps the inline functions of one of them."""
    places = {}
    for path in sources(root / "src") + sources(root / "apps"):
        if path.parts[-2] != "isa":  # fragments of one source an instruction set
            for name in types_defined(read(path)):
                places.setdefault(name, []).append(str(path.relative_to(root)))
    return [f"{name} is defined in {' and '.join(paths)}" for name, paths in sorted(places.items()) if len(paths) > 1]


def check_lengths(root):
    found = []
    for top in ("src", "apps", "rust", "cmake", "tests", "tools", "bench"):
        for path in sorted((root / top).rglob("*")):
            parts = path.relative_to(root).parts
            if not path.is_file() or path.suffix not in SOURCE_SUFFIXES or {"data", "corpus", "target"} & set(parts):
                continue
            lines = read(path).count("\n")
            if lines > MAX_LINES:
                found.append(f"{path.relative_to(root)}: {lines} lines, more than {MAX_LINES}; look for the second concept")
    return found


if __name__ == "__main__":
    violations = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(violations) if violations else "every #include follows an arrow")
    sys.exit(1 if violations else 0)

#!/usr/bin/env python3
"""Records transformers' renderings of every template and message shape of tests/data/templates.

    tools/record_templates.py tests/data/templates [--full expected.jsonl]

Writes expected.tsv there: template, shape, `text` with length in bytes and FNV-1a hash, or `error` with the kind of
exception and its message. --full also writes the texts themselves, one JSON object a line, to compare a difference
(set MLXK_TEST_TEMPLATES to that file). Needs transformers 5.14.1.
"""
import argparse
import datetime
import json
import pathlib

from transformers.utils import chat_template_utils as utils


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--full", type=pathlib.Path)
    args = parser.parse_args()
    data = json.loads((args.folder / "shapes.json").read_text(encoding="utf-8"))

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(data["now"], datetime.timezone.utc).replace(tzinfo=tz)

    utils.datetime = Clock
    rows, full = [], []
    for path in sorted(args.folder.glob("*.jinja")):
        source = path.read_bytes().decode()
        for shape, options in data["shapes"].items():
            options = dict(options)
            messages = options.pop("messages")
            case = {"template": path.stem, "shape": shape}
            try:
                texts, _ = utils.render_jinja_template(
                    conversations=[messages], chat_template=source, **data["special_tokens"], **options)
                case["text"] = texts[0]
                text = texts[0].encode()
                rows.append([path.stem, shape, "text", str(len(text)), f"{fnv1a(text):016x}"])
            except Exception as error:  # any exception of a template is recorded
                case |= {"error": type(error).__name__, "message": str(error)}
                rows.append([path.stem, shape, "error", type(error).__name__, json.dumps(str(error))])
            full.append(json.dumps(case, ensure_ascii=False))
    (args.folder / "expected.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    if args.full:
        args.full.write_text("".join(line + "\n" for line in full), encoding="utf-8")


if __name__ == "__main__":
    main()

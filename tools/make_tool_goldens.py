#!/usr/bin/env python3
"""The results of mlx-lm's tool parsers for sample answers, and the parser that it chooses for each chat template.

usage: make_tool_goldens.py tests/data/chat/tool_calls.json tests/data/templates   (needs mlx-lm)

A sample is a model's whole answer. mlx-lm's server cuts it at the parser's markers and parses what stands between them;
so does this script. Samples are written by hand after the chat templates.
"""
import importlib
import json
import pathlib
import sys

import mlx_lm
from mlx_lm.tokenizer_utils import _infer_tool_parser

TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {
        "type": "object", "required": ["city"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "number"},
            "metric": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}},
            "where": {"type": "object", "properties": {"lat": {"type": "number"}, "name": {"type": "string"}}},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}}},
    {"type": "function", "function": {"name": "write_file", "parameters": {
        "type": "object", "properties": {"path": {"type": "string"}, "content": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
]

SAMPLES = {
    "json_tools": [
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm", "days": 3}}\n</tool_call>',
        'Let me look.\n<tool_call>{"name": "weather", "arguments": {"city": "K\\u00f6ln \\"x\\"", "tags": ["a", "b{}"],'
        ' "where": {"lat": -1.5e2, "name": "</tool_"}}}</tool_call>\n<tool_call>{"arguments": {}, "name": "now"}</tool_call>',
    ],
    "qwen3_coder": [
        "<tool_call>\n<function=weather>\n<parameter=city>\nUlm\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
        "<parameter=metric>\ntrue\n</parameter>\n<parameter=exact>\n1.5\n</parameter>\n</function>\n</tool_call>",
        "I write it.\n<tool_call>\n<function=write_file>\n<parameter=path>\na.py\n</parameter>\n<parameter=content>\n"
        'def f():\n    return "<b>" < 3\n\n</parameter>\n</function>\n</tool_call>',
        '<tool_call>\n<function=weather>\n<parameter=tags>\n["a", "b"]\n</parameter>\n<parameter=where>\n'
        '{"lat": 1, "name": "x"}\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>',
    ],
    "minimax_m2": [
        '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Ulm</parameter>\n<parameter name="days">3'
        '</parameter>\n<parameter name="maybe">null</parameter>\n</invoke>\n</minimax:tool_call>',
        '<minimax:tool_call>\n<invoke name="now">\n</invoke>\n<invoke name="weather">\n<parameter name="tags">["a"]</parameter>'
        '\n<parameter name="metric">false</parameter>\n<parameter name="city"> 5 </parameter>\n</invoke>\n</minimax:tool_call>',
    ],
    "minicpm5": [
        '<function name="weather"><param name="city">Ulm</param><param name="days">3</param></function>',
        'So:\n<function name="write_file"><param name="path">a.html</param><param name="content"><![CDATA[<b>\n1 & 2</b>]]>'
        '</param></function><function name="now"></function>',
    ],
    "muse_spark": [
        '<atem:function_calls>\n<atem:invoke name="weather">\n<atem:parameter name="city">Ulm</atem:parameter>\n'
        '<atem:parameter name="days">3</atem:parameter>\n</atem:invoke>\n</atem:function_calls>',
        '<atem:function_calls><atem:invoke name="now"></atem:invoke><atem:invoke name="weather"><atem:parameter name="tags">'
        '["a"]</atem:parameter></atem:invoke></atem:function_calls>',
    ],
    "glm47": [
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Ulm</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3"
        "</arg_value>\n</tool_call>",
        "<tool_call>weather<arg_key>city</arg_key><arg_value>12</arg_value><arg_key>tags</arg_key><arg_value>['a', \"b\"]"
        '</arg_value><arg_key>where</arg_key><arg_value>{"lat": 1.5}</arg_value></tool_call>',
        '<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>',
        "Yes. <tool_call>now</tool_call>",
    ],
    "longcat": [
        "<longcat_tool_call>weather\n<longcat_arg_key>city</longcat_arg_key>\n<longcat_arg_value>Ulm</longcat_arg_value>\n"
        "<longcat_arg_key>days</longcat_arg_key>\n<longcat_arg_value>3</longcat_arg_value>\n</longcat_tool_call>",
        '<longcat_tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</longcat_tool_call>',
    ],
    "kimi_k2": [
        '<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{"city": "Ulm"}'
        '<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>'
        '<|tool_calls_section_end|>',
    ],
    "kimi_k3": [
        '<|open|>tools<|sep|><|open|>call tool="weather" index="1"<|sep|><|open|>argument key="city" type="string"<|sep|>'
        '3 &amp; 4<|close|>argument<|sep|><|open|>argument key="days" type="number"<|sep|>3<|close|>argument<|sep|><|close|>call'
        '<|sep|><|open|>call tool="now" index="2"<|sep|><|close|>call<|sep|><|close|>tools<|sep|>',
        '<|open|>tools<|sep|><|open|>call tool="weather" index="1"<|sep|><|open|>json type="object"<|sep|>{"city": "Ulm"}'
        '<|close|>json<|sep|><|close|>call<|sep|><|close|>tools<|sep|>',
    ],
    "mistral": [
        '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Ulm"}}, {"name": "now", "arguments": {}}]',
        '[TOOL_CALLS] [{"name": "weather", "arguments": "{\\"city\\": \\"Ulm\\"}", "id": "abcdefghi"}]',
        '[TOOL_CALLS]weather[ARGS]{"city": "Ulm", "where": {"lat": 2}}',
        '[TOOL_CALLS]weather[ARGS]{"city": "A"}now[ARGS]{}',
    ],
    "pythonic": [
        '<|tool_call_start|>[weather(city="Ulm", days=3, metric=True)]<|tool_call_end|>',
        "Fine.<|tool_call_start|>[now(), weather(city='a, \"b\" (c)', tags=[\"x\", 'y'], where={\"lat\": 1.5, \"name\": null})]"
        "<|tool_call_end|>",
    ],
    "gemma4": [
        '<|tool_call>call:weather{city:<|"|>Ulm<|"|>,days:3}<tool_call|>',
        '<|tool_call>call:weather{city:<|"|>a {b}, c:"d"<|"|>,tags:[<|"|>x<|"|>,<|"|>y<|"|>],where:{lat:1.5,name:<|"|>n<|"|>},'
        "metric:true}<tool_call|><|tool_call>call:now{}<tool_call|>",
    ],
    "function_gemma": [
        "<start_function_call>call:weather{city:<escape>Ulm, x<escape>,days:3}<end_function_call>",
        "<start_function_call>call:now{}<end_function_call>",
    ],
}


def calls_of(name, text):
    parser = importlib.import_module(f"mlx_lm.tool_parsers.{name}")
    calls, start, end = [], parser.tool_call_start, parser.tool_call_end
    at = text.find(start)
    while at >= 0:
        body = text[at + len(start):]
        close = body.find(end) if end else -1
        at += len(start) + (close + len(end) if close >= 0 else len(body))
        if name == "minicpm5":
            body = body[:close]
        elif close >= 0:
            body = body[:close]
        parsed = parser.parse_tool_call(body, TOOLS)
        calls += parsed if isinstance(parsed, list) else [parsed]
        at = text.find(start, at)
    return [{"name": call["name"], "arguments": call["arguments"]} for call in calls]


class Template:
    def __init__(self, source):
        self.chat_template = source

    def get_vocab(self):
        return {}


def main():
    out, templates = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    cases = [{"format": name, "text": text, "calls": calls_of(name, text)}
             for name, texts in SAMPLES.items() for text in texts]
    chosen = {path.name: _infer_tool_parser(Template(path.read_text())) for path in sorted(templates.glob("*.jinja"))}
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"made_by": f"tools/make_tool_goldens.py with mlx-lm {mlx_lm.__version__}", "tools": TOOLS, "cases": cases,
                "templates": chosen}
    out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Renders every template and probe with Python's jinja2 and writes what must come out.

    python3 make_golden.py            # needs jinja2 3.1.6

Reads templates/*.jinja, chats.py and probes.py; writes chats.json, probes.json and
expected/<template>.json, each `{chat: {"text": …} or {"error": kind}}`. Chats with tool calls are
rendered in four forms, because templates disagree on what they take: arguments as an object or as
JSON text, absent text as None or as an empty string.
"""

import copy
import json
import pathlib

from chats import CHATS
from environment import environment, outcome
from probes import PROBES, VARIABLES

HERE = pathlib.Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


FORMS = {"": (False, False), "/arguments_as_text": (True, False), "/empty_content": (False, True),
         "/arguments_as_text_empty_content": (True, True)}


def message(source, arguments_as_text, empty_content):
    out = {"role": source["role"], "content": source["content"]}
    if empty_content and out["content"] is None:
        out["content"] = ""
    for key in ("name", "tool_call_id", "reasoning_content"):
        if key in source:
            out[key] = source[key]
    if "tool_calls" in source:
        out["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {
                "name": call["name"],
                "arguments": json.dumps(call["arguments"], ensure_ascii=False)
                if arguments_as_text else copy.deepcopy(call["arguments"])}}
            for call in source["tool_calls"]]
    return out


def variables(chat, form):
    return {
        "messages": [message(m, *form) for m in chat["messages"]],
        "tools": copy.deepcopy(chat.get("tools")),
        "documents": None,
        "add_generation_prompt": chat["generation"],
        **TOKENS,
        **chat.get("extra", {}),
    }


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main():
    env = environment()
    dump(HERE / "chats.json", CHATS)
    (HERE / "expected").mkdir(exist_ok=True)
    for path in sorted((HERE / "templates").glob("*.jinja")):
        # Bytes: a template's line ends are part of the test.
        source = path.read_bytes().decode("utf-8")
        results = {}
        for chat in CHATS:
            has_calls = any("tool_calls" in m for m in chat["messages"])
            for suffix, form in FORMS.items():
                if has_calls or not suffix:
                    results[chat["name"] + suffix] = outcome(env, source, variables(chat, form))
        dump(HERE / "expected" / (path.stem + ".json"), results)
    probes = [
        {"source": source, **outcome(env, source, copy.deepcopy(VARIABLES))} for source in PROBES]
    dump(HERE / "probes.json", {"variables": VARIABLES, "probes": probes})
    print(len(list((HERE / "expected").glob("*.json"))), "templates,", len(CHATS), "chats,",
          len(probes), "probes,", sum("error" in p for p in probes), "of them failing")


if __name__ == "__main__":
    main()

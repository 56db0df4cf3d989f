"""Every key of params.yaml as tables: type and bounds from pig/models/table.py, meaning from the file's comments."""

import json
import re
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from pig.core.params import load
from pig.models.table import Params

ROOT = Path(__file__).parents[2]
MARK = "[every parameter](../params.yaml)"
KEY = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?P<rest>.*)$")


def comments(text: str) -> dict[str, str]:
    """Dotted key -> what the comment beside it says, of the sections above `profiles`."""
    found: dict[str, str] = {}
    section, last = "", ""
    for line in text.split("\nprofiles:")[0].splitlines():
        value, _, comment = line.partition("#")
        if match := KEY.match(value):
            if not match["indent"]:
                section = match["key"]
            last = f"{section}.{match['key']}" if match["indent"] else section
            found[last] = comment.strip()
            for key in re.findall(r"(\w+):", match["rest"]):  # {size: 512}
                found[f"{last}.{key}"] = comment.strip()
        elif comment and not value.strip() and line.startswith(" ") and last:  # it goes on
            found[last] = f"{found[last]} {comment.strip()}".strip()
    return found


def page() -> str:
    """The tables, one for each section, with the values of every profile."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    said = {**comments(text), "profile": "the profile that is laid over the sections"}
    profiles = {name: load(ROOT / "params.yaml", Params, name).model_dump() for name in names(text)}
    schema = models_json_schema([(Params, "validation")])[1]["$defs"]
    whole = schema["Params"]["properties"]
    top = [key for key in whole if "$ref" not in whole[key] and key != "profile"]
    out = [_table("The study", [(key, whole[key], said[key]) for key in ["profile", *top]], profiles, "")]
    for section in (name for name in said if "$ref" in whole.get(name, {})):  # in the file's order
        keys = schema[whole[section]["$ref"].rsplit("/", 1)[1]]["properties"]
        rows = [(key, keys[key], said.get(f"{section}.{key}", "")) for key in keys]
        out.append(_table(section, rows, profiles, said[section]))
    return "\n\n".join(out)


def names(text: str) -> list[str]:
    """The profiles of params.yaml, in its order."""
    return re.findall(r"^  (\w+):", text.split("\nprofiles:")[1], re.MULTILINE)


def _table(title: str, rows: list[tuple[str, Any, str]], profiles: dict[str, Any], about: str) -> str:
    head = ["key", "type", "what it is (and where the value is from)", *(f"`{name}`" for name in profiles)]
    lines = [f"## {title}", ""]
    lines += [f"*{about}*", ""] if about else []
    lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for key, field, said in rows:
        found = [(each if title == "The study" else each[title])[key] for each in profiles.values()]
        shown = [_value(value, i > 0 and value == found[0]) for i, value in enumerate(found)]
        cells = [f"`{key}`", kind(field), said.replace("|", "\\|"), *shown]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _value(value: Any, same: bool) -> str:
    if same:
        return "·"
    return "null" if value is None else json.dumps(value).strip('"').replace('", "', ", ").replace('"', "")


def kind(field: dict[str, Any]) -> str:
    """A JSON schema's type and bounds in a few words, e.g. "whole number, 1 to 64, or null"."""
    if "anyOf" in field:
        return " or ".join(kind(each) for each in field["anyOf"])
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    words = {"integer": "whole number", "number": "number", "boolean": "true, false", "string": "text"}
    if field["type"] == "array":
        least, most = field.get("minItems"), field.get("maxItems")
        many = f" of {least}" if least and least == most else ""
        return f"list{many}: {kind(field['items'])}"
    bounds = [
        f"{sign}\N{NO-BREAK SPACE}{field[key]:,}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in field and field[key] < 10**9  # no more than a guard against slips of the pen
    ]
    return ", ".join([words.get(field["type"], field["type"]), *bounds])

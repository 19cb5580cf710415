"""A commented configuration file, generated from the models, so that it cannot fall behind them."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from postlane.config.settings import Settings

COMMENT_COLUMNS = 100
SEQUELS = {"routes": ("", "# The last route takes the rest.", "[routes.default]", 'relays = ["main"]')}
NAMED_SECTIONS = {
    "relays": "main",
    "routes": "bulk",
    "mailboxes": "support",
}  # sections that stand once per account

_HEAD = """\
Postlane's configuration: every key with its default. Keys behind a # have none; they show an example.
signing.keys holds a random secret, a new one in every example: keep it, because it is what answers are recognised by.
Each key can also be set by the environment, which wins: POSTLANE_<SECTION>__<KEY>, such as POSTLANE_KAFKA__BOOTSTRAP_SERVERS \
or POSTLANE_RELAYS__MAIN__PASSWORD.
A secret is written as "text", { file = "PATH" } or { env = "NAME" }.
The file is found by --config, $POSTLANE_CONFIG, or as ./postlane.toml."""

JsonSchema = Mapping[str, Any]


def example_toml(signing_secret: str) -> str:
    """The example: valid as it stands, with one relay, one mailbox and one signing key, every key of every section in it."""
    chosen = {
        "signing.domain": "desk.example.com",
        "signing.keys": {"k1": signing_secret},
        "routes.tags": ["newsletter"],
        "mailboxes.password": "change-me",
    }
    schema = Settings.model_json_schema()
    definitions: Mapping[str, JsonSchema] = schema["$defs"]
    blocks = ["\n".join(_comment(_HEAD))]
    for name, property_schema in schema["properties"].items():
        section = definitions[_section_reference(property_schema)]
        title = f"{name}.{NAMED_SECTIONS[name]}" if name in NAMED_SECTIONS else name
        lines = [*_comment(section["description"]), f"[{title}]"]
        required = section.get("required", [])
        below: list[str] = []
        for key, key_schema in section["properties"].items():
            if (inner := _optional_section(key_schema, definitions)) is not None:
                below += ["", *_optional_lines(f"{title}.{key}", inner, definitions)]
                continue
            default = chosen.get(f"{name}.{key}", key_schema.get("default"))
            lines += _key_lines(key, key_schema | {"default": default}, definitions, required=key in required)
        blocks.append("\n".join([*lines, *below, *SEQUELS.get(name, ())]))
    return "\n\n\n".join(blocks) + "\n"


def _section_reference(schema: JsonSchema) -> str:
    reference: str = schema.get("additionalProperties", schema)["$ref"]
    return reference.rpartition("/")[2]


def _optional_section(schema: JsonSchema, definitions: Mapping[str, JsonSchema]) -> JsonSchema | None:
    """The section that a key may hold, if it is such a key."""
    references = [choice["$ref"] for choice in schema.get("anyOf", []) if "$ref" in choice]
    found = definitions[references[0].rpartition("/")[2]] if references else {}
    return found if "properties" in found else None


def _optional_lines(title: str, section: JsonSchema, definitions: Mapping[str, JsonSchema]) -> Iterator[str]:
    """A section within a section, which only some need: all of it behind a #."""
    yield ""
    yield from _comment(section["description"])
    yield f"# [{title}]"
    for key, schema in section["properties"].items():
        lines = _key_lines(key, schema, definitions, required=key in section.get("required", []))
        yield from (line if not line or line.startswith("#") else f"# {line}" for line in lines)


def _key_lines(
    key: str, schema: JsonSchema, definitions: Mapping[str, JsonSchema], *, required: bool
) -> Iterator[str]:
    bounds = "; ".join([*_choices(schema, definitions), *_limits(schema)])
    yield ""
    yield from _comment(schema["description"] + (f" ({bounds})" if bounds else ""))
    default = schema.get("default")
    if required:
        yield f"{key} = {_toml_value(schema['examples'][0])}"
    elif default in (None, [], {}):
        yield f"# {key} = {_toml_value(schema['examples'][0])}"
    else:
        yield f"{key} = {_toml_value(default)}"


def _choices(schema: JsonSchema, definitions: Mapping[str, JsonSchema]) -> Iterator[str]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        yield f"one of {', '.join(schema['enum'])}"


def _limits(schema: JsonSchema) -> Iterator[str]:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    above = "above" if "exclusiveMinimum" in schema else "at least"
    if low is not None and high is not None and above == "at least":
        yield f"{low} to {high}"
    elif low is not None:
        yield f"{above} {low}" + ("" if high is None else f", at most {high}")
    elif high is not None:
        yield f"at most {high}"


def _comment(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from textwrap.wrap(line, COMMENT_COLUMNS, initial_indent="# ", subsequent_indent="# ")


def _toml_value(value: object) -> str:
    match value:
        case dict():
            items = (f"{_toml_key(key)} = {_toml_value(item)}" for key, item in value.items())
            return "{ " + ", ".join(items) + " }"
        case list():
            return "[" + ", ".join(_toml_value(item) for item in value) + "]"
        case _:
            # JSON's strings, numbers and booleans are TOML's too.
            return json.dumps(value, ensure_ascii=False)


def _toml_key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key, ensure_ascii=False)

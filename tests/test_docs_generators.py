"""What writes the generated parts of the documentation. Pure functions."""

from __future__ import annotations

import pytest

from docs import endpoints, markdown
from docs.commands import commands
from docs.model_table import cpu_speeds

BENCHMARKS = """
## Models alone

| model | variant | input | batch | float32 /s | bfloat16 /s |
|---|---|---|---|---|---|
| one | base | s2 | 4 | 1.234 | 20.567 |
| two | base | s2 | 4 | 3.5 | |

## Something else

| one | base | s1 | 4 | 1 | 2 |
"""


def test_a_cell_stays_a_cell() -> None:
    """Bars and line breaks of a text do not end a cell or a row."""
    assert markdown.table(("a", "b"), [("x | y", "two\nlines")]).splitlines() == [
        "| a | b |",
        "|---|---|",
        "| x \\| y | two lines |",
    ]


def test_parts_are_replaced_where_they_stand() -> None:
    """Only what is between the markers changes, also behind a comment sign."""
    text = "above\n# <!-- x -->\nold\n# <!-- /x -->\nbelow"
    assert markdown.with_parts(text, {"x": "a\\1"}, "# ") == (
        "above\n# <!-- x -->\na\\1\n# <!-- /x -->\nbelow"
    )
    assert markdown.part_names(text) == ["x"]
    with pytest.raises(ValueError, match="no part 'y'"):
        markdown.with_parts(text, {"y": ""})


def test_short_lists_of_an_answer_stay_on_a_line() -> None:
    """`...` stands for what is left out, without quotes."""
    assert markdown.json_block({"a": [1, 2, "..."], "...": "..."}) == (
        '```text\n{\n "a": [1, 2, ...],\n ...\n}\n```'
    )


def test_speeds_come_from_the_table_of_models_alone() -> None:
    """bfloat16 where it was measured, else float32; other tables are not read."""
    assert cpu_speeds(BENCHMARKS) == {("one", "base", "s2"): "20.6", ("two", "base", "s2"): "3.5"}


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"type": "string"}, "string"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number or null"),
        ({"enum": ["a", "b"]}, "`a` or `b`"),
        ({"type": "array", "items": {"type": "string"}}, "list of string"),
        ({"type": "array", "prefixItems": [{"type": "number"}] * 6}, "list of 6: number"),
        ({"type": "string", "format": "binary"}, "file"),
        (
            {"$ref": "#/components/schemas/BBox"},
            "[`BBox`](http-records.md#bbox)",
        ),
    ],
)
def test_types_in_words(schema: dict[str, object], name: str) -> None:
    """A JSON schema as a reader of the parameter tables sees it."""
    assert endpoints.type_name(schema) == name


def test_fields_say_what_is_required_and_what_is_accepted() -> None:
    """Required fields, defaults and bounds."""
    schema = {
        "properties": {
            "a": {"type": "string", "description": "First."},
            "b": {"type": "integer", "default": 4, "minimum": 1, "description": "Second."},
        },
        "required": ["a"],
    }
    assert endpoints.fields(schema).splitlines()[2:] == [
        "| `a` | string | required | First. |",
        "| `b` | integer | `4` | Second. Accepted: at least 1. |",
    ]


def test_options_of_commands_with_and_without_a_default() -> None:
    """A default is shown, and nothing where there is none."""
    text = commands()
    assert "| `--buffer` FLOAT | `1000` | " in text
    assert "| `--scale-m` FLOAT |  | " in text
    assert "## geobento models import" in text

"""Any JSON becomes a typed value or the error that was asked for, nothing else."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import decode
from edge_runtime.errors import InputError, ManifestError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
READERS: dict[str, Callable[[decode.Fields], Any]] = {
    "string": lambda fields: fields.string("k"),
    "integer": lambda fields: fields.integer("k"),
    "number": lambda fields: fields.number("k"),
    "boolean": lambda fields: fields.boolean("k"),
    "child": lambda fields: fields.child("k"),
    "children": lambda fields: fields.children("k", limit=3),
    "mapping": lambda fields: fields.mapping("k", limit=3),
    "integers": lambda fields: fields.integers("k", limit=3),
    "strings": lambda fields: fields.strings("k", limit=3),
    "counts": lambda fields: fields.counts("k", limit=3),
    "shape": lambda fields: fields.shape("k"),
    "optional": lambda fields: fields.optional("k", fields.integer),
}


def read(text: str | bytes) -> decode.Fields:
    return decode.document(text, where="x.json", error=ManifestError)


@pytest.mark.parametrize("reader", READERS)
@given(value=json_values)
def test_any_value_is_read_or_refused_by_name(reader: str, value: Any) -> None:
    fields = read(json.dumps({"k": value}))
    refused: ManifestError | None = None
    try:
        READERS[reader](fields)
        fields.finish()
    except ManifestError as error:
        refused = error
    assert refused is None or (refused.what.startswith("k"), refused.where) == (True, "x.json")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_document_or_refused(content: bytes) -> None:
    try:
        fields = read(content)
    except ManifestError:
        return
    assert isinstance(json.loads(content), dict)
    assert set(fields.names()) == set(json.loads(content))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"k": NaN}', "NaN"),
        ('{"k": -Infinity}', "Infinity"),
        ('{"k": 1, "k": 2}', "twice"),
        ('{"a": {"k": 1, "k": 1}}', "twice"),
        ("[" * 100_000, ""),
        ('{"k":' + "[" * 40 + "]" * 40 + "}", "deep"),
        ('{"k": ' + "9" * 5000 + "}", ""),
        ("[1]", "list"),
        ("null", "null"),
        ("", ""),
        ('{"k": 1} more', ""),
    ],
)
def test_what_is_no_plain_object_is_refused(text: str, told: str) -> None:
    with pytest.raises(ManifestError) as refused:
        read(text)
    assert told in str(refused.value)


@pytest.mark.parametrize("value", ["1e999", "-1e999", "9" * 400, "true", '"1"', "null"])
def test_a_number_is_finite_and_a_number(value: str) -> None:
    with pytest.raises(ManifestError, match="k is"):
        read(f'{{"k": {value}}}').number("k")


@pytest.mark.parametrize("value", ["1.0", "true", "-1", "9223372036854775808", "9" * 400])
def test_an_integer_is_whole_bounded_and_no_boolean(value: str) -> None:
    with pytest.raises(ManifestError, match="k is"):
        read(f'{{"k": {value}}}').integer("k")


def test_limits_count_characters_entries_and_choices() -> None:
    text = json.dumps({"long": "x" * 11, "many": [1, 2, 3], "odd": "c", "counts": {"a": 1, "b": 2}})
    with pytest.raises(ManifestError, match="11 characters"):
        read(text).string("long", limit=10)
    with pytest.raises(ManifestError, match="3 entries"):
        read(text).integers("many", limit=2)
    with pytest.raises(ManifestError, match="expected one of a, b"):
        read(text).string("odd", choices=("a", "b"))
    with pytest.raises(ManifestError, match="2 entries"):
        read(text).counts("counts", limit=1)


def test_a_nested_field_is_named_by_its_whole_path() -> None:
    fields = read('{"outer": [{"inner": {"k": 1.5}}]}')
    inner = fields.children("outer", limit=1)[0].child("inner")
    with pytest.raises(ManifestError, match=r"^outer\[0\]\.inner\.k is a number"):
        inner.integer("k")


def test_leftovers_are_refused_and_named() -> None:
    fields = read('{"k": 1, "tpyo": 2}')
    assert fields.integer("k") == 1
    with pytest.raises(ManifestError, match="unknown keys: tpyo"):
        fields.finish()


def test_null_is_none_only_where_it_is_allowed() -> None:
    assert read('{"k": null}').optional("k", lambda _: 1) is None
    fields = read("{}")
    with pytest.raises(ManifestError, match="k is missing"):
        fields.optional("k", fields.integer)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"kind": "edge-record", "schema": 1}, "kind"),
        ({"kind": "edge-artifact"}, "schema"),
        ({"kind": "edge-artifact", "schema": 0}, "schema"),
        ({"kind": "edge-artifact", "schema": 2}, "reads up to 1"),
        ({"schema": 1}, "kind is missing"),
    ],
)
def test_an_envelope_of_another_kind_or_time_is_refused(document: dict[str, Any], told: str) -> None:
    with pytest.raises(ManifestError, match=told):
        decode.envelope(read(json.dumps(document)), kind="edge-artifact", schema=1, what="artifact")


@given(st.dictionaries(st.text(), json_values))
def test_what_is_written_reads_back_the_same(document: dict[str, Any]) -> None:
    text = decode.as_json(document)
    assert text.endswith("\n")
    assert text.encode()
    assert json.loads(text) == document


@given(st.floats())
def test_json_gets_a_number_or_null(value: float) -> None:
    assert decode.finite(value) == (value if math.isfinite(value) else None)


def test_a_file_name_that_is_no_utf8_survives_json() -> None:
    text = decode.as_json({"path": "\udcff.edge"})
    assert text == '{\n  "path": "\\udcff.edge"\n}\n'


def test_the_default_error_is_an_input_error() -> None:
    with pytest.raises(InputError):
        decode.document("[]", where="x")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "latin-1"])
def test_only_utf8_is_read(encoding: str) -> None:
    with pytest.raises(ManifestError, match="not valid JSON"):
        decode.document('{"k": "é"}'.encode(encoding), where="x", error=ManifestError)

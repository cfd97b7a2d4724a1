"""The text in which PostgreSQL copies rows, as dumps contain it."""

import pytest

from app.db.postgres_copy import DumpNotRead, rows_of_dump


@pytest.mark.parametrize("text", ["a\\tb\\\\N\\nc", "\\N"])
def test_copy_text_is_read_as_postgresql_writes_it(text):
    lines = ["COPY public.transfers (id, label) FROM stdin;\n", f"x\t{text}\n", "\\.\n"]
    expected = None if text == "\\N" else "a\tb\\N\nc"
    assert list(rows_of_dump(lines, ["transfers"])) == [("transfers", {"id": "x", "label": expected})]


@pytest.mark.parametrize(
    "lines", [["x\ty"], ["x\ty", "x", r"\."], ["x\ty\tz", r"\."]], ids=["cut off", "too few", "too many"]
)
def test_a_damaged_table_is_not_read(lines):
    with pytest.raises(DumpNotRead):
        list(rows_of_dump(['COPY transfers (id, "label") FROM stdin;', *lines], ["transfers"]))


def test_other_tables_and_statements_are_passed_over():
    lines = ["SELECT 1;", r"\! touch /tmp/x", "COPY public.files (id) FROM stdin;", "transfers", r"\.", "COPY x;"]
    assert list(rows_of_dump(lines, ["transfers"])) == []

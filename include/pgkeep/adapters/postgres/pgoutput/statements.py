"""The statements that repeat the changes of one table, prepared once per table and shape of the row."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import itemgetter

from pgkeep.ports import Inexact

from .frames import corrupted
from .messages import INSERT, KEY, NEW, NULL, OLD, UNCHANGED, UPDATE, Bytes, Column, Relation, Row, TypeName, read_row

PIECE = 1 << 17
"""Bytes of a large value that are worked on at once."""
LONGEST_ROW, LONGEST_STATEMENT = (1 << 30) - (1 << 20), 1 << 29
"""Bytes: the server reads no longer line of COPY, and no longer value in a statement."""
FORMS = 1000
"""Forms kept per table: a table of many columns may have more shapes than memory has room for."""

END = b"\\;\n"
"""Joins statements to one message of psql to the server: a round trip for each would be the bound."""

# Types whose `=` holds for exactly those values that have the same text, so that an index may serve.
EXACT = frozenset({16, 17, 20, 21, 23, 26, 829, 774, 1082, 1083, 1114, 1184, 2950, 3220})
TEXTS = frozenset({25, 1043})
# What names an object is written with or without its schema, as search_path wants it: compare as written here and now.
REGISTERED = {
    oid: name + array
    for name, *oids in (
        ("regproc", 24, 1008),
        ("regprocedure", 2202, 2207),
        ("regoper", 2203, 2208),
        ("regoperator", 2204, 2209),
        ("regclass", 2205, 2210),
        ("regtype", 2206, 2211),
        ("regconfig", 3734, 3735),
        ("regdictionary", 3769, 3770),
        ("regnamespace", 4089, 4090),
        ("regrole", 4096, 4097),
        ("regcollation", 4191, 4192),
    )
    for oid, array in zip(oids, ("", "[]"), strict=True)
}

Part = bytes | int
"""SQL, or the number of the value that stands there in quotes."""


class Form:
    """A statement with places for values."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        places = [part for part in parts if isinstance(part, int)]
        self._template = b"".join(b"'%b'" if isinstance(part, int) else part.replace(b"%", b"%%") for part in parts)
        self._pick: Callable[[Row], object] = itemgetter(*places) if places else lambda _: ()

    def text(self, values: Row, *, quotes: bool) -> bytes:
        """The statement; without `quotes` there are none in the values."""
        if quotes:
            values = [value.replace(b"'", b"''") for value in values]
        return self._template % self._pick(values)

    def pieces(self, values: Row) -> Iterator[bytes]:
        """The same for large values, in pieces."""
        for part in self._parts:
            if isinstance(part, int):
                yield b"'"
                yield from escaped(values[part], [(b"'", b"''")])
                yield b"'"
            else:
                yield part


def escaped(value: Bytes, escapes: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """A large value in pieces, each first byte of a pair replaced by the second."""
    for start in range(0, len(value), PIECE):
        piece = bytes(value[start : start + PIECE])
        for plain, written in escapes:
            piece = piece.replace(plain, written)
        yield piece


class Table:
    """How the changes of a relation are written. `always`: its columns that are GENERATED ALWAYS AS IDENTITY.

    Raises Inexact for what cannot be written.
    """

    def __init__(
        self, relation: Relation, *, types: Mapping[int, TypeName], codec: str, always: Collection[str]
    ) -> None:
        self.width = len(relation.columns)
        self.relation = relation
        self._codec = codec
        self._types = types
        self._always = always
        self.name = self._quoted(relation.schema, relation.name)
        self._columns = [self._quoted(column.name) for column in relation.columns]
        # With identity FULL an old row says which, never a key.
        self._keys = [i for i, c in enumerate(relation.columns) if c.is_key and relation.identity != "f"]
        self._forms = dict[object, Form]()
        self._plain = bytes(self.width)
        self.list = b" (" + b", ".join(self._columns) + b")" if self._columns else b""
        self._insert = b"INSERT INTO " + self.name + self.list + b" OVERRIDING SYSTEM VALUE VALUES "

    # --- rows --------------------------------------------------------------------------------------------------------

    def read(self, message: Bytes) -> Row:
        """The new row of an INSERT."""
        row, odd, end = read_row(message, 6, self.width)
        if message[5] != NEW or end != len(message):
            raise corrupted("an INSERT is not one row")
        if odd and UNCHANGED in row:
            raise self._inexact("a new row came without one of its values")
        return row

    def inserted(self, rows: Sequence[Row]) -> bytes:
        """One statement for some new rows."""
        if not self.width:
            return (b"INSERT INTO " + self.name + b" DEFAULT VALUES" + END) * len(rows)
        return self._insert + b", ".join(map(self._values, rows)) + END

    def change(self, message: Bytes) -> tuple[Form | None, Row]:
        """How an UPDATE or DELETE is written (None: it changes nothing), and the values for it."""
        tuple_kind = message[5]
        values, odd, end = read_row(message, 6, self.width)
        form: Form | None
        if message[0] != UPDATE:
            form = self._deleting(values, tuple_kind)
        elif tuple_kind == NEW:
            form = None if odd else self._forms.get(self._plain)
            form = form or self._updating_in_place(values)
        else:
            form, values, end = self._updating_from(values, tuple_kind, message, end)
        if end != len(message):
            raise corrupted("a change is longer than its rows")
        return form, values

    def require_writable(self, message: memoryview) -> None:
        """Raises Inexact for a row so large that it can be read from the stream, and not be written."""
        limit = LONGEST_ROW if message[0] == INSERT else LONGEST_STATEMENT
        if 2 * len(message) > limit and _written_size(message) > limit:
            raise self._inexact(f"a change of {len(message):,} bytes is larger than SQL can be")

    # --- the shapes of a change --------------------------------------------------------------------------------------

    def _updating_in_place(self, row: Row) -> Form | None:
        """The key is what it was, and where it is GENERATED ALWAYS must not be set."""
        shape = _shape(row)
        if form := self._forms.get(shape):
            return form
        others = [i for i in range(self.width) if i not in self._keys and row[i] is not UNCHANGED]
        if not others:
            return None
        return self._keep(shape, self._update(row, others, self._by_key(row), offset=0))

    def _updating_from(self, old: Row, tuple_kind: int, message: Bytes, at: int) -> tuple[Form | None, Row, int]:
        """Both rows are there."""
        if tuple_kind not in (KEY, OLD) or at >= len(message) or message[at] != NEW:
            raise corrupted("an UPDATE without its new row")
        new, _, end = read_row(message, at + 1, self.width)
        if tuple_kind == OLD:
            new = [UNCHANGED if now == before else now for now, before in zip(new, old, strict=True)]
        shape = (tuple_kind, _shape(old), _shape(new))
        form = self._forms.get(shape)
        changed = [] if form else [i for i in range(self.width) if new[i] is not UNCHANGED]
        if changed:
            where = self._by_key(old) if tuple_kind == KEY else self._by_texts(old)
            form = self._keep(shape, self._update(new, changed, where, offset=self.width))
        return form, [*old, *new], end

    def _deleting(self, old: Row, tuple_kind: int) -> Form:
        if tuple_kind not in (KEY, OLD):
            raise corrupted("a DELETE without its old row")
        shape = (tuple_kind, _shape(old))
        if form := self._forms.get(shape):
            return form
        where = self._by_key(old) if tuple_kind == KEY else self._by_texts(old)
        return self._keep(shape, [b"DELETE FROM ONLY " + self.name, *where, END])

    def _keep(self, shape: object, parts: Sequence[Part]) -> Form:
        if len(self._forms) >= FORMS:
            self._forms.clear()
        form = self._forms[shape] = Form(parts)
        return form

    # --- their SQL ---------------------------------------------------------------------------------------------------

    def _values(self, row: Row) -> bytes:
        shape = (b"I", _shape(row))
        form = self._forms.get(shape)
        if form is None:
            parts = [b"NULL" if value is NULL else i for i, value in enumerate(row)]
            form = self._keep(shape, [b"(", *_joined(b", ", [[part] for part in parts]), b")"])
        return form.text(row, quotes=True)

    def _update(self, row: Row, chosen: Collection[int], where: Sequence[Part], *, offset: int) -> list[Part]:
        if any(self.relation.columns[i].name in self._always for i in chosen):
            return self._replacement(row, chosen, where, offset=offset)
        written: list[list[Part]] = [
            [self._columns[i] + b" = ", b"NULL" if row[i] is NULL else offset + i] for i in chosen
        ]
        return [b"UPDATE ONLY " + self.name + b" SET ", *_joined(b", ", written), *where, END]

    def _replacement(self, row: Row, chosen: Collection[int], where: Sequence[Part], *, offset: int) -> list[Part]:
        """A column GENERATED ALWAYS takes a value that is given to it only in an INSERT."""
        values: list[list[Part]] = [
            [b"pgkeep_old." + name if i not in chosen else b"NULL" if row[i] is NULL else offset + i]
            for i, name in enumerate(self._columns)
        ]
        return [
            b"WITH pgkeep_old AS (DELETE FROM ONLY " + self.name,
            *where,
            b" RETURNING *) INSERT INTO " + self.name + self.list + b" OVERRIDING SYSTEM VALUE SELECT ",
            *_joined(b", ", values),
            b" FROM pgkeep_old" + END,
        ]

    def _by_key(self, row: Row) -> list[Part]:
        """The row with this key."""
        if not self._keys:
            raise self._inexact("rows were changed, but it has no replica identity to tell which")
        if any(row[i] in (NULL, UNCHANGED) for i in self._keys):
            raise self._inexact("a row was changed whose key was not sent")
        conditions: list[list[Part]] = [
            [self._columns[i] + b" = ", i, self._cast(self.relation.columns[i])] for i in self._keys
        ]
        return [b" WHERE ", *_joined(b" AND ", conditions)]

    def _by_texts(self, row: Row) -> list[Part]:
        """One of the rows with these texts: json has no `=`, and elsewhere it takes 1.0 for 1.00, or -0 for 0."""
        if UNCHANGED in row:
            raise self._inexact("an old row came without one of its values")
        conditions: list[list[Part]] = [self._same(i, value) for i, value in enumerate(row)]
        return [
            b" WHERE ctid = (SELECT ctid FROM ONLY " + self.name + b" WHERE ",
            *(_joined(b" AND ", conditions) or [b"true"]),
            b" LIMIT 1)",
        ]

    def _same(self, i: int, value: bytes) -> list[Part]:
        name, column = self._columns[i], self.relation.columns[i]
        # A row of NULLs IS NULL, too, and one with some of them neither that nor IS NOT NULL: both are not NULL here.
        if value is NULL:
            return [name + b" IS NOT DISTINCT FROM NULL"]
        if column.type_oid in EXACT:
            return [name + b" = ", i]
        if column.type_oid in TEXTS:
            return [name + b' COLLATE "C" = ', i]
        # Not ::text, which some types understand in a way of their own: true is not t, '1.2.3.4/32' not '1.2.3.4'.
        written = [i, cast] if (cast := self._cast(column)) else [i]
        image: list[Part] = [b"concat(", *written, b")"] if cast else [i]
        return [name + b" IS DISTINCT FROM NULL AND concat(" + name + b') COLLATE "C" = ', *image]

    def _cast(self, column: Column) -> bytes:
        if registered := REGISTERED.get(column.type_oid):
            return b"::" + registered.encode()
        if known := self._types.get(column.type_oid):
            return b"::" + self._quoted(known.schema, known.name)
        return b""

    def _quoted(self, *names: str) -> bytes:
        text = ".".join('"' + name.replace('"', '""') + '"' for name in names)
        return text.encode(self._codec, "surrogateescape")

    def _inexact(self, why: str) -> Inexact:
        return Inexact(f"{self.relation.schema}.{self.relation.name}: {why}")


def _written_size(message: memoryview) -> int:
    """Bytes it takes at most, with every character doubled that may have to be."""
    return sum(
        2 * len(piece) - len(piece.translate(None, b"'\\\t\n\r"))
        for piece in (bytes(message[start : start + PIECE]) for start in range(0, len(message), PIECE))
    )


def truncation(names: Sequence[bytes], *, restart: bool) -> bytes:
    """Empties the tables as TRUNCATE does, or by DELETE where one is referred to by a table that is not among them.

    (The source may have emptied that one, too; but it is not published, and so was not named.)
    """
    tables = b", ".join(b"ONLY " + name for name in names)
    emptied = b"".join(b" DELETE FROM ONLY " + name + b";" for name in names)
    body = b"BEGIN TRUNCATE " + tables + (b" RESTART IDENTITY" if restart else b"") + b";"
    body += b" EXCEPTION WHEN feature_not_supported THEN" + emptied + b" END"
    return b"DO '" + body.replace(b"'", b"''") + b"'" + END


def _shape(row: Row) -> bytes:
    """Which of the values are texts (0), UNCHANGED (1), NULL (2)."""
    return bytes([2 if value is NULL else 1 if value is UNCHANGED else 0 for value in row])


def _joined(by: bytes, groups: Sequence[Sequence[Part]]) -> list[Part]:
    """The parts of all groups, with `by` between the groups."""
    parts = [part for group in groups for part in (by, *group)]
    return parts[1:]

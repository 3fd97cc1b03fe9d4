"""What stands at the end of a window: the sequences' values, and the tables that are carried whole."""

from collections.abc import Iterable, Iterator

from pgkeep.delta import marker
from pgkeep.inventory import SequenceState, TableName

from .gate import quoted, translated
from .moment import Moment
from .pgoutput.encoding import codec_of
from .pgoutput.statements import truncation

# A stop before the window's end may be before the sequence was made. `\g`: psql shows what a SELECT gives, unless told.
# Or before its bounds were widened.
SET = (
    "SELECT pg_catalog.setval(seqrelid::pg_catalog.regclass, GREATEST(LEAST({value}, seqmax), seqmin), {called}) "
    "FROM pg_catalog.pg_sequence WHERE seqrelid = pg_catalog.to_regclass({name}) \\g /dev/null\n"
)
# Without generated columns, which COPY cannot write. ONLY: what is in its children is theirs.
COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


def trailer(
    moment: Moment, *, nonce: str, encoding: str, sequences: Iterable[SequenceState], tables: Iterable[TableName]
) -> Iterator[bytes]:
    """SQL, in the database's own encoding. Raises Unavailable, ConfigError."""
    yield marker(nonce, "cut")
    yield from (_setval(state).encode(codec_of(encoding)) for state in sequences)
    yield marker(nonce, "tables")
    for table in tables:
        yield from resync(moment, table, encoding=encoding)


def _setval(state: SequenceState) -> str:
    name = quoted(state.schema, state.name).replace("'", "''")
    return SET.format(value=state.last_value, called=str(state.is_called).lower(), name=f"'{name}'")


def resync(moment: Moment, table: TableName, *, encoding: str) -> Iterator[bytes]:
    """Empties the table and fills it with what the moment shows."""
    name = quoted(table.schema, table.name)
    with translated(moment.server):
        found = moment.connection.execute(COLUMNS, [name]).fetchall()
        columns = ", ".join(quoted(str(column)) for (column,) in found)
        listed = f" ({columns})" if columns else ""
        codec = codec_of(encoding)
        yield b"BEGIN;\n" + truncation([name.encode(codec)], restart=False) + b";\n"
        yield f"COPY {name}{listed} FROM stdin;\n".encode(codec)
        select = f"COPY (SELECT {columns} FROM ONLY {name}) TO STDOUT (ENCODING '{encoding}')"  # noqa: S608 - quoted
        with moment.connection.cursor() as cursor, cursor.copy(select) as copy:
            for data in copy:
                yield bytes(data)
    yield b"\\.\nCOMMIT;\n"

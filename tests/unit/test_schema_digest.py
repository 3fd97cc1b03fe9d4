"""What `pg_dump --schema-only` writes, as one digest: whatever the order of its pieces, and without what is drawn."""

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.adapters.postgres.schema import digest

HEAD = b"""--
-- PostgreSQL database dump
--

\\restrict %s

-- Dumped from database version 15.18
SET default_table_access_method = heap;

"""
TABLE = b"""--
-- Name: %s; Type: TABLE; Schema: public; Owner: keeper
--

CREATE TABLE public.%s (
    id integer NOT NULL
);


"""
END = b"""--
-- PostgreSQL database dump complete
--

\\unrestrict %s

"""


def script(tables: list[bytes], *, word: bytes = b"x7Yz") -> bytes:
    return HEAD % word + b"".join(TABLE % (name, name) for name in tables) + END % word


@given(st.permutations([b"a", b"b", b"c"]), st.sampled_from([b"x7Yz", b"Q"]), st.integers(1, 99))
def test_order_and_guard_and_pieces_do_not_matter(tables: list[bytes], word: bytes, size: int) -> None:
    text = script(tables, word=word)
    pieces = (text[i : i + size] for i in range(0, len(text), size))
    assert digest(pieces) == digest([script([b"a", b"b", b"c"])])


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=4), st.lists(st.sampled_from([b"a", b"b"]), max_size=4))
def test_other_pieces_give_another(some: list[bytes], others: list[bytes]) -> None:
    assert (digest([script(some)]) == digest([script(others)])) == (sorted(some) == sorted(others))


def test_lines_within_a_piece_keep_their_order() -> None:
    body = b"--\n-- Name: f(); Type: FUNCTION\n--\n\nBEGIN\n  a;\n  b;\nEND\n"
    assert digest([body]) != digest([body.replace(b"  a;\n  b;\n", b"  b;\n  a;\n")])

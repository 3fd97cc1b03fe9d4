"""How objects are called in the cluster's pinset and in Kubo: the names by which they are found again.

    pgkeep/<database>/full/<n>/<part>        a part of a backup; n: the entry it is, or is about to become
    pgkeep/<database>/changes/<n>/<part>     the same, of an hour's changes
    pgkeep/<database>/journal/<n>            version n of the journal
    pgkeep/<database>/draft/<n>              a version on its way: litter, if a crash leaves it
    pgkeep/<database>/audit/<n>              what audit n and those before it have read, found lost, and seen as litter
    pgkeep/<database>/recorded/<n>/<part>    in Kubo only: version n of the journal has named this part

A database's name stands there with all characters odd in a path or URL %-encoded.
"""

from collections.abc import Mapping
from urllib.parse import quote, unquote

from pgkeep.model import Cid, Kind, PartName

ALL = "pgkeep/"


def part_name(database: str, *, kind: Kind, number: int, part: PartName) -> str:
    """The name of a part."""
    return f"{name_prefix(database)}{kind}/{number}/{part}"


def recorded_name(database: str, *, sequence: int, part: PartName) -> str:
    """The name that a part has in the own Kubo once the journal names it: proof that this version existed."""
    return f"{name_prefix(database)}recorded/{sequence}/{part}"


def journal_name(database: str, *, sequence: int) -> str:
    """The name of a version of the journal."""
    return f"{name_prefix(database)}journal/{sequence}"


def draft_name(database: str, *, sequence: int) -> str:
    """The name of a version that is not published yet."""
    return f"{name_prefix(database)}draft/{sequence}"


def audit_name(database: str, *, number: int) -> str:
    """The name of what an audit has written down."""
    return f"{name_prefix(database)}audit/{number}"


def is_draft(name: str, *, database: str) -> bool:
    """Whether that is the name of a version whose writer died before it was published: litter."""
    return name.startswith(f"{name_prefix(database)}draft/")


def name_prefix(database: str) -> str:
    """What the names of all objects of one database begin with."""
    return f"{ALL}{quote(database, safe='')}/"


def numbered(names: Mapping[str, frozenset[Cid]], *, database: str, what: str) -> dict[int, frozenset[Cid]]:
    """The objects named `pgkeep/<database>/<what>/<number>[/...]`, by number; all other names are passed over."""
    prefix, found = f"{name_prefix(database)}{what}/", dict[int, frozenset[Cid]]()
    for name, cids in names.items():
        number = name.removeprefix(prefix).split("/")[0]
        if name.startswith(prefix) and number.isascii() and number.isdigit():
            found[int(number)] = found.get(int(number), frozenset()) | cids
    return found


def databases(names: Mapping[str, frozenset[Cid]]) -> tuple[str, ...]:
    """The databases that have a journal among these names."""
    parts = (name.split("/") for name in names if name.startswith(ALL))
    return tuple(sorted({unquote(path[1]) for path in parts if len(path) > 3 and path[2] == "journal"}))

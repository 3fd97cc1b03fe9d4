"""What a keyring's listing says about its keys: rows as python-gnupg gives them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgkeep.adapters.openpgp.keys import KeyProblem, Keyring, ageing, exposed, faults, keyring
from pgkeep.model import KeyFingerprint

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ALICE = KeyFingerprint("A" * 40)


def row(fingerprint: str, *, days: int | None, validity: str = "-", cap: str = "sc", token: str = "") -> dict[str, Any]:
    expires = str(int((NOW + timedelta(days=days)).timestamp())) if days is not None else ""
    return {
        "fingerprint": fingerprint,
        "keyid": fingerprint[-16:],
        "trust": validity,
        "cap": cap,
        "expires": expires,
        "token": token,
        "subkeys": [],
        "subkey_info": {},
    }


def key(primary: dict[str, Any], *subkeys: Mapping[str, Any]) -> dict[str, Any]:
    primary["subkeys"] = [[sub["keyid"], sub["cap"], sub["fingerprint"], "grip"] for sub in subkeys]
    primary["subkey_info"] = {sub["keyid"]: sub for sub in subkeys}
    return primary


def alice(*, primary: int | None = 100, subkey: int | None = 100, **fields: str) -> Keyring:
    return keyring([key(row(ALICE, days=primary), row("B" * 40, days=subkey, cap="e", **fields))])


def why(ring: Keyring, *, secret: bool = False) -> str:
    return "; ".join(p.what for p in faults(ring, ALICE, role="recipient", usage="e", secret=secret, now=NOW))


def old(ring: Keyring) -> list[KeyProblem]:
    return [*ageing(ring, ALICE, role="recipient", usage="e", now=NOW, soon=timedelta(days=30))]


def test_a_good_key_has_no_fault() -> None:
    assert why(alice()) == ""
    assert why(alice(primary=None, subkey=None)) == ""
    assert why(alice(token="+"), secret=True) == ""


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        (keyring([]), "is not in the GNUPGHOME"),
        (alice(primary=-1), "expired on 2029-12-31"),
        (alice(subkey=-1), "its last key to encrypt for it expired on 2029-12-31"),
        (alice(validity="r"), "no key to encrypt for it that is not revoked"),
        (keyring([row(ALICE, days=9)]), "it has no key to encrypt for it"),
        (keyring([row(ALICE, days=9, validity="r", cap="sce")]), "is revoked"),
        (keyring([row(ALICE, days=9, cap="sceD")]), "is disabled"),
        (
            keyring([row(ALICE, days=9, validity="i") | {"date": "20300102T000000"}]),
            "2030-01-02, which is still to come",
        ),
        (keyring([key(row("F" * 40, days=9), row(ALICE, days=9))]), f"is a subkey of {'F' * 40}"),
    ],
)
def test_every_reason_is_named(ring: Keyring, reason: str) -> None:
    assert reason in why(ring)
    assert ALICE in why(ring)


def test_a_private_key_elsewhere_is_not_here() -> None:
    assert "no private key here" in why(alice(token="#"), secret=True)


def test_a_key_lasts_as_long_as_its_shortest_link() -> None:
    assert [p.what for p in old(alice(primary=10, subkey=100))] == [
        f"the recipient {ALICE} expires on 2030-01-11, 10 days from now"
    ]
    assert "2030-01-21" in old(alice(primary=100, subkey=20))[0].what
    assert old(alice(primary=None, subkey=None)) == old(alice(primary=31, subkey=None)) == []


def test_the_last_of_several_subkeys_counts() -> None:
    subkeys = (row("B" * 40, days=5, cap="e"), row("C" * 40, days=300, cap="e"))
    assert old(keyring([key(row(ALICE, days=None), *subkeys)])) == []


def test_an_owner_must_be_one() -> None:
    twin = row("C" * 24 + "B" * 16, days=9, cap="e")
    ring = keyring([key(row(ALICE, days=9), row("B" * 40, days=9, cap="e")), key(row("D" * 40, days=9), twin)])
    assert ring.owner("B" * 16) is None
    assert (found := ring.owner("B" * 40)) is not None
    assert found.fingerprint == ALICE
    assert ring.owner("0" * 16) is None


def test_dates_after_2038_may_come_as_text() -> None:
    primary = row(ALICE, days=None)
    primary["expires"] = "20990101T000000"
    assert keyring([primary]).keys[0].primary.expires == datetime(2099, 1, 1, tzinfo=UTC)


def test_the_nodes_own_key_among_the_recipients_is_not_exposed() -> None:
    ring = alice(token="+")
    assert [p.fatal for p in exposed(ring, [ALICE], node=KeyFingerprint("D" * 40))] == [False]
    assert [*exposed(ring, [ALICE], node=ALICE)] == []

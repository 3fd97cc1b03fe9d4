"""The settings file: read whole or refused whole, with every problem named at once."""

import json
import tomllib
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep import settings
from pgkeep.errors import ConfigError

GOOD = f"""\
[vault]
copies = 2
[[vault.peers]]
kubo = "pgkeep_kubo"
cluster = "pgkeep_cluster"
[[vault.peers]]
cluster = "pgkeep_cluster_2"
[keys]
gnupghome = "/var/lib/pgkeep/gnupg"
node = "{"A" * 40}"
recipients = ["{"B" * 40}", "{"cc" * 20}"]
[defaults]
connection = "pgkeep_source"
full_schedule = "@daily"
[databases.shop]
[databases."we\\"ird Name"]
timezone = "Europe/Brussels"
ignored_tables = ["public.session"]
"""


def parse(text: str) -> settings.Settings:
    return settings.parse(tomllib.loads(text))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [line.removeprefix("  - ") for line in caught.value.what.splitlines()[1:]]


def test_a_good_file_is_read_with_defaults() -> None:
    found = parse(GOOD)
    assert found.vault.copies == 2
    assert [peer.cluster for peer in found.vault.peers] == ["pgkeep_cluster", "pgkeep_cluster_2"]
    assert found.keys.recipients[1] == "CC" * 20
    shop = found.database("shop")
    assert (shop.dbname, shop.connection, shop.full_schedule, shop.timezone) == (
        "shop",
        "pgkeep_source",
        "@daily",
        "UTC",
    )


def test_what_is_kept_has_defaults_and_may_be_said() -> None:
    text = GOOD.replace('full_schedule = "@daily"', 'full_schedule = "@daily"\nkeep_daily = 0\nmin_full = 4')
    policy = parse(text).database("shop").policy
    assert (policy.daily, policy.min_full) == (0, 4)
    assert (policy.last, policy.hourly, policy.weekly, policy.monthly, policy.yearly) == (3, 168, 8, 12, 5)
    assert parse(text).database("shop").scratch is None
    nothing = GOOD.replace('full_schedule = "@daily"', 'full_schedule = "@daily"\nmin_full = 0')
    assert any("min_full: is 0; write a whole number from 1 up" in line for line in problems(nothing))


def test_without_alerts_nobody_is_told() -> None:
    assert parse(GOOD).alerts.ways == ()


def test_alerts_go_to_people_and_to_any_notifier_of_airflow() -> None:
    section = """\
[alerts]
mail = ["Night shift <night@example.org>", "day@example.org"]
[[alerts.notifiers]]
class_name = "airflow.providers.slack.notifications.slack.SlackNotifier"
arguments = { text = "{{ alert.text }}" }
[keys]"""
    alerts = parse(GOOD.replace("[keys]", section)).alerts
    assert (alerts.smtp, alerts.sender) == ("smtp_default", None)
    assert alerts.ways == ("mail", "1: airflow.providers.slack.notifications.slack.SlackNotifier")
    assert alerts.notifiers[0].arguments == {"text": "{{ alert.text }}"}


def test_how_old_the_newest_moment_may_be_follows_from_how_changes_are_kept() -> None:
    shop = parse(GOOD).database("shop").limits
    full = parse(GOOD.replace("@daily", '@daily"\ncapture = "none')).database("shop").limits
    own = parse(GOOD.replace("@daily", '@daily"\nslot_limit_gb = 2\nnewest_hours = 0.5\n#')).database("shop").limits
    assert [limits.newest / timedelta(hours=1) for limits in (shop, full, own)] == [3, 30, 0.5]
    assert own.retained == 2_000_000_000


def test_odd_names_become_ids_that_never_meet() -> None:
    found = parse(GOOD)
    assert found.database("shop").slug == "shop"
    odd = found.newcomer("we'ird Name", {})
    slugs = {found.database('we"ird Name').slug, odd.slug}
    assert len(slugs) == 2
    assert all(slug.startswith("we_ird_Name_") for slug in slugs)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("copies = 2", "copies = 0", "vault.copies: is 0; write a whole number from 1 up"),
        ("copies = 2", "copies = true", "vault.copies: is True; write a whole number from 1 up"),
        ("copies = 2", "copeis = 2", "vault.copeis: no such key; did you mean copies?"),
        ('kubo = "pgkeep_kubo"\n', "", "vault.peers[0]: this node's own peer needs its Kubo; write kubo ="),
        (
            "pgkeep_cluster_2",
            "pgkeep_cluster",
            "vault.peers: pgkeep_cluster stands 2 times; every peer has connections",
        ),
        (
            "A" * 40,
            "B" * 40,
            "keys.node: is also a recipient; a node never reads its backups, give it a key of its own",
        ),
        ("A" * 40, "A" * 16, f"keys.node: is '{'A' * 16}'; write the whole fingerprint"),
        ("cc" * 20, "B" * 40, f"keys.recipients: {'B' * 40} stands 2 times; write it once"),
        ("/var/lib", "lib", "keys.gnupghome: is 'lib/pgkeep/gnupg'; write an absolute path"),
        ("@daily", "at two", "databases.shop.full_schedule: is 'at two'; write five cron fields"),
        ("Europe/Brussels", "Mars", "is 'Mars'; write the name of a time zone"),
        ("public.session", "session", "is ['session']; write a list of schema.table"),
        ("@daily", '@daily"\nkeep_hourly = "-1', "databases.shop.keep_hourly: is '-1'; write a whole number from 0 up"),
        ("@daily", '@daily"\nscratch = "a b', "databases.shop.scratch: is 'a b'; write an Airflow connection id"),
        ("[defaults]", '[defaults]\napproval_by_another = "yes"', "approval_by_another: is 'yes'; write true or false"),
        ("[defaults]", '[defaults]\napprovers = "vera"', "approvers: is 'vera'; write a list of user ids"),
        ("[defaults]", "[defaults]\napproval_hours = 0", "approval_hours: is 0; write a number of hours above 0"),
        ('connection = "pgkeep_source"', "", "databases.shop.connection: is missing; write the connection of its"),
        ("[defaults]", '[defaults]\ndbname = "x"', "defaults.dbname: would make every database the same one"),
        ("[databases.shop]", "[databases]\nshop = 1", "databases.shop: is not a section"),
        ("[defaults]", "[default]", "[default]: no such section; there are alerts, databases, defaults, keys"),
        ("@daily", '@daily"\nkey_days = "ten', "databases.shop.key_days: is 'ten'; write a number of days above 0"),
        ("[keys]", '[alerts]\nmail = "a@b.example"\n[keys]', "alerts.mail: is 'a@b.example'; write a list"),
        ("[keys]", '[alerts]\nmail = ["a b"]\n[keys]', "alerts.mail: is ['a b']; write a mail address"),
        ("[keys]", '[alerts]\nsender = "a@b\\nBcc: c@d"\n[keys]', "alerts.sender: is 'a@b\\nBcc: c@d'; write a mail"),
        ("[keys]", '[alerts]\nsmtp = "mail server"\n[keys]', "alerts.smtp: is 'mail server'; write an Airflow conn"),
        ("[keys]", '[alerts]\nnotifiers = "x"\n[keys]', "alerts.notifiers: is not a list of sections"),
        ("[keys]", "[[alerts.notifiers]]\n[keys]", "alerts.notifiers[0].class_name: is missing"),
        (
            "[keys]",
            '[[alerts.notifiers]]\nclass_name = "Slack"\n[keys]',
            "alerts.notifiers[0].class_name: is 'Slack'; write the dotted name of a class",
        ),
        (
            "[keys]",
            '[[alerts.notifiers]]\nclass_name = "a.B"\narguments = { "a b" = 1 }\n[keys]',
            "alerts.notifiers[0].arguments: is {'a b': 1}; write a table of keyword arguments",
        ),
    ],
)
def test_each_mistake_is_named_with_what_to_write(old: str, new: str, problem: str) -> None:
    found = problems(GOOD.replace(old, new))
    assert any(problem in line for line in found), found


def test_more_copies_than_peers_are_refused() -> None:
    text = GOOD.replace("copies = 2", "copies = 3")
    assert problems(text) == ["vault.copies: is 3, but there are 2 peers; write at most 2, or add [[vault.peers]]"]


def test_all_problems_are_told_at_once() -> None:
    text = GOOD.replace("copies = 2", "copies = 0").replace("A" * 40, "x").replace("@daily", "x")
    assert len(problems(text)) >= 4  # the schedule is wrong for both databases


def test_a_password_written_by_mistake_is_not_repeated() -> None:
    text = GOOD.replace('"pgkeep_source"', '"postgresql://keeper:hunter22@db/shop"')
    assert all("hunter22" not in line for line in problems(text))


def test_an_unknown_database_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no database 'shap'.*shop"):
        parse(GOOD).database("shap")


@pytest.mark.parametrize("name", ["sales", 'od"d\\ \x7f\n', "ünï"])
def test_a_database_is_added_and_the_rest_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pgkeep.toml"
    path.write_text("# mine\n" + GOOD, encoding="utf-8")
    path.chmod(0o600)
    settings.add_database(path, name, {"dbname": name, "approval_by_another": True})
    assert path.read_text(encoding="utf-8").startswith("# mine\n" + GOOD)
    assert path.stat().st_mode & 0o777 == 0o600
    assert settings.load(path).database(name).dbname == name
    assert settings.load(path).database(name).approval_by_another is True
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"[vault", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pgkeep.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not TOML"):
        settings.load(path)


@pytest.mark.parametrize("path", [None, "", "/nowhere/pgkeep.toml"])
def test_a_missing_file_says_what_to_export(path: str | None) -> None:
    with pytest.raises(ConfigError, match="PGKEEP_CONFIG"):
        settings.load(path)


# --- connections -------------------------------------------------------------------------------------------------

AS_JSON = {"conn_type": "postgres", "host": "db.example", "login": "keeper", "password": "p@ss", "schema": "shop"}
BOTH_FORMS = [
    "postgres://keeper:p%40ss@db.example:5433/shop?sslmode=require",
    "postgresql://keeper:p%40ss@db.example:5433/shop?sslmode=require",
    json.dumps({**AS_JSON, "port": 5433, "extra": {"sslmode": "require"}}),
    json.dumps({**AS_JSON, "port": "5433", "extra": '{"sslmode": "require"}'}),
]


@pytest.mark.parametrize("text", BOTH_FORMS)
def test_both_forms_of_a_connection_mean_the_same(text: str) -> None:
    found = settings.from_environment({"AIRFLOW_CONN_DB": text})("db")
    assert found == settings.Connection(
        id="db",
        type="postgres",
        host="db.example",
        port=5433,
        login="keeper",
        password="p@ss",
        schema="shop",
        extra={"sslmode": "require"},
    )
    assert "p@ss" not in repr(found)


def test_a_dash_in_a_uri_is_the_underscore_of_the_type() -> None:
    found = settings.from_environment({"AIRFLOW_CONN_C": "ipfs-cluster://u:p@h:9094"})("c")
    assert (found.type, found.port) == ("ipfs_cluster", 9094)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=8))
def test_a_broken_connection_never_shows_its_text(secret: str) -> None:
    for text in ("{" + secret, f"postgres://u:{quote(secret, safe='')}@h:notaport/x"):
        with pytest.raises(ConfigError) as caught:
            settings.from_environment({"AIRFLOW_CONN_X": text})("x")
        assert secret not in str(caught.value)
        assert quote(secret, safe="") not in str(caught.value)


def test_a_missing_connection_says_which_variable_to_export() -> None:
    with pytest.raises(ConfigError, match="AIRFLOW_CONN_PGKEEP_KUBO"):
        settings.from_environment({})("pgkeep_kubo")


def test_a_file_that_takes_no_section_says_what_to_write_by_hand(tmp_path: Path) -> None:
    path, text = tmp_path / "pgkeep.toml", "databases = {}\n" + GOOD.partition("[databases")[0]
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"takes no section more[^\[]*\[databases\.shop\]"):
        settings.add_database(path, "shop", {"dbname": "shop"})
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("address", ["https://wiki.example/backups", "mailto:operators@example.org"])
def test_a_runbook_can_be_clicked_on(address: str) -> None:
    assert parse(GOOD + f'runbook = "{address}"\n').database('we"ird Name').runbook == address


@pytest.mark.parametrize(
    "address", ["wiki", "javascript:alert(1)", "https://me:secret@wiki.example/", "mailto:nobody", ""]
)
def test_what_is_no_runbook(address: str) -> None:
    (problem,) = problems(GOOD + f'runbook = "{address}"\n')
    assert "write an address" in problem

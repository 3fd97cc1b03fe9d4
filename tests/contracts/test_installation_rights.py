"""What pgkeep installs in a source, and who: a superuser, an owner, an administrator who runs the script."""

import re
import subprocess
from pathlib import Path

import pytest

from fix_installation import LISTED, install, listed, look, major, synchronise
from fix_postgres import Database, Role, new_role, quoted
from pgkeep.adapters.postgres import installation
from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.programs import find_tools
from pgkeep.errors import ConfigError


def test_an_owner_installs_it_without_event_triggers(source: Database, owner: Role) -> None:
    source.run("CREATE TABLE not_his (id int PRIMARY KEY)")
    his = source.seen_by(owner)
    found = install(his)
    assert (found.publication, found.event_triggers, found.version) == (True, False, 2)
    assert listed(source) == LISTED
    his.run("CREATE TABLE new1 (id int PRIMARY KEY)", "ALTER TABLE keyed DROP CONSTRAINT keyed_pkey")
    assert listed(source) == LISTED
    synchronise(his)
    assert listed(source) == LISTED - {"keyed"} | {"new1"}
    assert install(his) == look(his)
    with his.session() as session:
        installation.remove(session)
    assert look(source).version is None


def test_without_the_right_to_create_it_is_refused(source: Database) -> None:
    with (
        new_role(source) as role,
        source.seen_by(role).session() as session,
        pytest.raises(ConfigError, match="permission"),
        translated(source.server),
    ):
        installation.install(session)


def test_a_superuser_does_not_call_what_somebody_with_fewer_rights_has_made(source: Database, owner: Role) -> None:
    install(source.seen_by(owner))
    for act in (install, synchronise):
        with pytest.raises(ConfigError, match=re.escape(owner.name)):
            act(source)
    with source.session() as session:
        installation.remove(session)
    assert install(source).event_triggers


def test_nothing_of_it_hangs_on_the_role_that_has_installed_it(source: Database) -> None:
    with new_role(source, "LOGIN SUPERUSER") as role, new_role(source) as heir:
        found = install(source.seen_by(role))
        source.run(f"REASSIGN OWNED BY {quoted(role.name)} TO {quoted(heir.name)}")
        source.run(f"DROP OWNED BY {quoted(role.name)}", f"ALTER ROLE {quoted(role.name)} NOSUPERUSER")
    assert look(source) == found


@pytest.mark.parametrize("event_triggers", [True, False])
def test_the_script_does_the_same(source: Database, tmp_path: Path, event_triggers: bool) -> None:
    """An administrator runs it, twice; then a role with no more than REPLICATION puts the tables on the list."""
    text = installation.script(server_version=major(source) * 10_000, event_triggers=event_triggers)
    file = tmp_path / "script.sql"
    file.write_text(text, encoding="utf-8")
    psql = find_tools(major(source)).directory / "psql"
    for _ in range(2):
        subprocess.run(
            [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file],
            env=source.server.environment(source.name),
            check=True,
            capture_output=True,
        )
    assert not listed(source)
    with new_role(source, "LOGIN REPLICATION") as role:
        found = install(source.seen_by(role))
    assert (found.publication, found.event_triggers) == (True, event_triggers)
    assert listed(source) == LISTED


def test_the_owner_of_all_tables_can_still_dump_them(source: Database, owner: Role) -> None:
    install(source, "keyless")
    his = source.seen_by(owner)
    source.run(f"ALTER VIEW seen OWNER TO {quoted(owner.name)}")
    pg_dump = find_tools(major(source)).directory / "pg_dump"
    done = subprocess.run([pg_dump], env=his.server.environment(his.name), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_role_of_that_name_works_where_it_worked_before(source: Database) -> None:
    """`"$user"` comes first in everybody's search path: a schema named as a role is that role's."""
    assert source.server.user == "pgkeep"
    install(source)
    source.run("CREATE TABLE mine (id int PRIMARY KEY)")
    assert "mine" in listed(source)
    assert source.ask("SELECT to_regclass('public.mine') IS NOT NULL") == [(True,)]

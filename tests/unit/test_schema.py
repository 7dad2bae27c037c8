"""The registry's schema: every way to the newest step ends at the same tables, on each database."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, MetaData, inspect, text

from analytics import tables as release_tables
from api import commands, schema, tables
from api.registry import open_engine, open_registry, shown_url
from contracts.ports import Fault, UsageFault
from tests.api_support import BAND_KEY, registry_for
from tests.registrykit.databases import postgres_url

#: How the tables begin that later steps made.
LATER = ("web_", "passkey", "objections", "addresses", "prompts", "recoveries", "retired", "gateways_")


def empty(kind: str, folder: Path) -> str:
    return f"sqlite:///{folder}/a.sqlite" if kind == "sqlite" else postgres_url(folder / "empty")


def differences(engine: Engine) -> list[object]:
    """What the migrated tables lack, or have too much, against the code's."""
    both = MetaData()
    for metadata in (tables.METADATA, release_tables.METADATA):
        for table in metadata.tables.values():
            table.to_metadata(both)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [d for d in compare_metadata(context, both) if "alembic_version" not in str(d)]


def triggers(engine: Engine) -> int:
    counts = {
        "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal",
    }
    with engine.connect() as connection:
        return int(connection.scalar(text(counts[engine.dialect.name])) or 0)


def test_the_migrations_make_the_tables_of_the_code(database: str, tmp_path: Path) -> None:
    engine = open_engine(empty(database, tmp_path))
    assert schema.upgrade(engine) == (None, schema.newest())
    assert differences(engine) == []
    assert triggers(engine) == {"sqlite": 14, "postgresql": 7}[database]
    assert schema.upgrade(engine) == (schema.newest(), schema.newest())


def test_a_registry_from_before_migrations_is_taken_over_with_its_rows(database: str, tmp_path: Path) -> None:
    engine = open_engine(empty(database, tmp_path))
    old = MetaData()
    for table in tables.METADATA.tables.values():
        if not table.name.startswith(LATER):
            table.to_metadata(old)
    old.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE access_log DROP COLUMN times"))  # a later step's
        connection.execute(text("INSERT INTO registry_meta (name, value) VALUES ('installation', 'abc')"))
    schema.upgrade(engine)
    assert differences(engine) == []
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT value FROM registry_meta")) == "abc"


def test_a_step_that_fails_leaves_nothing_behind(database: str, tmp_path: Path) -> None:
    engine = open_engine(empty(database, tmp_path))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE web_sessions (hash INTEGER)"))  # in the way of the second step
    with pytest.raises(Exception, match="web_sessions"):
        schema.upgrade(engine)
    assert set(inspect(engine).get_table_names()) == {"web_sessions"}


def test_sqlite_goes_to_the_newest_step_by_itself_and_postgresql_only_when_told(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = empty(database, tmp_path)
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", url)
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", BAND_KEY)
    if database == "postgresql":
        with pytest.raises(Fault, match="run 'wijkpols registry upgrade'"):
            open_registry(url)
        assert command("upgrade") == 0
    open_registry(url).dispose()
    assert command("upgrade") == 0
    assert command("check") == 0
    assert f"stands at step {schema.newest()}" in capsys.readouterr().out


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    commands.add_registry_arguments(parser)
    return commands.run_registry(parser.parse_args(words))


def test_a_registry_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    engine = registry_for(tmp_path).engine
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Fault, match="newer version"):
        schema.check(engine)
    with pytest.raises(Fault):
        open_registry(f"sqlite:///{tmp_path}/registry.sqlite")


def test_a_server_that_is_not_there_is_one_line_without_the_password() -> None:
    url = "postgresql://me:hunter2@127.0.0.1:9/none"
    with pytest.raises(Fault) as fault:
        open_registry(url)
    assert "hunter2" not in str(fault.value) + shown_url(url)
    with pytest.raises(UsageFault):
        open_engine("mysql://me:hunter2@127.0.0.1/none")

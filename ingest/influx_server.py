"""What differs between InfluxDB's versions: how the database with its retention is made, and how one person is erased.

Writing and InfluxQL are the same in all of them. Run against 1.6.7 (Debian's) by the tests. The requests to 2.x are
those of influxdb-client, which is generated from its published API; they have not met a real server here. 3 is refused:
it cannot erase one person.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from contracts.ports import Fault, UsageFault
from contracts.reading import RETENTION_DAYS
from ingest.influx_client import InfluxAnswer, InfluxClient
from ingest.line_protocol import READINGS

#: Where readings stand while others of their minutes are erased: InfluxDB erases points, never a field of one.
KEPT: Final = "reading_kept"
#: The name of our retention policy, whatever others the database has.
POLICY: Final = "wijkpols"
_RETENTION_S: Final = RETENTION_DAYS * 86_400
_DURATION: Final = re.compile(r"(\d+)(h|m|s)")
_UNITS: Final = {"h": 3600, "m": 60, "s": 1}


class InfluxServer(Protocol):
    """One major version's way to do what differs."""

    def prepare(self) -> None:
        """Make the database with its retention if it is missing; never widen one that stands. Raises Fault."""

    def erase(self, pseudonym: str) -> None:
        """Delete all of one pseudonym; done when it returns. Raises InfluxAnswer, StoreUnavailable."""

    def erase_from(self, measurement: str, pseudonym: str, before: int) -> None:
        """Delete what one pseudonym has in a measurement, of before a second (unix). Raises the same."""


def find_server(client: InfluxClient) -> InfluxServer:
    """Ask the server which it is. Raises Fault or UsageFault, and StoreUnavailable when nobody answers."""
    version, build = client.version()
    major = version.partition(".")[0]
    match major:
        case "1":
            client.speak(1)
            return InfluxServer1(client)
        case "2":
            client.speak(2)
            return InfluxServer2(client)
        case "3":
            raise UsageFault(
                f"InfluxDB 3 ({build or 'unknown build'}) cannot erase one person, which a withdrawal demands:"
                " use InfluxDB 1.x or 2.x, or duckdb:///FILE"
            )
        case _:
            raise UsageFault(f"{client.address} does not answer as InfluxDB does: check the host and the port")


class InfluxServer1:
    """InfluxDB 1.x: everything by InfluxQL."""

    def __init__(self, client: InfluxClient) -> None:
        self._client = client
        self._database = client.address.database

    def prepare(self) -> None:
        """The database, and a retention policy of our own in it."""
        try:
            duration = self._duration()
            if duration is None:
                self._create()
                duration = self._duration()
        except InfluxAnswer as answer:
            raise _not_prepared(self._client, answer) from None
        _check_retention(self._client, duration)

    def erase(self, pseudonym: str) -> None:
        """Drop the person's series, in every retention policy of the database."""
        self._client.query(f"DROP SERIES FROM {READINGS}, report, {KEPT} WHERE pseudonym = '{pseudonym}'")

    def erase_from(self, measurement: str, pseudonym: str, before: int) -> None:
        """Delete points: a series that has none left stays in the index."""
        self._client.query(f"DELETE FROM {measurement} WHERE pseudonym = '{pseudonym}' AND time < {int(before)}s")

    def _duration(self) -> int | None:
        """Seconds that our policy keeps points, 0 for ever, None when it is missing."""
        try:
            series = self._client.query(f'SHOW RETENTION POLICIES ON "{self._database}"')
        except InfluxAnswer as answer:
            if "database not found" in answer.text:
                return None
            raise
        for name, duration, *_ in series[0].get("values", ()):
            if name == POLICY:
                return sum(int(count) * _UNITS[unit] for count, unit in _DURATION.findall(duration))
        return None

    def _create(self) -> None:
        self._client.query(f'CREATE DATABASE "{self._database}"')
        self._client.query(
            f'CREATE RETENTION POLICY "{POLICY}" ON "{self._database}"'
            f" DURATION {RETENTION_DAYS}d REPLICATION 1 SHARD DURATION 1d"
        )


class InfluxServer2:
    """InfluxDB 2.x: buckets and deletes by its HTTP API; the password of the URL is a token."""

    def __init__(self, client: InfluxClient) -> None:
        self._client = client

    def prepare(self) -> None:
        """The organisation, and a bucket in it."""
        client = self._client
        try:
            found = client.organizations()
            if len(found) != 1:
                raise UsageFault(
                    "name the organisation in the store's URL: influxdb://:TOKEN@HOST:8086/DATABASE?org=NAME"
                )
            client.org = found[0]
            kept = client.bucket_retention(client.org, client.bucket)
            if kept is None:
                client.create_bucket(client.org, client.bucket, retention_s=_RETENTION_S, shard_s=86_400)
                kept = client.bucket_retention(client.org, client.bucket)
        except InfluxAnswer as answer:
            # 404 on a search by name means that there is none that this token may see.
            raise _not_prepared(client, answer) from None
        _check_retention(client, kept)

    def erase(self, pseudonym: str) -> None:
        """Delete by predicate over all time."""
        self._client.delete(self._client.org, self._client.bucket, f'pseudonym="{pseudonym}"')

    def erase_from(self, measurement: str, pseudonym: str, before: int) -> None:
        """The same in one measurement, up to a time."""
        predicate = f'_measurement="{measurement}" AND pseudonym="{pseudonym}"'
        self._client.delete(self._client.org, self._client.bucket, predicate, before=before)


def _check_retention(client: InfluxClient, seconds: int | None) -> None:
    if not seconds or seconds > _RETENTION_S:
        raise Fault(
            f"{client.address} keeps {client.address.database}.{POLICY} longer than {RETENTION_DAYS} days:"
            f" set its retention to {RETENTION_DAYS}d or less, or name another database"
        )


def _not_prepared(client: InfluxClient, answer: InfluxAnswer) -> Fault:
    if answer.status in (401, 403) or "authorized" in answer.text:
        return Fault(
            f"{client.address} refuses this login for {client.address.database}: check user and password in the"
            " store's URL, and that the user may create the database or was granted ALL on it"
        )
    return Fault(f"{client.address} cannot prepare the database {client.address.database} ({answer})")

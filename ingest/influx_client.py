"""HTTP to an InfluxDB server, by influxdb-client: the one module that imports it.

influxdb-client speaks to 2.x; on 1.x its write path is rewritten, and the login goes as HTTP Basic (its own
`username=` would call a sign-in that 1.x has not). Everything is synchronous: the client's batching writer loses
data without a word when the server is down. No error text holds the login or a line that was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import urllib3
from influxdb_client._sync.api_client import ApiClient
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from contracts.ports import StoreUnavailable

TIMEOUT_MS: Final = (5_000, 60_000)  # to connect, to read
#: From and until, of a deletion: all that a minute of ours can be.
_ALL_TIME: Final = ("1970-01-01T00:00:00Z", "2200-01-01T00:00:00Z")
_STREAM_BYTES: Final = 1 << 16

T = TypeVar("T")


class InfluxAddress(NamedTuple):
    """Where the server is and who we are. `str()` and `repr()` show no login."""

    host: str
    port: int
    database: str
    tls: bool = False
    username: str = ""
    password: str = ""
    org: str = ""  # of InfluxDB 2.x; empty: the only one that there is

    @property
    def base(self) -> str:
        """The URL of the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        return f"InfluxDB at {self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<{self}>"


class InfluxAnswer(Exception):
    """The server answered, but not with success. `text` is its error message: it can hold what was sent."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.text = text


class InfluxClient:
    """One server, one database and retention policy. Thread-safe, as urllib3's pools are."""

    def __init__(self, address: InfluxAddress, *, policy: str) -> None:
        self.address = address
        self.policy = policy
        self.bucket = f"{address.database}/{policy}"  # by this name InfluxQL of 2.x finds the database and the policy
        self.org = address.org  # of 2.x, a name or an id; 1.x has none
        self._major = 1
        self._client: Any = self._build()
        self._writer: Any = self._client.write_api(write_options=SYNCHRONOUS)

    def version(self) -> tuple[str, str]:
        """(version, build) as the server's `/ping` tells, such as ('1.6.7', 'OSS')."""
        response = self._call("GET", "/ping", {}, {})
        response.release_conn()
        return (
            response.headers.get("X-Influxdb-Version", "").removeprefix("v"),
            response.headers.get("X-Influxdb-Build", ""),
        )

    def speak(self, major: int) -> None:
        """Use the paths and the login of this major version from now on."""
        self._client.close()
        self._major = major
        self._client = self._build()
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, lines: bytes) -> None:
        """Line protocol with times in seconds; durable when it returns. Raises InfluxAnswer, StoreUnavailable."""
        self._told(
            lambda: self._writer.write(
                bucket=self.bucket, org=self.org or "-", record=lines, write_precision=WritePrecision.S
            )
        )

    def query(self, text: str, **parameters: str) -> list[dict[str, Any]]:
        """The series of one InfluxQL statement. Raises InfluxAnswer, StoreUnavailable."""
        response = self._ask(text, {"epoch": "s", **parameters}, {})
        try:
            answer = json.loads(response.data)["results"][0]
        except (urllib3.exceptions.HTTPError, OSError, ValueError, LookupError) as fault:
            raise self._unavailable(fault) from None
        if "error" in answer:
            raise InfluxAnswer(200, answer["error"])
        return list(answer.get("series", ()))

    def stream(self, text: str, *, chunk_rows: int = 10_000) -> Iterator[bytes]:
        """The answer to one InfluxQL statement as pieces of chunked msgpack, as they come."""
        response = self._ask(
            text,
            {"epoch": "s", "chunked": "true", "chunk_size": str(chunk_rows)},
            {"Accept": "application/x-msgpack"},
        )
        try:
            yield from response.stream(_STREAM_BYTES)
        except (urllib3.exceptions.HTTPError, OSError) as fault:
            raise self._unavailable(fault) from None
        finally:
            response.close()  # a reader that leaves early must not hand a half-read connection back to the pool

    def organizations(self) -> list[str]:
        """2.x: the ids of the organisations that this token sees, of the one with the address's name if it has one."""
        named = {"org": self.address.org} if self.address.org else {}
        return [found.id for found in self._told(lambda: self._client.organizations_api().find_organizations(**named))]

    def bucket_retention(self, org: str, name: str) -> int | None:
        """2.x: the seconds that a bucket keeps its points, 0 for ever, None when there is no such bucket."""
        found = self._told(lambda: self._client.buckets_api().find_buckets(org_id=org, name=name)).buckets
        return min((rule.every_seconds for rule in found[0].retention_rules), default=0) if found else None

    def create_bucket(self, org: str, name: str, *, retention_s: int, shard_s: int) -> None:
        """2.x: make a bucket."""
        rule = BucketRetentionRules(  # type: ignore[no-untyped-call]
            type="expire", every_seconds=retention_s, shard_group_duration_seconds=shard_s
        )
        self._told(lambda: self._client.buckets_api().create_bucket(bucket_name=name, org=org, retention_rules=rule))

    def delete(self, org: str, bucket: str, predicate: str, *, before: int | None = None) -> None:
        """2.x: delete what a predicate names, of all time or of before a second (unix).

        Raises InfluxAnswer, StoreUnavailable, as all these do.
        """
        start, stop = _ALL_TIME
        if before is not None:  # the last nanosecond: right whether a server takes the end in or not
            stop = datetime.fromtimestamp(before - 1, UTC).strftime("%Y-%m-%dT%H:%M:%S.999999999Z")
        self._told(lambda: self._client.delete_api().delete(start, stop, predicate, bucket=bucket, org=org))

    def close(self) -> None:
        """Let go of the connections. Repeatable."""
        self._client.close()

    def _build(self) -> InfluxDBClient:
        login = self.address.password
        if self._major == 1:
            login = f"{self.address.username}:{self.address.password}"
        client = InfluxDBClient(self.address.base, token=login, auth_basic=self._major == 1, timeout=TIMEOUT_MS)
        if self._major == 1:
            client.api_client = _ApiClient1(  # type: ignore[no-untyped-call]
                client.conf, client.auth_header_name, client.auth_header_value, retries=client.retries
            )
        return client

    def _ask(self, text: str, parameters: dict[str, str], headers: dict[str, str]) -> urllib3.HTTPResponse:
        query = {"db": self.address.database, "rp": self.policy, **parameters}
        headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self._call("POST", "/query", query, headers, fields={"q": text})

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        fields: dict[str, str] | None = None,
    ) -> urllib3.HTTPResponse:
        api = self._client.api_client
        url = f"{self.address.base}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        try:
            response: urllib3.HTTPResponse = api.rest_client.request(
                method,
                url,
                headers={**api.default_headers, **headers},
                post_params=fields,
                _preload_content=False,
            )
        except ApiException as fault:
            raise self._answer(fault) from None
        except (urllib3.exceptions.HTTPError, OSError) as fault:
            raise self._unavailable(fault) from None
        return response

    def _told(self, ask: Callable[[], T]) -> T:
        """What the client's own API gives, its exceptions made ours."""
        try:
            return ask()
        except ApiException as fault:
            raise self._answer(fault) from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as fault:  # ValueError: no answer of that API
            raise self._unavailable(fault) from None

    def _answer(self, fault: ApiException) -> Exception:
        if not fault.status:
            return self._unavailable(fault)
        text = fault.body.decode(errors="replace") if isinstance(fault.body, bytes) else str(fault.body or "")
        try:
            told = json.loads(text)
            text = str(told.get("error") or told.get("message") or text)
        except (ValueError, AttributeError):
            pass  # an answer that is no JSON, from a proxy perhaps, stands as it is
        return InfluxAnswer(int(fault.status), text)

    def _unavailable(self, fault: BaseException) -> StoreUnavailable:
        return StoreUnavailable(f"{self.address}: {type(fault).__name__}")


class _ApiClient1(ApiClient):
    """influxdb-client's HTTP for a server of 1.x: `/write?db=…&rp=…` stands for `/api/v2/write?bucket=…`."""

    def request(self, method: str, url: str, query_params: Any = None, **rest: Any) -> Any:  # type: ignore[override]
        """Send a request, its write path translated."""
        if url.endswith("/api/v2/write"):
            given = dict(query_params or ())
            database, _, policy = given["bucket"].partition("/")
            url = url.removesuffix("/api/v2/write") + "/write"
            query_params = [("db", database), ("rp", policy), ("precision", given["precision"])]
        return super().request(method, url, query_params=query_params, **rest)  # type: ignore[no-untyped-call]

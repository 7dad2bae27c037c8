"""The parts of the house that run in the demonstration's own process: broker, ingest, analytics, pages."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, Self

from analytics.app import Analytics
from analytics.own import own_calm
from analytics.release_log import ReleaseLog
from api.app import Registry, build, listen, server
from api.consent_publisher import ConsentPublisher
from api.settings import PREFIX, Settings, read_settings
from contracts.broker_url import BrokerAddress
from contracts.district import District
from contracts.ports import Fault, ReadingStore, SystemClock
from contracts.wire import GatewayStatus
from demo.embedded_broker import EmbeddedBroker
from ingest.app import Ingest, open_store

HOST: Final = "127.0.0.1"
#: The same by name: a browser makes no passkey for a number.
_NAME: Final = "localhost"
#: Settings of ours that the commands of another terminal need.
_SHARED: Final = ("registry_url", "broker_url", "band_key", "controller_name", "public_url")
_STOP_S_MAX: Final = 10.0
_READY_S_MAX: Final = 30.0
_LAST_WORD_S_MAX: Final = 10.0
_POLL_S: Final = 0.05


class SettableClock:
    """The API's clock: set back while the volunteers enrol at the beginning of the played days, then the machine's."""

    def __init__(self) -> None:
        self._fixed: float | None = None
        self._system = SystemClock()

    def set(self, now: float | None) -> None:
        """Stand still at `now` (unix seconds), or None to go with the machine again."""
        self._fixed = now

    def now(self) -> float:
        """Unix seconds, UTC."""
        return self._system.now() if self._fixed is None else self._fixed


class House:
    """Everything but bands and gateways, for as long as the `with` block lasts. Raises Fault or UsageFault."""

    def __init__(
        self, *, folder: Path, broker_url: str | None, store_url: str | None, port: int, note: tuple[str, str]
    ) -> None:
        self._folder = folder
        self._given_broker = broker_url
        self._store_url = store_url or f"duckdb:///{folder.resolve() / 'readings.duckdb'}"
        self._port = port
        self._note = note
        self._stack = ExitStack()
        self.clock = SettableClock()
        self.band_key = _kept_secret(folder / "band-key")
        self.broker_url = ""
        self.address = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        broker = BrokerAddress.parse(self._given_broker) if self._given_broker else None
        # What can be wrong with what was asked for is said before anything starts.
        bound = stack.enter_context(closing(listen(HOST, self._port)))
        self.address = f"http://{_NAME}:{bound.getsockname()[1]}"
        self.store: ReadingStore = stack.enter_context(closing(open_store(self._store_url)))
        if broker is None:
            self.broker_url = stack.enter_context(EmbeddedBroker()).url
            broker = BrokerAddress.parse(self.broker_url)
        else:
            self.broker_url = self._given_broker or ""
        self.registry = Registry(self._settings(), clock=self.clock)
        self.log = ReleaseLog(self.registry.engine)
        self.analytics = Analytics(
            store=self.store, consents=self.registry.ledger, log=self.log, clock=SystemClock(), grace_s=0
        )
        app = stack.enter_context(
            build(
                self._settings(),
                releases=self.log,
                own_data=self.store,
                own_calm=own_calm,
                clock=self.clock,
                registry=self.registry,
            )
        )
        self._publisher: ConsentPublisher = app.state.parts.publisher
        self.ingest = stack.enter_context(
            Ingest(store=self.store, broker=broker, clock=SystemClock(), rejects=self._folder / "rejects.sqlite")
        )
        self.ingest.wait_until_ready(_READY_S_MAX)
        web = server(app)
        thread = threading.Thread(target=web.run, kwargs={"sockets": [bound]}, name="pages")

        def stop_pages() -> None:
            web.should_exit = True
            thread.join(_STOP_S_MAX)

        thread.start()
        stack.callback(stop_pages)

    def last_word_of(self, gateway: str) -> GatewayStatus:
        """The status with which a gateway left. Raises Fault when it left without one."""
        deadline = time.monotonic() + _LAST_WORD_S_MAX
        while time.monotonic() < deadline:
            for status in self._publisher.gateways():
                if status.gateway == gateway and not status.online:
                    return status
            time.sleep(_POLL_S)
        raise Fault("the gateway left without a last status: gateway.log in the data folder (--data) tells more")

    def districts(self) -> Sequence[District]:
        """The districts of this installation."""
        return self.registry.districts.all()

    def shared_settings(self) -> dict[str, str]:
        """Settings by which a command finds this registry and broker, as `WIJKPOLS_…`: value. They hold secrets."""
        return {f"{PREFIX}{name.upper()}": str(self._given()[name]) for name in _SHARED}

    def _settings(self) -> Settings:
        return read_settings(**self._given())

    def _given(self) -> dict[str, str]:
        return {
            "registry_url": f"sqlite:///{self._folder.resolve() / 'registry.sqlite'}",
            "broker_url": self.broker_url,
            "band_key": self.band_key,
            "controller_name": "Gemeente Utrecht (demonstratie)",
            "public_url": self.address,
            "demo_note": self._note[0],
            "demo_note_en": self._note[1],
        }


def _kept_secret(file: Path) -> str:
    """A random secret in hex, the same at the next start with this folder."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text().strip()

"""The API's front room: the only place that reads settings and builds parts."""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from analytics.release_log import ReleaseLog
from api.access_log import AccessLog
from api.accounts import Accounts
from api.addresses import Addresses
from api.band_stops import BandStops
from api.bands import Bands
from api.citizen import district_routes, openness_routes, page_routes, reason_routes, release_routes
from api.consent_publisher import ConsentPublisher
from api.districts import Districts
from api.gateways_seen import GatewaysSeen
from api.http_headers import CommonHeaders, is_api_path
from api.ledger import Ledger
from api.middleware import BodyLimit, LastResort
from api.moves import Moves
from api.notices import Notices
from api.objections import Objections
from api.openapi import describe
from api.outbox import ConsentOutbox
from api.parts import Parts
from api.passkeys import Passkeys
from api.problems import add_problem_handlers, http_problem
from api.prompts import Prompts
from api.receipts import Receipts
from api.recoveries import Recoveries
from api.registry import open_registry
from api.renewals import Renewals
from api.retention import Retention
from api.settings import Settings, read_settings
from api.shown_once import ShownOnce
from api.sources import ReleaseSource
from api.tables import META
from api.throttle import Guard
from api.volunteer import entry_pages, own_pages, passkey_pages, rights_pages, wish_pages
from api.volunteer import routes as volunteer_routes
from contracts.broker_url import BrokerAddress
from contracts.consent import band_key
from contracts.ports import Clock, Fault, OwnCalm, ReadingStore, SystemClock

_LOG = logging.getLogger(__name__)
_STOP_SECONDS: Final = 5


def create_app(
    *,
    ledger: Ledger,
    releases: ReleaseSource,
    districts: Districts,
    access_log: AccessLog,
    publisher: ConsentPublisher | None,
    own_data: ReadingStore | None,
    own_calm: OwnCalm | None = None,
    clock: Clock,
    settings: Settings,
    notices: Notices | None = None,
    accounts: Accounts | None = None,
) -> FastAPI:
    """The pages, with the API under /v1.

    `own_data` is asked for one pseudonym only: the one that is logged in; `own_calm` works out what is drawn of it.
    """
    notices = notices or Notices()
    accounts = accounts or Accounts(ledger.engine, clock=clock)
    parts = Parts(
        ledger=ledger,
        releases=releases,
        districts=districts,
        access_log=access_log,
        notices=notices,
        publisher=publisher,
        own_data=own_data,
        own_calm=own_calm,
        clock=clock,
        settings=settings,
        accounts=accounts,
        renewals=Renewals(ledger.engine, clock=clock, notices=notices),
        receipts=Receipts(ledger.engine, clock=clock),
        moves=Moves(ledger, clock=clock),
        objections=Objections(ledger.engine, clock=clock),
        guard=Guard(),
        addresses=Addresses(ledger.engine, key_file=settings.email_key_file),
        prompts=Prompts(ledger.engine, clock=clock),
        recoveries=Recoveries(ledger.engine, clock=clock, accounts=accounts, ledger=ledger),
        passkeys=Passkeys(ledger.engine, clock=clock, public_url=settings.public_url),
        shown_once=ShownOnce(ledger.engine, clock=clock),
    )
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.parts = parts
    for module in (page_routes, entry_pages, own_pages, passkey_pages, rights_pages, wish_pages):
        app.include_router(module.router)
    app.mount("/v1", _api(parts))
    app.add_exception_handler(HTTPException, _error)
    app.add_exception_handler(RequestValidationError, _error)
    app.add_middleware(LastResort, answer=_error)
    app.add_middleware(CommonHeaders, https=settings.public_url.startswith("https://"))
    return app


class Registry:
    """What stands on the registry's database."""

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        self._clock = clock
        self.engine = open_registry(settings.registry_url)
        self.notices = Notices()
        self.renewals = Renewals(self.engine, clock=clock, notices=self.notices)
        self.renewals.hold_texts()
        self.retention = Retention(self.engine, clock=clock)
        self.accounts = Accounts(self.engine, clock=clock)
        self.districts = Districts(self.engine)
        self.access_log = AccessLog(self.engine, clock=clock)
        self.outbox = ConsentOutbox(self.engine)
        key = band_key(settings.band_key.get_secret_value())
        self.ledger = Ledger(
            self.engine,
            clock=clock,
            band_key=key,
            notices=self.notices,
            known_district=self.districts.known,
            controller=settings.controller_name,
            public_url=settings.public_url,
            storage_location=settings.storage_location,
            about_to_read=self.access_log.record_analytics,
        )
        self.bands = Bands(self.ledger, band_key=key)

    def publisher(self, broker_url: str) -> ConsentPublisher | None:
        """A publisher for this registry, to be entered; None when no broker is named."""
        if not broker_url:
            return None
        client_id = f"wijkpols-api-{_installation(self.engine)}"  # the same at each start: the broker keeps a session
        return ConsentPublisher(
            BrokerAddress.parse(broker_url),
            ledger=self.ledger,
            stops=BandStops(self.ledger, clock=self._clock),
            outbox=self.outbox,
            client_id=client_id,
            seen=GatewaysSeen(self.engine),
            sweeps=(self.renewals.sweep, self.retention.sweep),
        )


def registry_from_settings() -> Registry:
    """The registry that the settings name, for commands. Raises Fault or UsageFault."""
    return Registry(read_settings(), clock=SystemClock())


@contextlib.contextmanager
def build(
    settings: Settings,
    *,
    releases: ReleaseSource,
    own_data: ReadingStore | None = None,
    own_calm: OwnCalm | None = None,
    clock: Clock | None = None,
    registry: Registry | None = None,
) -> Iterator[FastAPI]:
    """Every part put together, the publisher at work until the end. Raises Fault or UsageFault."""
    clock = clock or SystemClock()
    registry = registry or Registry(settings, clock=clock)
    registry.renewals.sweep()  # before anything is published: the notice may be a new one
    with contextlib.ExitStack() as stack:
        publisher = registry.publisher(settings.broker_url)
        if publisher is not None:
            stack.enter_context(publisher)
        yield create_app(
            ledger=registry.ledger,
            releases=releases,
            districts=registry.districts,
            access_log=registry.access_log,
            publisher=publisher,
            own_data=own_data,
            own_calm=own_calm,
            clock=clock,
            settings=settings,
            notices=registry.notices,
            accounts=registry.accounts,
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port in use is told before anything starts. Raises Fault."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, for asyncio switches Nagle's algorithm off only then: 40 ms for each answer otherwise.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except OSError as fault:
        bound.close()
        if fault.errno == errno.EADDRINUSE:
            raise Fault(f"port {port} is in use: stop what listens there, or choose another with --port") from None
        raise Fault(f"cannot listen on {host} port {port}: {fault.strerror}") from None
    return bound


def server(app: FastAPI) -> uvicorn.Server:
    """A server for `run(sockets=[listen(…)])`. It keeps no log of who asks: an address is personal data."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols api`."""
    parser.add_argument("--host", help="address to listen on (WIJKPOLS_API_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (WIJKPOLS_API_PORT)")


def run(
    args: argparse.Namespace,
    *,
    open_store: Callable[[str], ReadingStore] | None = None,
    own_calm: OwnCalm | None = None,
) -> int:
    """Serve until Ctrl-C or SIGTERM. Raises Fault or UsageFault.

    `open_store` opens `WIJKPOLS_STORE_URL` for the volunteers' own data; a DuckDB file is one process's own, so that
    beside a running ingest it is of use with InfluxDB only. Without one, the pages say that it is elsewhere.
    """
    given = {"api_host": args.host, "api_port": args.port}
    settings = read_settings(**{name: value for name, value in given.items() if value is not None})
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it the same way
    try:
        registry = Registry(settings, clock=SystemClock())
        with (
            _own_data(settings.store_url, open_store) as own_data,
            build(
                settings,
                releases=ReleaseLog(registry.engine),
                own_data=own_data,
                own_calm=own_calm,
                registry=registry,
            ) as app,
            listen(settings.api_host, settings.api_port) as bound,
        ):
            host, port = bound.getsockname()[:2]
            _LOG.info("listening on http://%s:%d", host, port)
            server(app).run(sockets=[bound])
    except KeyboardInterrupt:
        _LOG.info("stopped")
    return 0


@contextlib.contextmanager
def _own_data(url: str, open_store: Callable[[str], ReadingStore] | None) -> Iterator[ReadingStore | None]:
    if open_store is None or not url:
        yield None
        return
    with contextlib.closing(open_store(url)) as store:
        yield store


def _api(parts: Parts) -> FastAPI:
    api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    api.state.parts = parts
    for module in (district_routes, release_routes, reason_routes, openness_routes, volunteer_routes):
        api.include_router(module.router)
    document = describe(api, parts.settings)

    @api.get("/openapi.json", include_in_schema=False)
    def get_openapi_document() -> JSONResponse:
        return JSONResponse(document)

    add_problem_handlers(api)
    api.add_middleware(BodyLimit)
    api.add_middleware(LastResort, answer=_error)
    api.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["GET"], expose_headers=["API-Version", "Link"]
    )
    return api


def _error(request: Request, fault: Exception) -> Response:
    status = fault.status_code if isinstance(fault, HTTPException) else 500
    if isinstance(fault, RequestValidationError):
        status = 404
    if is_api_path(request.url.path):
        return http_problem(status)
    return page_routes.not_found(request.app.state.parts, request.url.path, status)


def _installation(engine: Engine) -> str:
    """A random name of this registry, made once."""
    query = select(META.c.value).where(META.c.name == "installation")
    with engine.connect() as connection:
        found = connection.scalar(query)
    if found is not None:
        return str(found)
    try:
        with engine.begin() as connection:
            connection.execute(insert(META).values(name="installation", value=secrets.token_hex(8)))
    except IntegrityError:
        _LOG.debug("another process named this registry first")
    with engine.connect() as connection:
        return str(connection.scalar(query))

"""What was released, what it cost and by which plan: the registry's append-only history.

A release, its claims and its budget entry are one transaction. SQLite takes the write lock at its beginning
(BEGIN IMMEDIATE); PostgreSQL locks the claims and runs it SERIALIZABLE. The claims' primary key decides between two
schedulers either way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, Table, create_engine, event, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from analytics.budget import PERIOD_DAYS, PERIOD_S, RHO_CAP, Entry, check, spent
from analytics.derived import with_derived
from analytics.leaf import Leaf
from analytics.plan import Plan, plan_of
from analytics.tables import CELLS, CLAIMS, LEAVES, LEDGER, METADATA, PLANS, PROFILES, REASONS
from analytics.totals import totals
from analytics.windows import instant
from contracts.ports import Fault, UsageFault
from contracts.release import METHOD_VERSION, Area, Budget, Cadence, Cell, Metric, ProfileBlock, ReasonCount, Window

#: How long a writer waits for another one before it gives up, in seconds.
BUSY_S: Final = 30.0
_NOT_WRITABLE: Final = (
    "the registry cannot be opened or written: check WIJKPOLS_REGISTRY_URL, that its folder may be written to, "
    "and that the database is up"
)


Figure = Cell | ReasonCount | ProfileBlock | Leaf
_Kind = TypeVar("_Kind", bound=Figure)


class AlreadyReleased(Exception):
    """The key is taken: this area and window have their one draw, or another scheduler is making it."""


class Replanned(AlreadyReleased):
    """The window is no longer this area's: a later plan holds for it, and its areas have the draws."""


def open_engine(url: str) -> Engine:
    """An engine for `WIJKPOLS_REGISTRY_URL`. Raises UsageFault for a URL that SQLAlchemy cannot use, or Fault."""
    try:
        parsed = make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        engine = create_engine(parsed, connect_args={"timeout": BUSY_S} if sqlite else {})
        on_disk = sqlite and parsed.database not in (None, "", ":memory:")
        if on_disk:
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise UsageFault(
            "WIJKPOLS_REGISTRY_URL is no database that can be used here: give sqlite:///path/to/registry.sqlite "
            "or postgresql+psycopg://user@host/name"
        ) from None
    except OSError:
        raise Fault(_NOT_WRITABLE) from None
    if on_disk:
        # With a write-ahead log readers never wait for a writer; FULL keeps a commit through a power cut.
        @event.listens_for(engine, "connect")
        def _settings(connection: object, _record: object) -> None:
            cursor = connection.cursor()  # type: ignore[attr-defined]
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.close()

    return engine


class ReleaseLog:
    """The release log of one registry database. Any number of these may work on one database at once."""

    def __init__(self, engine: Engine) -> None:
        """Makes the tables that are missing. Raises Fault when the database cannot be written."""
        self._engine = engine
        try:
            with self._writing(tables_are_there=False) as connection:
                METADATA.create_all(connection)
        except DBAPIError as fault:
            raise Fault(_NOT_WRITABLE) from fault

    def publish(
        self, *, area: Area, window: Window, rho: float, draw: Callable[[], Sequence[Figure]]
    ) -> tuple[Figure, ...]:
        """Claim the key, charge the budget, draw once and keep the result: all of it, or nothing.

        Raises AlreadyReleased or `budget.InsufficientBudget`; `draw` has not been called then.
        """
        with self._writing() as connection:
            # Set since the scheduler looked, perhaps: nobody may be in a day by one plan and in its week by another.
            plan = plan_of(window, self._plans(connection))
            if plan is not None and area not in plan.areas:
                raise Replanned(f"{area.code} {window.name}")
            claims = [{"district": d, "window": window.name, "method": METHOD_VERSION} for d in area.districts]
            # By any version of the method: while a city upgrades, an old and a new scheduler may run at once.
            earlier = select(CLAIMS.c.method).where(
                CLAIMS.c.window == window.name, CLAIMS.c.district.in_(area.districts)
            )
            if connection.execute(earlier).first() is not None:
                raise AlreadyReleased(f"{area.code} {window.name}")
            try:
                connection.execute(insert(CLAIMS), claims)
            except IntegrityError:
                raise AlreadyReleased(f"{area.code} {window.name}") from None
            entry = Entry(area.code, window.name, area.cadence, window.end, METHOD_VERSION, rho)
            check(self._ledger(connection, around=window.end), entry)
            figures = tuple(draw())
            connection.execute(insert(LEDGER), [_ledger_row(entry)])
            for table, kind in ((CELLS, Cell), (LEAVES, Leaf), (REASONS, ReasonCount), (PROFILES, ProfileBlock)):
                rows = [_figure_row(figure) for figure in figures if isinstance(figure, kind)]
                if rows:
                    connection.execute(insert(table), rows)
        return figures

    def reasons(
        self, *, districts: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[ReasonCount]:
        """The weeks' reasons, published and withheld, of weeks that begin in [start, end), in order of time."""
        return self._found(REASONS, ReasonCount, districts, start, end)

    def profiles(
        self, *, districts: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[ProfileBlock]:
        """The weeks' profiles, published and withheld, of weeks that begin in [start, end), in order of time."""
        return self._found(PROFILES, ProfileBlock, districts, start, end)

    def cells(
        self,
        *,
        districts: Collection[str] | None = None,
        metrics: Collection[Metric] | None = None,
        start: int | None = None,
        end: int | None = None,
        derived: bool = True,
    ) -> list[Cell]:
        """Published and withheld cells whose window begins in [start, end), in order of time, area and metric.

        `districts`: those of areas that hold any of these. Derived metrics are computed from the released figures.
        """
        found = self._found(CELLS, Cell, districts, start, end)
        if derived:
            found = with_derived(found)
        return [cell for cell in found if metrics is None or cell.metric in metrics]

    def _found(
        self, table: Table, kind: type[_Kind], districts: Collection[str] | None, start: int | None, end: int | None
    ) -> list[_Kind]:
        """Figures of windows that begin in [start, end), of areas with any of the districts, in order of time."""
        query = select(table).order_by(table.c.start_s, table.c.end_s, table.c.area, table.c.id)
        if start is not None:
            query = query.where(table.c.start_s >= start)
        if end is not None:
            query = query.where(table.c.start_s < end)
        with self._engine.connect() as connection:
            found = [_figure(kind, row) for row in connection.execute(query).mappings()]
        return [one for one in found if districts is None or not set(districts).isdisjoint(one.districts)]

    def totals(self, *, start: int | None = None, end: int | None = None) -> list[Cell]:
        """The city's cells of complete weeks that begin in [start, end), with the derived ones, in order of time."""
        found = totals(self.leaves(start=start, end=end), self.plans())
        return with_derived(cell for cell in found if end is None or cell.start < end)

    def leaves(self, *, start: int | None = None, end: int | None = None) -> list[Leaf]:
        """What was drawn, for the totals of weeks that begin in [start, end). Not for showing."""
        query = select(LEAVES).order_by(LEAVES.c.id)
        if start is not None:
            query = query.where(LEAVES.c.start_s >= start)
        if end is not None:  # a week's last day begins six days after the week does
            query = query.where(LEAVES.c.start_s < end + 7 * 86_400)
        with self._engine.connect() as connection:
            return [_figure(Leaf, row) for row in connection.execute(query).mappings()]

    def released(self) -> set[tuple[str, str]]:
        """(district, window name) of all that has had its draw, by any version of the method."""
        with self._engine.connect() as connection:
            return {(row.district, row.window) for row in connection.execute(select(CLAIMS))}

    def ledger(self) -> list[Entry]:
        """All charges, in the order in which they were made."""
        with self._engine.connect() as connection:
            return self._ledger(connection)

    def budget(self, now: float) -> Budget:
        """The most that any volunteer lost in any 30 days, over windows that ended by now, and the cap."""
        rho_spent = spent(entry for entry in self.ledger() if entry.end <= now)
        return Budget(rho_spent=round(rho_spent, 9), rho_cap=RHO_CAP, days=PERIOD_DAYS)

    def plans(self) -> tuple[Plan, ...]:
        """Every plan that was ever set, oldest first. Each holds until the next."""
        with self._engine.connect() as connection:
            return self._plans(connection)

    def plan(self) -> tuple[Area, ...]:
        """The areas of the newest plan; none when there is none yet."""
        plans = self.plans()
        return plans[-1].areas if plans else ()

    def set_plan(self, areas: Sequence[Area], *, holds_from: date) -> Plan:
        """Keep a plan from a local day on. Setting the same again changes nothing.

        A later plan begins on a Monday after everything released, so that no window lies in two plans and nobody
        is in a week and in days of it. Raises UsageFault.
        """
        plan = Plan(holds_from, tuple(sorted(areas, key=lambda area: area.code)))
        codes = [district for area in plan.areas for district in area.districts]
        if not codes or len(codes) != len(set(codes)):
            raise UsageFault("a plan needs at least one area, and every district in one area alone")
        with self._writing() as connection:
            earlier = self._plans(connection)
            if plan in earlier:
                return plan
            if earlier:
                released = max((entry.end for entry in self._ledger(connection)), default=0)
                if holds_from <= earlier[-1].holds_from or instant(holds_from) < released:
                    raise UsageFault("a plan cannot change what was planned or released: let it begin later")
                if holds_from.isoweekday() != 1:
                    raise UsageFault(f"{holds_from} is no Monday: a new plan begins with a week")
            rows = [
                {"holds_from": holds_from.isoformat(), "district": d, "area": area.code, "cadence": area.cadence}
                for area in plan.areas
                for d in area.districts
            ]
            connection.execute(insert(PLANS), rows)
        return plan

    @contextmanager
    def _writing(self, *, tables_are_there: bool = True) -> Iterator[Connection]:
        """A transaction that is the only writer, from its first line on."""
        sqlite = self._engine.dialect.name == "sqlite"
        level = "AUTOCOMMIT" if sqlite else "SERIALIZABLE"
        with self._engine.connect().execution_options(isolation_level=level) as connection:
            if not sqlite:
                with connection.begin():
                    if tables_are_there:
                        # Before the first statement that takes a snapshot: a second writer waits here and then sees
                        # all, where SERIALIZABLE alone would fail it. Readers go on.
                        connection.exec_driver_sql(f"LOCK TABLE {CLAIMS.name} IN EXCLUSIVE MODE")
                    yield connection
                return
            # pysqlite begins too late (before the first write), so the transaction is told by hand; an engine whose
            # owner begins transactions in a listener of its own has done so by now.
            connection.begin()
            if not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    @staticmethod
    def _ledger(connection: Connection, *, around: int | None = None) -> list[Entry]:
        """All charges, or those that can share 30 days with a window that ends at `around`."""
        query = select(LEDGER).order_by(LEDGER.c.id)
        if around is not None:
            query = query.where(LEDGER.c.end_s > around - PERIOD_S, LEDGER.c.end_s < around + PERIOD_S)
        rows = connection.execute(query)
        return [Entry(r.area, r.window, Cadence(r.cadence), int(r.end_s), r.method, float(r.rho)) for r in rows]

    @staticmethod
    def _plans(connection: Connection) -> tuple[Plan, ...]:
        plans: dict[str, dict[tuple[str, str], list[str]]] = {}
        for row in connection.execute(select(PLANS).order_by(PLANS.c.holds_from, PLANS.c.id)):
            plans.setdefault(row.holds_from, {}).setdefault((row.area, row.cadence), []).append(row.district)
        return tuple(
            Plan(
                date.fromisoformat(day),
                tuple(
                    Area(code=code, districts=tuple(districts), cadence=Cadence(cadence))
                    for (code, cadence), districts in areas.items()
                ),
            )
            for day, areas in plans.items()
        )


def _ledger_row(entry: Entry) -> dict[str, object]:
    return {
        "area": entry.area,
        "window": entry.window,
        "cadence": entry.cadence,
        "end_s": entry.end,
        "method": entry.method,
        "rho": entry.rho,
    }


def _figure_row(figure: Figure) -> dict[str, object]:
    row = msgspec.structs.asdict(figure)
    row["districts"] = "+".join(figure.districts)
    row["start_s"], row["end_s"] = row.pop("start"), row.pop("end")
    return row


def _figure(kind: type[_Kind], row: RowMapping) -> _Kind:
    """The other way."""
    values = {str(name): value for name, value in row.items()}  # names of SQLAlchemy's own kind otherwise
    values["districts"] = tuple(values["districts"].split("+"))
    values["start"], values["end"] = values.pop("start_s"), values.pop("end_s")
    return msgspec.convert(values, kind)

"""The districts of an installation: Utrecht's ten on a tile map, until a municipality's own are imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Engine, delete, insert, select

from api.tables import DISTRICTS, META
from contracts.district import UTRECHT, District, DistrictFault, districts_from_geojson
from contracts.ports import Fault, UsageFault

_FILE_BYTES_MAX: Final = 50_000_000
_IMPORTS: Final = "districts-imported"  # how often; so that a running API sees an import by another process


class Districts:
    """The districts in the registry. Safe for threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: tuple[str, tuple[District, ...]] = ("0", UTRECHT)

    def all(self) -> tuple[District, ...]:
        """Every district, by code."""
        imports = self._imports()
        if imports != self._held[0]:
            with self._engine.connect() as connection:
                bodies = connection.scalars(select(DISTRICTS.c.body).order_by(DISTRICTS.c.code)).all()
            self._held = (imports, tuple(msgspec.json.decode(body, type=District) for body in bodies))
        return self._held[1]

    def find(self, code: str) -> District | None:
        """The district with this code."""
        return next((district for district in self.all() if district.code == code), None)

    def names(self) -> dict[str, str]:
        """Code -> name."""
        return {district.code: district.name for district in self.all()}

    def known(self, code: str) -> bool:
        """Whether there is a district with this code."""
        return self.find(code) is not None

    def replace(self, districts: tuple[District, ...]) -> None:
        """Put these in the place of what is there, all or nothing."""
        with self._engine.begin() as connection:
            connection.execute(delete(DISTRICTS))
            connection.execute(
                insert(DISTRICTS), [{"code": d.code, "body": msgspec.json.encode(d).decode()} for d in districts]
            )
            before = connection.scalar(select(META.c.value).where(META.c.name == _IMPORTS)) or "0"
            connection.execute(delete(META).where(META.c.name == _IMPORTS))
            connection.execute(insert(META).values(name=_IMPORTS, value=str(int(before) + 1)))

    def import_file(
        self, path: Path, *, boundary_year: int, enrolled: Callable[[], set[str]] = set
    ) -> tuple[District, ...]:
        """Read a GeoJSON file and put its districts in the place of what is there. Raises Fault or UsageFault.

        `enrolled` gives the districts that volunteers are enrolled in: they must stay, or their consent would
        point nowhere.
        """
        districts = tuple(sorted(_read(path, boundary_year), key=lambda district: district.code))
        lost = sorted(enrolled() - {district.code for district in districts})
        if lost:
            raise Fault(
                f"volunteers are enrolled in {', '.join(lost)}, which {path.name} does not have: keep these codes"
            )
        self.replace(districts)
        return districts

    def _imports(self) -> str:
        with self._engine.connect() as connection:
            return connection.scalar(select(META.c.value).where(META.c.name == _IMPORTS)) or "0"


def _read(path: Path, boundary_year: int) -> tuple[District, ...]:
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise Fault(f"{path} is larger than {_FILE_BYTES_MAX // 1_000_000} MB: simplify the boundaries first")
        document = json.loads(path.read_bytes())
    except OSError:
        raise UsageFault(f"{path} cannot be read: give the path of a GeoJSON file") from None
    except (ValueError, RecursionError):
        raise Fault(f"{path} is not JSON: export the districts as GeoJSON in UTF-8") from None
    try:
        return districts_from_geojson(document, boundary_year=boundary_year)
    except DistrictFault as fault:
        raise Fault(f"{path}: {fault}") from None

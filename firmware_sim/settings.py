"""Settings of the simulated bands: options of the command line, else `WIJKPOLS_BANDS_…`, else the default."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from firmware_sim.peripheral import ADVERTISING_MS
from firmware_sim.physiology import MINUTE_S
from firmware_sim.security import ADDRESS_S


def _moment(value: Any) -> Any:
    """ISO 8601 (UTC unless it says otherwise) or unix seconds, as the start of that minute."""
    if value is None or isinstance(value, int):
        at = value
    else:
        text = str(value).strip()
        if text.isdecimal():
            at = int(text)
        else:
            moment = datetime.fromisoformat(text)
            at = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return at if at is None else at // MINUTE_S * MINUTE_S


def _speed(value: Any) -> Any:
    return None if str(value).strip().lower() in ("max", "0", "0.0") else value


class BandSettings(BaseSettings):
    """What to simulate, and where its radio listens."""

    model_config = SettingsConfigDict(env_prefix="WIJKPOLS_BANDS_", frozen=True, env_ignore_empty=True)

    radio: str = Field(
        "tcp-server:127.0.0.1:0", description="tcp-server:HOST:PORT (0: a free one), unix-server:PATH or vhci"
    )
    replay: Path | None = Field(None, description="folder of recordings (.npz), one band each")
    start: Annotated[Annotated[int, Field(gt=0, lt=0xF000_0000)] | None, BeforeValidator(_moment)] = Field(
        None,
        description="first minute of the bands' clock: ISO 8601 (UTC) or unix seconds (default: ends or begins now)",
    )
    synthetic: int = Field(0, ge=0, le=10_000, description="number of synthetic people, one band each")
    seed: int = Field(1, ge=0, description="of the synthetic people")
    district: str = Field(
        "WK034403", pattern=r"^(GM\d{4}|WK\d{6}|BU\d{8})$", description="CBS code of the synthetic people's district"
    )
    minutes: int = Field(60, ge=1, le=10_080, description="how long the synthetic people wear their bands")
    first_serial: int = Field(1, ge=0, le=989_999, description="number in the first band's serial, WP-000001")
    speed: Annotated[Annotated[float, Field(gt=0, le=100_000)] | None, BeforeValidator(_speed)] = Field(
        1.0, description="of the bands' clock: 1 is real time, 0 or max as fast as the link takes it"
    )
    store: str | None = Field(
        None,
        min_length=1,
        description="the bands have a memory: folder of their files, or 'memory' for none that lasts",
    )
    drift_ppm: float = Field(0.0, ge=-1000, le=1000, description="drift of the clocks of bands with a memory")
    address_seconds: float = Field(
        ADDRESS_S, gt=0, description="seconds of the world after which a band changes its address"
    )
    advertising_ms: float = Field(
        ADVERTISING_MS, ge=20, le=10_240, description="milliseconds of the world between two advertisements of a band"
    )
    exit_when_done: bool = Field(False, description="end when every band has played to its end")

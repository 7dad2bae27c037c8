"""Ingest's settings, out of the environment. Read by app.py alone."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class IngestSettings(BaseSettings):
    """Each is told in docs/reference/ingest.md."""

    model_config = SettingsConfigDict(env_prefix="WIJKPOLS_", extra="ignore")

    broker_url: str = "mqtt://127.0.0.1:1883"
    store_url: str = "duckdb:///wijkpols.duckdb"
    ingest_name: str = "ingest-1"
    ingest_rejects: Path = Path("wijkpols-rejects.sqlite")

"""What analytics is told by its surroundings. Read by app.py alone, when it starts."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`WIJKPOLS_REGISTRY_URL` and `WIJKPOLS_STORE_URL`."""

    model_config = SettingsConfigDict(env_prefix="WIJKPOLS_")

    registry_url: str = "sqlite:///var/registry.sqlite"
    store_url: str = "duckdb:///var/readings.duckdb"

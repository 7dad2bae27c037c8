"""The settings of the API. Only `app.py` reads them, and only when it builds the parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.ports import UsageFault

PREFIX = "WIJKPOLS_"


class Settings(BaseSettings):
    """Each field is read from the environment variable `WIJKPOLS_` + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    api_host: str = Field("127.0.0.1", description="Address on which the API listens.")
    api_port: int = Field(8000, ge=0, le=65535, description="Port on which the API listens; 0 takes a free one.")
    registry_url: str = Field(
        "sqlite:///var/registry.sqlite",
        description="Registry (consent ledger, districts, access log), a SQLAlchemy URL.",
    )
    broker_url: str = Field(
        "mqtt://127.0.0.1:1883", description="Broker on which consent is published; empty publishes nothing."
    )
    store_url: str = Field("", description="Store of the readings, for volunteers' own data; empty: elsewhere.")
    band_key: SecretStr = Field(
        SecretStr(""),
        description="Secret of 32 or more hexadecimal digits, the same at the gateways: names bands, seals codes.",
    )
    controller_name: str = Field(
        "Gemeente (nog in te vullen)", min_length=1, description="Who asks for the data (the controller, GDPR art. 4)."
    )
    contact_email: str = Field(
        "privacy@example.org", pattern=r"^[^@\s]+@[^@\s]+$", description="Where people can ask questions."
    )
    public_url: str = Field(
        "http://localhost:8000", pattern=r"^https?://[^\s/]+$", description="Address by which people reach the pages."
    )
    storage_location: str = Field(
        "NL", pattern=r"^[A-Z]{2}$", description="Country where readings and registry are kept, told in each receipt."
    )
    email_key_file: Path | None = Field(
        None, description="File with the keys that seal e-mail addresses; without it none is asked for."
    )
    post_url: SecretStr = Field(
        SecretStr(""), description="Where reminders go: smtps://USER:PASSWORD@HOST, smtp://HOST or maildir:///FOLDER."
    )
    demo_note: str = Field("", description="Shown as a banner on each page when this is a demonstration (Dutch).")
    demo_note_en: str = Field("", description="The same in English; the Dutch text when empty.")


def read_settings(**given: Any) -> Settings:
    """Settings out of the environment, with `given` ones on top. Raises UsageFault, which repeats no value."""
    try:
        return Settings(**given)
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise UsageFault(f"{name} cannot be used: {first['msg']}") from None

"""The gateway's settings: environment variables `WIJKPOLS_…`, or the options of `wijkpols gateway`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts import wire
from contracts.district import valid_district_code
from contracts.ports import UsageFault
from gateway.bonds import Pairing


class GatewaySettings(BaseSettings):
    """See docs/reference/gateway.md."""

    model_config = SettingsConfigDict(env_prefix="WIJKPOLS_", extra="ignore")

    broker_url: SecretStr = SecretStr("mqtt://127.0.0.1:1883")
    gateway_name: str = ""
    gateway_district: str = ""
    gateway_radio: str = "bluez"
    gateway_outbox: Path = Path("var/gateway")
    gateway_slots: int = Field(default=5, ge=1, le=64)
    gateway_pairing: Pairing = Pairing.ENROLLED
    gateway_metrics_port: int = Field(default=0, ge=0, le=65_535)
    gateway_metrics_host: str = "127.0.0.1"
    gateway_revisit_s: float = Field(default=600.0, ge=10, le=7200)
    band_key: SecretStr = SecretStr("")

    @field_validator("gateway_name")
    @classmethod
    def _name(cls, name: str) -> str:
        if name and not wire.valid_gateway_name(name):
            raise ValueError("must be lower-case letters, digits and hyphens, 64 at most")
        return name

    @field_validator("gateway_district")
    @classmethod
    def _district(cls, code: str) -> str:
        if code and not valid_district_code(code):
            raise ValueError("must be a CBS code, such as WK034403")
        return code

    @field_validator("band_key")
    @classmethod
    def _key(cls, key: SecretStr) -> SecretStr:
        if key.get_secret_value():
            try:
                long_enough = len(bytes.fromhex(key.get_secret_value())) >= 16
            except ValueError:
                long_enough = False
            if not long_enough:
                raise ValueError("must be 32 hexadecimal digits or more (make one with: openssl rand -hex 32)")
        return key

    @property
    def key(self) -> bytes:
        """The key of the band tokens."""
        return bytes.fromhex(self.band_key.get_secret_value())

    def needs(self, *names: str) -> None:
        """Raise UsageFault for the first of these settings that is not given."""
        for name in names:
            value = getattr(self, name)
            if not (value.get_secret_value() if isinstance(value, SecretStr) else value):
                raise UsageFault(f"WIJKPOLS_{name.upper()} is not set: see docs/reference/gateway.md")


def load(**given: object) -> GatewaySettings:
    """The settings, those given (and not None) first. Raises UsageFault, whose text shows no value."""
    try:
        return GatewaySettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]).upper()
        raise UsageFault(f"WIJKPOLS_{name}: {first['msg'].removeprefix('Value error, ')}") from None

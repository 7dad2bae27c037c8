"""Where the MQTT broker is, as one URL: `mqtt://user:password@host:port`, or `mqtts://…` for TLS. No I/O."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from contracts.ports import UsageFault

#: scheme -> (port when none is given, TLS), as registered with IANA.
_SCHEMES: Final = {"mqtt": (1883, False), "mqtts": (8883, True)}
_EXAMPLE: Final = "use mqtt://HOST:1883 or mqtts://USER:PASSWORD@HOST:8883"


class BrokerAddress(NamedTuple):
    """A broker's address out of a URL. `str()` and `repr()` show no password."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Raises UsageFault, which says what is wrong and never repeats a password.

        User and password are percent-decoded (RFC 3986): an `@` in a password is written `%40`.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:  # its text can hold the password
            raise UsageFault(f"the broker URL has no valid host and port: {_EXAMPLE}") from None
        if parts.scheme not in _SCHEMES:
            raise UsageFault(f"the broker URL must begin with mqtt:// or mqtts://: {_EXAMPLE}")
        if not host or any(c.isspace() for c in host):
            raise UsageFault(f"the broker URL names no host: {_EXAMPLE}")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise UsageFault(f"the broker URL has something after the port (a '/' in a password is %2F): {_EXAMPLE}")
        if parts.password is not None and not parts.username:
            raise UsageFault(f"the broker URL has a password without a user: {_EXAMPLE}")
        if port == 0:
            raise UsageFault(f"port 0 cannot be connected to: {_EXAMPLE}")
        standard_port, tls = _SCHEMES[parts.scheme]
        return cls(
            host=host,
            port=standard_port if port is None else port,
            tls=tls,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password is not None else None,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<BrokerAddress {self}>"

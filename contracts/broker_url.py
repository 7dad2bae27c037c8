"""Where the MQTT broker is, as one URL: `mqtt://user:password@host:port`, or `mqtts://…?ca=FILE` for TLS. No I/O."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from contracts.ports import UsageFault

#: scheme -> (port when none is given, TLS), as registered with IANA.
_SCHEMES: Final = {"mqtt": (1883, False), "mqtts": (8883, True)}
_EXAMPLE: Final = "use mqtt://HOST:1883 or mqtts://USER:PASSWORD@HOST:8883"


class Securable(Protocol):
    """What of an MQTT client the address needs to give it login and TLS (paho's `Client` has both)."""

    def username_pw_set(self, username: str | None, password: str | None) -> object:
        """Log in with these."""

    def tls_set(self, ca_certs: str | None) -> object:
        """Speak TLS, and trust only the authorities of this file (None: those of the system)."""


class BrokerAddress(NamedTuple):
    """A broker's address out of a URL. `str()` and `repr()` show no password."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = None
    ca: str | None = None  # PEM file of the authority that signed the broker's certificate; None: the system's

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Raises UsageFault, which says what is wrong and never repeats a password.

        User and password are percent-decoded (RFC 3986): an `@` in a password is written `%40`.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")  # a name that DNS cannot hold; UnicodeError is a ValueError
        except ValueError:  # its text can hold the password
            raise UsageFault(f"the broker URL has no valid host and port: {_EXAMPLE}") from None
        if parts.scheme not in _SCHEMES:
            raise UsageFault(f"the broker URL must begin with mqtt:// or mqtts://: {_EXAMPLE}")
        if not host or any(c.isspace() for c in host):
            raise UsageFault(f"the broker URL names no host: {_EXAMPLE}")
        options = parse_qs(parts.query, keep_blank_values=True)
        ca = options.pop("ca", [""])[-1] or None
        if parts.path not in ("", "/") or options or parts.fragment or (parts.query and ca is None):
            raise UsageFault(f"the broker URL has something after the port (a '/' in a password is %2F): {_EXAMPLE}")
        if parts.password is not None and not parts.username:
            raise UsageFault(f"the broker URL has a password without a user: {_EXAMPLE}")
        if port == 0:
            raise UsageFault(f"port 0 cannot be connected to: {_EXAMPLE}")
        standard_port, tls = _SCHEMES[parts.scheme]
        if ca is not None and not tls:
            raise UsageFault("the broker URL has ?ca= without TLS: begin it with mqtts://")
        return cls(
            host=host,
            port=standard_port if port is None else port,
            tls=tls,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password is not None else None,
            ca=ca,
        )

    def secure(self, client: Securable) -> None:
        """Give an MQTT client this address's login and TLS. Raises UsageFault for a CA file that cannot be used."""
        if self.username is not None:
            client.username_pw_set(self.username, self.password)
        if self.tls:
            try:
                client.tls_set(self.ca)
            except (OSError, ValueError) as fault:  # ssl.SSLError, of a file that is no certificate, is an OSError
                raise UsageFault(
                    f"?ca={self.ca} of the broker URL cannot be used ({fault}): name the PEM file of the broker's"
                    " certificate authority"
                ) from None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<BrokerAddress {self}>"

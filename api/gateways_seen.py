"""When each gateway last was at work: a last will is written beforehand and knows no time, and a broker tells none.

Kept to the hour while a gateway works, to the second once its will was heard, so that a restart of the API does not
forget since when one is silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Engine, delete, insert, select

from api.tables import GATEWAYS_SEEN
from contracts import wire

_EVERY_S: Final = 3600
_KEPT_MAX: Final = 1_000


class GatewaysSeen:
    """The gateways that were heard, at most a thousand, those heard last."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._noted = self._all()

    def at(self, gateway: str) -> int:
        """When this gateway last was at work (unix seconds), as far as it is written down; 0 when it is not."""
        return self._noted.get(gateway, 0)

    def note(self, statuses: Iterable[wire.GatewayStatus]) -> None:
        """Write down what is news. By one thread alone."""
        news = {status.gateway: status.at for status in statuses if self._is_news(status)}
        if not news:
            return
        with self._engine.begin() as connection:
            connection.execute(delete(GATEWAYS_SEEN).where(GATEWAYS_SEEN.c.gateway.in_(news)))
            connection.execute(insert(GATEWAYS_SEEN), [{"gateway": name, "at": at} for name, at in news.items()])
            newest = select(GATEWAYS_SEEN.c.gateway).order_by(GATEWAYS_SEEN.c.at.desc()).offset(_KEPT_MAX)
            surplus = list(connection.scalars(newest))
            connection.execute(delete(GATEWAYS_SEEN).where(GATEWAYS_SEEN.c.gateway.in_(surplus)))
        self._noted = self._all()

    def _is_news(self, status: wire.GatewayStatus) -> bool:
        since = status.at - self.at(status.gateway)
        return since >= _EVERY_S if status.online else since > 0

    def _all(self) -> dict[str, int]:
        with self._engine.connect() as connection:
            return {row.gateway: row.at for row in connection.execute(select(GATEWAYS_SEEN))}

"""The status as Prometheus metrics, on request: counts only, and no label names a band or a wearer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from contracts import wire
from contracts.ports import Fault

_GAUGES: Final = {
    "slots": "bands that may be connected at once",
    "bands_heard": "bands heard in the last 30 seconds, or connected",
    "bands_connected": "bands connected now",
    "bands_waiting": "bands that wait for a slot",
    "bands_read": "bands heard now and read within two hours",
    "bands_without_consent": "bands heard of whose wearers nothing may be read",
    "outbox_rows": "messages that the broker has not acknowledged",
    "outbox_since": "unix time at which the oldest of them was put in; 0 when none waits",
}
_COUNTERS: Final = {
    "minutes_made": "minutes put into the outbox",
    "reports_made": "self-reports put into the outbox",
    "records_read": "stored records read from bands",
    "records_corrected": "of those, with a time that was corrected",
    "records_overwritten": "records that full bands overwrote before they were read",
    "clocks_set": "clocks of bands that were set",
    "published": "minutes that the broker acknowledged",
}
_BY_REASON: Final = {
    "minutes_dropped": "minutes of which nothing was sent, by reason",
    "frames_rejected": "frames that could not be used, by frame and reason",
    "turns": "turns of bands, by how they ended",
}


class StatusCollector(Collector):
    """Reads the status when it is asked."""

    def __init__(self, status: Callable[[], wire.GatewayStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """The metrics, as `wijkpols_gateway_…`."""
        status = self._status()
        yield InfoMetricFamily("wijkpols_gateway", "versions", value={"version": status.version, **status.versions})
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"wijkpols_gateway_{name}", text, value=getattr(status, name))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"wijkpols_gateway_{name}", text, value=getattr(status, name))
        for name, text in _BY_REASON.items():
            family = CounterMetricFamily(f"wijkpols_gateway_{name}", text, labels=["reason"])
            for reason, count in getattr(status, name).items():
                family.add_metric([reason], count)
            yield family


class Metrics:
    """Serves them at http://HOST:PORT/metrics for as long as the `with` block lasts; port 0 serves nothing."""

    def __init__(self, status: Callable[[], wire.GatewayStatus], *, host: str, port: int) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StatusCollector(status))
        self._host, self._port = host, port
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        """Raises Fault when the port cannot be had."""
        if not self._port:
            return self
        try:
            server, thread = start_http_server(self._port, self._host, self._registry)
        except OSError as fault:
            raise Fault(
                f"metrics cannot be served at {self._host}:{self._port} ({fault.strerror}): choose another port"
            ) from None

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._stop = stop
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

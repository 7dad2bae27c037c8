"""A real InfluxDB 1.x server for tests: started, frozen, killed and started again on the same files."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import subprocess
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from tests.servers import free_port, require_program, wait_for_port

MEND_WAL = Path(__file__).resolve().parents[2] / "deploy" / "influxdb" / "mend-wal"
USER, PASSWORD = "ingest", "a word:with @signs/"

_CONFIG = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
auth-enabled = true
log-enabled = false
[monitor]
store-enabled = false
"""


class Influxd:
    """One server with authentication on and one administrator, on a free port of 127.0.0.1."""

    def __init__(self, folder: Path, *, data: Path | None = None, within: Sequence[str] = ()) -> None:
        """`data` is where it keeps its files (`folder` unless told); `within` a command that runs it elsewhere."""
        self.folder = folder
        self._within = within
        self.port = free_port()
        self._config = folder / "influxdb.conf"
        self._config.write_text(_CONFIG.format(folder=data or folder, port=self.port, rpc_port=free_port()))
        self._program = require_program("influxd", "influxdb")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self._ask(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES", login=None)

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        return f"influxdb://{USER}:{urllib.parse.quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def start(self, *, mended: bool = True) -> None:
        """As deploy/ starts it: after a crash its log is mended first."""
        with (self.folder / "log").open("ab") as log:
            if mended and self._process is not None:
                subprocess.run(
                    [*self._within, MEND_WAL, str(self._config)],
                    env={**os.environ, "INFLUXD": self._program},
                    stderr=log,
                    check=True,
                    timeout=60,
                )
            self._process = subprocess.Popen(
                [*self._within, self._program, "-config", str(self._config)], stdout=log, stderr=log
            )
        wait_for_port(self.port, self._process)

    def query(self, text: str, database: str = "") -> bytes:
        return self._ask(text, login=f"{USER}:{PASSWORD}", database=database)

    def kill(self) -> None:
        """SIGKILL: what was answered must be there at the next start."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.kill()

    def _signal(self, number: int) -> None:
        self._process.send_signal(number)

    def _ask(self, text: str, *, login: str | None, database: str = "") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if login:
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        body = urllib.parse.urlencode({"q": text, "db": database})
        try:
            connection.request("POST", "/query", body, headers)
            return connection.getresponse().read()
        finally:
            connection.close()

"""Mosquitto with exactly the configuration of deploy/mosquitto: only folders, ports and the user are others."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
from pathlib import Path

from contracts.broker_url import BrokerAddress
from tests.servers import free_port, require_program, wait_for_port

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto"


class DeployedMosquitto:
    """Installed by the scripts of deploy/mosquitto into a folder; killed and started again on the same files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program = require_program("mosquitto", "mosquitto")
        require_program("openssl", "openssl")
        (folder / "data").mkdir()
        for name in ("gateways.acl", "servers.acl"):
            shutil.copy(DEPLOY / name, folder)
        self._script("make-certificates", "127.0.0.1", "localhost")
        self.gateways_port, self.servers_port = free_port(), free_port()
        self.ca = folder / "ca.crt"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(self._substituted())
        self._process: subprocess.Popen[bytes] | None = None
        self._addresses: dict[str, BrokerAddress] = {}
        for name in ("ingest", "api", "watch"):
            self.login("server", name)

    def _substituted(self) -> str:
        text = (DEPLOY / "wijkpols.conf").read_text()
        for there, here in (
            ("/etc/mosquitto/wijkpols/", f"{self.folder}/"),
            ("/var/lib/mosquitto/wijkpols/", f"{self.folder}/data/"),
            ("listener 8883\n", f"listener {self.gateways_port} 127.0.0.1\n"),
            ("listener 8884\n", f"listener {self.servers_port} 127.0.0.1\n"),
        ):
            assert there in text
            text = text.replace(there, here)
        return f"user {getpass.getuser()}\n{text}"

    def _script(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [DEPLOY / name, *arguments],
            env={**os.environ, "FOLDER": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def login(self, role: str, name: str) -> BrokerAddress:
        """A new login (before the start, or followed by `reload`) as the address that its owner is given."""
        password = self._script("add-login", role, name)
        port = self.gateways_port if role == "gateway" else self.servers_port
        found = BrokerAddress.parse(f"mqtts://{name}:{password}@127.0.0.1:{port}?ca={self.ca}")
        self._addresses[name] = found
        return found

    def address(self, name: str) -> BrokerAddress:
        return self._addresses[name]

    def url(self, name: str) -> str:
        """The address as it stands in WIJKPOLS_BROKER_URL."""
        found = self._addresses[name]
        return f"mqtts://{found.username}:{found.password}@{found.host}:{found.port}?ca={found.ca}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=log)
        wait_for_port(self.servers_port, self._process)
        wait_for_port(self.gateways_port, self._process)

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

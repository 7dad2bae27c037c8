"""Node-RED with node-red-contrib-influxdb as a peer of ingest: the flow, its settings, and its process."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSIONS = ("node-red@4", "node-red-contrib-influxdb@0.7")
#: What a person would write into a function node: a point for each reading, its time in milliseconds.
FUNCTION = """
const parts = msg.topic.split('/');
msg.payload = msg.payload.readings.map(r => {
    const { pseudonym, minute, ...fields } = r;
    const tags = { district: parts[3], pseudonym };
    return { measurement: 'reading', fields, tags, timestamp: new Date(minute * 1000)};
});
return msg;
"""


def installed(folder: Path) -> Path:
    """The folder with Node-RED, from npm; installed once."""
    if shutil.which("npm") is None:
        raise SystemExit("this needs npm: run 'apt-get install npm'")
    if not (folder / "node_modules" / "node-red-contrib-influxdb").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        words = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *VERSIONS]
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def flow(*, broker_port: int, influx_port: int, user: str, password: str, database: str) -> list[dict[str, object]]:
    """MQTT 5, QoS 1, a session that is kept: its best case, far from its defaults."""
    return [
        {"id": "tab", "type": "tab", "label": "ingest"},
        {
            "id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(broker_port),
            "clientid": "nodered", "autoConnect": True, "usetls": False,
            "protocolVersion": "5", "keepalive": "60", "cleansession": False,
            "sessionExpiry": "86400", "credentials": {},
        },
        {
            "id": "in", "type": "mqtt in", "z": "tab", "topic": "wijkpols/v1/readings/+/+", "qos": "1",
            "datatype": "json", "broker": "broker", "wires": [["points"]],
        },
        {"id": "points", "type": "function", "z": "tab", "func": FUNCTION, "outputs": 1, "wires": [["out"]]},
        {
            "id": "server", "type": "influxdb", "hostname": "127.0.0.1", "port": str(influx_port), "protocol": "http",
            "database": database, "influxdbVersion": "1.x", "usetls": False,
            "credentials": {"username": user, "password": password},
        },
        {
            "id": "out", "type": "influxdb batch", "z": "tab", "influxdb": "server", "precision": "s",
            "retentionPolicy": "wijkpols", "database": database, "wires": [],
        },
    ]  # fmt: skip


@contextmanager
def node_red(folder: Path, home: Path, nodes: list[dict[str, object]]) -> Iterator[subprocess.Popen[bytes]]:
    """Running, with its flow deployed and its subscription about to stand."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    home.mkdir(exist_ok=True)
    credentials = {str(node["id"]): node.pop("credentials") for node in nodes if "credentials" in node}
    (home / "flows.json").write_text(json.dumps(nodes))
    (home / "flows_cred.json").write_text(json.dumps(credentials))
    (home / "settings.js").write_text(
        "module.exports = {credentialSecret: false, flowFile: 'flows.json', uiHost: '127.0.0.1',"
        f" nodesDir: {json.dumps(str(folder / 'node_modules'))}, logging: {{console: {{level: 'error'}}}}}};"
    )
    link = home / "node_modules"
    if not link.exists():
        link.symlink_to(folder / "node_modules")
    shutil.copy(folder / "package.json", home)  # by which it finds the nodes that are installed
    program = folder / "node_modules" / "node-red" / "red.js"
    words = ["node", str(program), "--userDir", str(home), "--port", str(port)]
    with (home / "log").open("ab") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            else:
                raise SystemExit(f"Node-RED did not start: {(home / 'log').read_text()[-500:]}")
            yield process
        finally:
            process.kill()

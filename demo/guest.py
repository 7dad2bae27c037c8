"""A band that somebody puts on in another terminal (`wijkpols bands`), and the gateway that hears it.

The settings file that this writes lets the commands of that terminal find this demonstration: its registry, its broker,
and the radio on which the demonstration waits for a band.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from demo.children import Child
from demo.radio import gateway

#: The band of whoever tries the demonstration. No invented volunteer has a number as high.
NUMBER: Final = 900_001
SERIAL: Final = f"WP-{NUMBER:06d}"
GATEWAY: Final = "radio-2"
#: The gateway comes by so often: somebody is watching.
_REVISIT_S: Final = 15.0
_PROBE_S: Final = 1.0


class Guest:
    """Waits for a band and has it read, for as long as the `with` block lasts.

    `settings` are those of the house, as `WIJKPOLS_…`: value; the file is made for its owner's eyes only.
    """

    def __init__(self, *, settings: Mapping[str, str], district: str, folder: Path, logs: Path) -> None:
        self.file = folder / "settings.env"
        self._settings = settings
        self.district = district
        self._folder = folder
        self._logs = logs
        self._gateway: Child | None = None

    def __enter__(self) -> Self:
        # A folder of its own: a socket's path has 107 letters at most.
        self._place = Path(tempfile.mkdtemp(prefix="wijkpols-"))
        self._socket = self._place / "band"
        bands = {
            "RADIO": f"unix-server:{self._socket}",
            "SYNTHETIC": "1",
            "FIRST_SERIAL": str(NUMBER),
            "DISTRICT": self.district,
            "MINUTES": "10080",
            "STORE": str(self._folder.resolve() / "your-band"),
        }
        lines = {**self._settings, **{f"WIJKPOLS_BANDS_{name}": value for name, value in bands.items()}}
        self.file.unlink(missing_ok=True)
        self.file.touch(mode=0o600)
        self.file.write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._gateway is not None:
            self._gateway.end()
        self.file.unlink(missing_ok=True)  # it leads nowhere any more
        shutil.rmtree(self._place, ignore_errors=True)

    def check(self) -> None:
        """Hang up the gateway as soon as there is a band to hear; from then on it waits for the band by itself."""
        if self._gateway is not None and self._gateway.running:
            return
        if self._gateway is not None:
            self._gateway.end()
            self._gateway = None
        if self._there():
            self._gateway = gateway(
                GATEWAY,
                radio=f"unix-client:{self._socket}",
                broker_url=self._settings["WIJKPOLS_BROKER_URL"],
                band_key=self._settings["WIJKPOLS_BAND_KEY"],
                district=self.district,
                folder=self._folder,
                logs=self._logs,
                slots=1,
                revisit_s=_REVISIT_S,
            ).__enter__()

    def _there(self) -> bool:
        """Whether somebody listens on the socket; one that a killed program left is nobody."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PROBE_S)
            try:
                probe.connect(os.fspath(self._socket))
            except OSError:
                return False
            return True

"""What the wearer says by holding the button for ten seconds: no more. It outlasts a loss of power.

The band says so to each gateway that it is bonded with, and measures nothing until one of them has written that a
choice came after it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bumble import att

from firmware_sim import profile

#: How fast the band's clock may be: an age is told too short rather than too long.
CLOCK_PPM: Final = 500
_PRESS_BYTES: Final = 4


class Stop:
    """Kept in `file`, or (None) as long as the object. `now` is what the band counts seconds by; it may begin anew.

    After a loss of power the age is that of the start: the band does not know how long it was off.
    """

    def __init__(self, file: Path | None, now: Callable[[], float]) -> None:
        self._file = file
        self._now = now
        self._since: float | None = None
        #: A number of its own, from 1 on: a gateway can tell a press that it heard of from a new one.
        self._press = 0
        if file is not None and file.exists():
            self._since, self._press = now(), int.from_bytes(file.read_bytes()[:_PRESS_BYTES], "little")
        #: Whether a gateway was told.
        self.told = False
        self._read = False  # by a gateway, since it was said last

    @property
    def said(self) -> bool:
        """Whether the wearer said stop, and no choice came after it."""
        return self._since is not None

    def say(self) -> None:
        """The button was held. It is written before anything else happens."""
        self._press = 1 + secrets.randbelow((1 << 8 * _PRESS_BYTES) - 1)
        if self._file is not None:
            self._file.touch(0o600)  # without its number it is a stop all the same
            self._file.write_bytes(self._press.to_bytes(_PRESS_BYTES, "little"))
        self._since, self.told, self._read = self._now(), False, False

    def read(self) -> bytes:
        """A gateway asks: the value of the characteristic Stop."""
        self.told = self._read = True
        return self.value()

    def value(self) -> bytes:
        """The value of the characteristic Stop."""
        if self._since is None:
            return profile.stop(None)
        return profile.stop(int(max(self._now() - self._since, 0) * (1 - CLOCK_PPM / 1e6)), self._press)

    def write(self, value: bytes) -> bool:
        """A gateway writes 0: a choice came after it. Whether that ended a stop. Raises att.ATT_Error.

        A stop that was said after the gateway read is not the one that it means.
        """
        if len(value) != 1:
            raise att.ATT_Error(att.ErrorCode.INVALID_ATTRIBUTE_LENGTH)
        if value[0] or (self.said and not self._read):
            raise att.ATT_Error(att.ErrorCode.VALUE_NOT_ALLOWED)
        ended, self._since = self.said, None
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        return ended

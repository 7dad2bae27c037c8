"""A band's memory whose power is cut in the middle of a write."""

from __future__ import annotations

from firmware_sim.record_log import MemoryMedium


class Torn(MemoryMedium):
    """Loses power after so many bytes of what is written."""

    left: int | None = None

    def write(self, at: int, data: bytes) -> None:
        if self.left is None:
            super().write(at, data)
            return
        some = data[: self.left]
        self.left -= len(some)
        if some:
            super().write(at, some)

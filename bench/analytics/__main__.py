"""How fast readings become sums, and what a large town's day takes.

    python bench/analytics [VOLUNTEERS]          (10,000) the kernel beside pandas, polars and DuckDB
    python bench/analytics day [VOLUNTEERS …]    (10,000 50,000 100,000) a day of 1,440 minutes each, two processes

A day of 100,000 volunteers is 144 million readings; it needs 2 GB of disk for a while. Each town is measured in a
process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import subprocess
import sys


def main(words: list[str]) -> int:
    """Carry out the command."""
    if words[:1] == ["day"] and len(words) == 2:
        from day import day

        day(int(words[1]))
        return 0
    if words[:1] == ["day"]:
        towns = words[1:] or ["10000", "50000", "100000"]
        return max(
            subprocess.run([sys.executable, *sys.argv[:1], "day", size], check=False).returncode for size in towns
        )
    from compare import compare

    compare(int(words[0]) if words else 10_000)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

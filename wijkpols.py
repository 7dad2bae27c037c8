"""The front door: one command per part; `demo` runs them all."""

from __future__ import annotations


def main() -> int:
    """Run the command line."""
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

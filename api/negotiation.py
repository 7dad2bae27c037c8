"""Which of our formats a client likes best (RFC 9110, section 12.5.1)."""

from __future__ import annotations


def preferred(accept: str, offered: tuple[str, ...]) -> str:
    """The offered media type with the highest weight; the first one when the client likes none or all."""
    weights = [_weight(accept, media) for media in offered]
    best = max(weights, default=0.0)
    return offered[weights.index(best)]


def _weight(accept: str, media: str) -> float:
    found: list[tuple[int, float]] = []
    for part in accept[:1000].split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        exactness = {media: 2, f"{media.split('/', maxsplit=1)[0]}/*": 1, "*/*": 0}.get(name)
        if exactness is not None:
            weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            found.append((exactness, _number(weight)))
    return max(found, default=(0, 0.0))[1]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0

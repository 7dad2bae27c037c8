"""What the sheets of paper share: reportlab's parts, our styles, a QR code as vector squares."""

from __future__ import annotations

from typing import Any, Final

from contracts.ports import UsageFault

try:
    import segno
    from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped]
    from reportlab.lib.units import mm as mm  # type: ignore[import-untyped]
    from reportlab.pdfgen.canvas import Canvas as Canvas  # type: ignore[import-untyped]
    from reportlab.platypus import Frame as Frame  # type: ignore[import-untyped]
    from reportlab.platypus import Paragraph as Paragraph
    from reportlab.platypus import Spacer as Spacer
except ModuleNotFoundError as missing:
    raise UsageFault(
        f"sheets of paper need {missing.name}, which is not installed: run pip install '.[leaflets]'"
    ) from None

TITLE: Final = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=20, leading=24, spaceAfter=6)
HEAD: Final = ParagraphStyle("head", fontName="Helvetica-Bold", fontSize=11.5, leading=15, spaceBefore=5)
TEXT: Final = ParagraphStyle("text", fontName="Helvetica", fontSize=10.5, leading=14)
LARGE: Final = ParagraphStyle("large", fontName="Helvetica", fontSize=12, leading=16)  # what is read first, by all
CODE: Final = ParagraphStyle("code", fontName="Courier-Bold", fontSize=13, leading=19)
SMALL: Final = ParagraphStyle("small", fontName="Helvetica", fontSize=8.5, leading=11)


def draw_qr(canvas: Any, text: str, x: float, y: float, size: float) -> None:
    """The QR code as vector squares (ISO/IEC 18004, level M, quiet zone of four modules), lower left corner at x, y."""
    rows = [list(row) for row in segno.make(text, error="m", micro=False).matrix_iter(border=4)]
    side = size / len(rows)
    path = canvas.beginPath()
    for down, row in enumerate(rows):
        for across, dark in enumerate(row):
            if dark:
                path.rect(x + across * side, y + size - (down + 1) * side, side, side)
    canvas.drawPath(path, stroke=0, fill=1)


def plain(text: str) -> str:
    """Text that reportlab must not take for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

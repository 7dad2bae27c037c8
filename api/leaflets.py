"""What the association hands out with a band: a sheet with its claim code, a QR code and the way in, in plain Dutch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from contracts.ports import Fault, UsageFault

try:
    import segno
    from reportlab.lib.pagesizes import A5  # type: ignore[import-untyped]
    from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped]
    from reportlab.lib.units import mm  # type: ignore[import-untyped]
    from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]
    from reportlab.platypus import Frame, Paragraph, Spacer  # type: ignore[import-untyped]
except ModuleNotFoundError as missing:
    raise UsageFault(
        f"leaflets need {missing.name}, which is not installed: run pip install 'wijkpols[leaflets]'"
    ) from None

_MARGIN: Final = 14 * mm
_QR_SIZE: Final = 42 * mm
_TITLE: Final = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=20, leading=24, spaceAfter=6)
_HEAD: Final = ParagraphStyle("head", fontName="Helvetica-Bold", fontSize=11.5, leading=15, spaceBefore=5)
_TEXT: Final = ParagraphStyle("text", fontName="Helvetica", fontSize=10.5, leading=14)
_SMALL: Final = ParagraphStyle("small", fontName="Helvetica", fontSize=8.5, leading=11)


class Invitation(NamedTuple):
    """One band, and the code that couples it to somebody."""

    serial: str
    code: str


class Sender(NamedTuple):
    """Who invites, to which district, and where people go."""

    controller: str
    contact: str
    district: str  # its name
    public_url: str

    def address_of(self, code: str) -> str:
        """Where the QR code leads. The code alone opens no data: a secret of the volunteer's own does."""
        return f"{self.public_url}/mijn/meedoen?code={quote(code)}"


def write_leaflets(path: Path, invitations: Sequence[Invitation], sender: Sender) -> None:
    """One A5 page for each invitation. The file holds the codes: print it, then delete it. Raises Fault."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A5, lang="nl", initialFontName="Helvetica")
    canvas.setTitle("Doet u mee met Wijkpols?")
    canvas.setAuthor(sender.controller)
    for invitation in invitations:
        _page(canvas, invitation, sender)
        canvas.showPage()
    canvas.save()
    try:
        path.touch(mode=0o600)
        path.write_bytes(out.getvalue())
    except OSError as fault:
        raise Fault(f"{path} cannot be written: {fault.strerror}") from None


def _page(canvas: Any, invitation: Invitation, sender: Sender) -> None:
    width, height = A5
    story: list[Any] = [
        Paragraph("Doet u mee met Wijkpols?", _TITLE),
        Paragraph(f"{_plain(sender.controller)} wil weten hoe mensen in {_plain(sender.district)} zich voelen.", _TEXT),
    ]
    for head, text in (
        ("Wat doet u?", "U draagt een polsband. U zegt zelf wat de band mag meten. Soms vragen we hoe u zich voelt."),
        ("Wat ziet de gemeente?", "Alleen cijfers van de hele wijk. Nooit van u. Uw naam vragen we niet."),
        ("Moet het?", "Nee. U mag ook nee zeggen. En stoppen kan altijd, met één tik. U hoeft niet te zeggen waarom."),
        ("Voor wie?", "Voor iedereen van 18 jaar of ouder. Uw baas of uw school mag u niet vragen om mee te doen."),
        ("Hoe begint u?", "Scan het vierkant met uw telefoon. Of ga naar het adres hieronder en vul uw code in."),
    ):
        story += [Paragraph(head, _HEAD), Paragraph(text, _TEXT)]
    Frame(_MARGIN, 62 * mm, width - 2 * _MARGIN, height - 62 * mm - 8 * mm, 0, 0, 0, 0).addFromList(story, canvas)
    if story:
        raise Fault("the leaflet's text does not fit its page: shorten WIJKPOLS_CONTROLLER_NAME or the district's name")
    _draw_qr(canvas, sender.address_of(invitation.code), _MARGIN, 18 * mm)
    beside: list[Any] = [
        Paragraph("Uw code", _HEAD),
        Paragraph(f'<font name="Courier-Bold" size="12.5">{invitation.code}</font>', _TEXT),
        Spacer(1, 2 * mm),
        Paragraph("Adres", _HEAD),
        Paragraph(f"{_plain(sender.public_url)}/mijn", _SMALL),
        Paragraph(f"Uw band: {_plain(invitation.serial)}", _SMALL),
        Paragraph("Bewaar deze folder. U heeft de code nodig om in te loggen.", _SMALL),
    ]
    left = _MARGIN + _QR_SIZE + 6 * mm
    Frame(left, 14 * mm, width - left - _MARGIN, _QR_SIZE + 6 * mm, 0, 0, 0, 0).addFromList(beside, canvas)
    foot = [
        Paragraph("Uw herstelwoorden (schrijf ze hier op): .......................................", _SMALL),
        Paragraph(f"Vragen? {_plain(sender.contact)}", _SMALL),
    ]
    Frame(_MARGIN, 4 * mm, width - 2 * _MARGIN, 10 * mm, 0, 0, 0, 0).addFromList(foot, canvas)


def _draw_qr(canvas: Any, text: str, x: float, y: float) -> None:
    """The QR code as vector squares (ISO/IEC 18004, level M, quiet zone of four modules)."""
    rows = [list(row) for row in segno.make(text, error="m", micro=False).matrix_iter(border=4)]
    side = _QR_SIZE / len(rows)
    path = canvas.beginPath()
    for down, row in enumerate(rows):
        for across, dark in enumerate(row):
            if dark:
                path.rect(x + across * side, y + _QR_SIZE - (down + 1) * side, side, side)
    canvas.drawPath(path, stroke=0, fill=1)


def _plain(text: str) -> str:
    """Text that reportlab must not take for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

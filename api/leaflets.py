"""What the association hands out with a band: a sheet with its claim code, a QR code and the way in, in plain Dutch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from api.paper import CODE, HEAD, LARGE, SMALL, TEXT, TITLE, Canvas, Frame, Paragraph, draw_qr, mm, plain
from contracts.ports import Fault

_WIDTH, _HEIGHT = 148 * mm, 210 * mm  # A5
_MARGIN: Final = 14 * mm
_QR_SIZE: Final = 42 * mm
_QUIET: Final = 4 * mm  # about the white border of the code, so that its squares line up with the text


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
    canvas = Canvas(out, pagesize=(_WIDTH, _HEIGHT), lang="nl", initialFontName="Helvetica")
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
    story: list[Any] = [
        Paragraph("Doet u mee met Wijkpols?", TITLE),
        Paragraph(f"{plain(sender.controller)} wil weten hoe mensen in {plain(sender.district)} zich voelen.", LARGE),
    ]
    for head, text in (
        ("Wat doet u?", "U draagt een polsband. U zegt zelf wat de band mag meten. Soms vragen we hoe u zich voelt."),
        ("Wat ziet de gemeente?", "Alleen cijfers van de hele wijk. Nooit van u. Uw naam vragen we niet."),
        (
            "Moet het?",
            "Nee. U mag ook nee zeggen. En stoppen kan altijd: met één tik, of houd de knop van de band tien seconden "
            "ingedrukt. U hoeft niet te zeggen waarom.",
        ),
        ("Voor wie?", "Voor iedereen van 18 jaar of ouder. Uw baas of uw school mag u niet vragen om mee te doen."),
        (
            "Hoe begint u?",
            "Scan het vierkant met uw telefoon. Of ga naar het adres hieronder en vul uw code in. Houd daarna de knop "
            "van de band vijf seconden ingedrukt, bij een ontvanger in uw wijk.",
        ),
    ):
        story += [Paragraph(head, HEAD), Paragraph(text, LARGE)]
    Frame(_MARGIN, 70 * mm, _WIDTH - 2 * _MARGIN, _HEIGHT - 70 * mm - 8 * mm, 0, 0, 0, 0).addFromList(story, canvas)
    if story:
        raise Fault("the leaflet's text does not fit its page: shorten WIJKPOLS_CONTROLLER_NAME or the district's name")
    address, left, low = sender.address_of(invitation.code), _MARGIN - _QUIET, 27 * mm
    draw_qr(canvas, address, left, low, _QR_SIZE)
    canvas.linkURL(address, (left, low, left + _QR_SIZE, low + _QR_SIZE))  # for who reads it on a screen
    beside: list[Any] = [
        Paragraph("Uw code", HEAD),
        Paragraph(invitation.code, CODE),
        Paragraph("Adres", HEAD),
        Paragraph(f"{plain(sender.public_url)}/mijn", TEXT),
        Paragraph(f"Uw band: {plain(invitation.serial)}", SMALL),
        Paragraph("Bewaar deze folder. U heeft de code nodig om in te loggen.", SMALL),
    ]
    left = _MARGIN + _QR_SIZE + 4 * mm
    Frame(left, 26 * mm, _WIDTH - left - _MARGIN, _QR_SIZE - 3 * mm, 0, 0, 0, 0).addFromList(beside, canvas)
    foot: list[Any] = [Paragraph("Uw herstelcode. U krijgt hem als u meedoet. Schrijf hem hier op:", SMALL)]
    Frame(_MARGIN, 19 * mm, _WIDTH - 2 * _MARGIN, 6 * mm, 0, 0, 0, 0).addFromList(foot, canvas)
    _draw_boxes(canvas, _MARGIN, 12 * mm)
    canvas.setFont("Helvetica", SMALL.fontSize)
    canvas.drawString(_MARGIN, 6 * mm, f"Vragen? {sender.contact}")


def _draw_boxes(canvas: Any, x: float, y: float) -> None:
    """Five groups of four boxes, as a recovery code is written."""
    side, gap = 5 * mm, 3 * mm
    for group in range(5):
        for letter in range(4):
            canvas.rect(x + group * (4 * side + gap) + letter * side, y, side, side + 1 * mm)

"""What the association hands out with a band: a sheet with its claim code, a QR code and the way in, in plain Dutch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from api.paper import HEAD, SMALL, TEXT, TITLE, Canvas, Frame, Paragraph, Spacer, draw_qr, mm, plain
from contracts.ports import Fault

_WIDTH, _HEIGHT = 148 * mm, 210 * mm  # A5
_MARGIN: Final = 14 * mm
_QR_SIZE: Final = 42 * mm


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
        Paragraph(f"{plain(sender.controller)} wil weten hoe mensen in {plain(sender.district)} zich voelen.", TEXT),
    ]
    for head, text in (
        ("Wat doet u?", "U draagt een polsband. U zegt zelf wat de band mag meten. Soms vragen we hoe u zich voelt."),
        ("Wat ziet de gemeente?", "Alleen cijfers van de hele wijk. Nooit van u. Uw naam vragen we niet."),
        ("Moet het?", "Nee. U mag ook nee zeggen. En stoppen kan altijd, met één tik. U hoeft niet te zeggen waarom."),
        ("Voor wie?", "Voor iedereen van 18 jaar of ouder. Uw baas of uw school mag u niet vragen om mee te doen."),
        ("Hoe begint u?", "Scan het vierkant met uw telefoon. Of ga naar het adres hieronder en vul uw code in."),
    ):
        story += [Paragraph(head, HEAD), Paragraph(text, TEXT)]
    Frame(_MARGIN, 62 * mm, _WIDTH - 2 * _MARGIN, _HEIGHT - 62 * mm - 8 * mm, 0, 0, 0, 0).addFromList(story, canvas)
    if story:
        raise Fault("the leaflet's text does not fit its page: shorten WIJKPOLS_CONTROLLER_NAME or the district's name")
    draw_qr(canvas, sender.address_of(invitation.code), _MARGIN, 18 * mm, _QR_SIZE)
    beside: list[Any] = [
        Paragraph("Uw code", HEAD),
        Paragraph(f'<font name="Courier-Bold" size="12.5">{invitation.code}</font>', TEXT),
        Spacer(1, 2 * mm),
        Paragraph("Adres", HEAD),
        Paragraph(f"{plain(sender.public_url)}/mijn", SMALL),
        Paragraph(f"Uw band: {plain(invitation.serial)}", SMALL),
        Paragraph("Bewaar deze folder. U heeft de code nodig om in te loggen.", SMALL),
    ]
    left = _MARGIN + _QR_SIZE + 6 * mm
    Frame(left, 14 * mm, _WIDTH - left - _MARGIN, _QR_SIZE + 6 * mm, 0, 0, 0, 0).addFromList(beside, canvas)
    foot = [
        Paragraph("Uw herstelwoorden (schrijf ze hier op): .......................................", SMALL),
        Paragraph(f"Vragen? {plain(sender.contact)}", SMALL),
    ]
    Frame(_MARGIN, 4 * mm, _WIDTH - 2 * _MARGIN, 10 * mm, 0, 0, 0, 0).addFromList(foot, canvas)

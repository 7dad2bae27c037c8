"""A receipt on paper: one A4 sheet with every statement of the JSON, in the reader's language."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from api.notices import Language
from api.pages.words import Words
from api.paper import HEAD, SMALL, TEXT, TITLE, Canvas, Frame, Paragraph, Spacer, draw_qr, mm, plain
from api.receipts import Receipt
from api.records import ConsentRecord
from contracts.ports import Fault
from contracts.reading import Category

_WIDTH, _HEIGHT = 210 * mm, 297 * mm
_MARGIN = 20 * mm
_QR_SIZE = 30 * mm


def write_receipt(
    record: ConsentRecord,
    receipt: Receipt,
    *,
    erased: Iterable[Category],
    names: Mapping[str, str],
    language: Language,
    public_url: str,
) -> bytes:
    """The sheet as PDF; `names` are those of districts. Raises Fault when a setting is too long for it."""
    t, out = Words(language), io.BytesIO()
    canvas = Canvas(out, pagesize=(_WIDTH, _HEIGHT), lang=language, initialFontName="Helvetica")
    canvas.setTitle(t("mine.receipt"))
    canvas.setAuthor(record.controller)
    story: list[Any] = [Paragraph(t("mine.receipt"), TITLE), Paragraph(t("mine.receipt.lead"), TEXT)]
    for name, value in _facts(record, receipt, erased, names, t):
        story += [Paragraph(plain(name), HEAD), Paragraph(plain(value), TEXT)]
    story += [
        Spacer(1, 4 * mm),
        Paragraph(t("mine.receipt.check"), HEAD),
        Paragraph(plain(t("mine.receipt.check_text")), SMALL),
        Paragraph(t("mine.receipt.made", at=t.moment_of(receipt["created"])), SMALL),
    ]
    Frame(_MARGIN, _MARGIN, _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN, 0, 0, 0, 0).addFromList(story, canvas)
    if story:
        raise Fault("a receipt does not fit its sheet: shorten WIJKPOLS_CONTROLLER_NAME")
    draw_qr(canvas, f"{public_url}/mijn/bewijs", _WIDTH - _MARGIN - _QR_SIZE, _HEIGHT - _MARGIN - _QR_SIZE, _QR_SIZE)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def _facts(
    record: ConsentRecord, receipt: Receipt, erased: Iterable[Category], names: Mapping[str, str], t: Words
) -> list[tuple[str, str]]:
    chosen = [
        (t(f"mine.purpose.{purpose.value}"), "; ".join(t(f"category.{kind.value}") for kind in kinds))
        for purpose, kinds in record.purposes.items()
    ]
    kept, land = [t("mine.receipt.days", days=record.retention_days)], record.storage_location
    if land:
        kept.append(t("mine.receipt.in", country=t.known(f"country.{land}", land)))
    facts = [
        (t("mine.receipt.event"), t(f"mine.event.{record.event.value}")),
        *(chosen or [(t("mine.receipt.choices"), t("mine.receipt.nothing"))]),
        (t("mine.receipt.at"), t.at(record.at)),
        *([(t("mine.receipt.pressed"), t.at(record.pressed_at))] if record.pressed_at else []),
        *([(t("mine.receipt.until"), t.day_at(record.valid_until))] if chosen else []),
        (t("mine.receipt.district"), t.place(record.district, names)),
        (t("mine.receipt.controller"), record.controller),
        (t("mine.receipt.kept"), ", ".join(kept)),
        (t("mine.receipt.notice"), f"{t('mine.receipt.version', version=record.notice.version)} {record.notice.uri}"),
        (t("mine.receipt.text_hash"), record.notice.sha256),
        (t("mine.receipt.number"), record.record_id),
        (t("mine.receipt.pseudonym"), record.principal_id),
        (t("mine.receipt.place"), str(receipt["ledger"]["place"])),
        (t("mine.receipt.hash"), receipt["ledger"]["hash"]),
        (t("mine.receipt.withdraw"), record.rights.get("A7-3", record.withdrawal_method)),
    ]
    if "erasure" in receipt:
        done = "mine.receipt.erased" if record.erases_all else "mine.receipt.erased.part"
        told = done if "erasedAt" in receipt["erasure"] else "mine.receipt.erasing"
        facts.append((t("mine.receipt.erasure"), t(told, kinds=t.kinds(erased))))
    return facts

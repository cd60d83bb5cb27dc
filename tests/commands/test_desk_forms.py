"""`relay desk` over HTTP, on a real project: what each form does."""

import re

import pytest

from relay.commands.desk.listing import PAGE
from testkit.desk import WORD, Desk, desk
from testkit.exceptions import exception_of, rejected
from testkit.payments import Payment, reconcile
from testkit.project import Project

pytestmark = pytest.mark.anyio


async def test_resolving_records_who_what_and_why_and_stripes_retry_gets_its_200(project: Project, ada: Desk) -> None:
    payment, exception = rejected(project)
    path = f"/exceptions/{exception['id']}"

    page = await ada.post(f"{path}/resolve", *WORD)

    row = exception_of(project, payment)
    assert [row[key] for key in ("status", "resolution", "resolved_by", "note")] == [
        "resolved",
        "refunded",
        "ada",
        "sent back",
    ]
    assert (page.status, page.at) == (200, f"{path}?said=resolved")
    assert f"Exception {exception['id']} is resolved." in page.words
    assert reconcile(project.shop.service, payment)["outcome"] == "resolved"


async def test_whoever_resolves_second_is_told_who_was_faster_and_changes_nothing(project: Project, ada: Desk) -> None:
    _, exception = rejected(project)
    path = f"/exceptions/{exception['id']}"
    async with desk(project, by="bob <b>") as bob:
        seen = await ada.get(path)
        assert "Resolve as ada" in seen.words
        assert (await bob.post(f"{path}/resolve", ("resolution", "dismissed"), ("note", "not ours"))).status == 200
        before = project.snapshot()

        late = await ada.post(f"{path}/resolve", *WORD)

    assert late.status == 409
    assert "bob <b> was faster: it is resolved as dismissed. What you sent changed nothing." in late.words
    assert "<b>bob" not in late.text
    assert "sent back" in late.words  # what was written is not lost: it is there for a reopening
    assert project.snapshot() == before


async def test_reopening_takes_the_word_back_and_tells_it(project: Project, ada: Desk) -> None:
    payment, exception = rejected(project)
    path = f"/exceptions/{exception['id']}"
    assert (await ada.post(f"{path}/resolve", *WORD)).status == 200

    page = await ada.post(f"{path}/reopen", ("note", "it was the other one"))

    row = exception_of(project, payment)
    assert (row["status"], row["details"]["reopened"][0]["reopened_by"]) == ("open", "ada")
    assert f"Exception {exception['id']} is open again." in page.words
    assert "ada had called it refunded (sent back); ada reopened it" in page.words
    assert (await ada.post(f"{path}/reopen", ("note", "again"))).status == 409


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ([("note", "sent back")], "choose a resolution"),
        ([("resolution", "stolen"), ("note", "x")], "choose a resolution"),
        ([("resolution", "reconciled"), ("note", "x")], "choose a resolution"),
        ([("resolution", "refunded")], "Write a note"),
        ([("resolution", "refunded"), ("note", " \n ")], "Write a note"),
        ([("resolution", "refunded"), ("note", "x" * 2001)], "longer than 2,000 characters"),
        ([("resolution", "refunded"), ("note", "a\0b")], "a character that no text may hold"),
    ],
)
async def test_a_word_that_is_not_whole_does_nothing_and_is_kept(
    project: Project, ada: Desk, fields: list[tuple[str, str]], problem: str
) -> None:
    _, exception = rejected(project)
    id_ = str(exception["id"])
    before = project.snapshot()

    one = await ada.post(f"/exceptions/{id_}/resolve", *fields)
    many = await ada.post("/exceptions/resolve", *fields, ("id", id_), ("after", str(exception["id"] - 1)))
    all_ = await ada.post("/exceptions/resolve", *fields, ("upto", id_))

    for page in (one, many, all_):
        assert (page.status, problem in page.words) == (400, True)
        assert dict(fields).get("note", "").strip().replace("\0", "\N{REPLACEMENT CHARACTER}") in page.words
    assert f'value="{id_}" id="tick-{id_}" aria-label="Exception {id_}" checked' in many.text
    assert project.snapshot() == before


async def test_money_that_paid_a_group_is_not_called_refunded(project: Project, ada: Desk) -> None:
    payment = project.shop.order_group().payment()
    collision = payment.but(amount_minor=1, amount="0.01")
    for one in (payment, collision):
        reconcile(project.shop.service, one)
    exception = exception_of(project, payment)

    page = await ada.post(f"/exceptions/{exception['id']}/resolve", *WORD)

    assert (page.status, f"The payment of exception {exception['id']} has paid order group" in page.words) == (
        409,
        True,
    )
    assert exception_of(project, payment)["status"] == "open"


async def test_many_are_resolved_with_one_note_and_what_is_declined_is_told(project: Project, ada: Desk) -> None:
    (first, one), (second, two), (third, three) = rejected(project), rejected(project), rejected(project)
    assert (await ada.post(f"/exceptions/{three['id']}/resolve", *WORD)).status == 200
    ticked = [("id", str(row["id"])) for row in (one, two, three, one)]

    page = await ada.post("/exceptions/resolve", ("resolution", "dismissed"), ("note", "a test"), *ticked)

    assert (page.status, "2 exceptions resolved" in page.words, "1 exception declined" in page.words) == (
        200,
        True,
        True,
    )
    assert f"payment exception {three['id']} was closed as refunded by ada" in page.words
    words = [exception_of(project, payment)["resolution"] for payment in (first, second, third)]
    assert words == ["dismissed", "dismissed", "refunded"]
    assert (await ada.post("/exceptions/resolve", *WORD)).status == 400  # none is ticked


async def test_all_that_a_filter_finds_are_resolved_and_later_ones_stay_open(project: Project, ada: Desk) -> None:
    unmatched = Payment(order_group_id=None, unmatched_reason="malformed_reference", amount_minor=1, amount="0.01")
    open_before = project.query(  # by other files' tests, which share the stack
        "select id from payments.exceptions where status = 'open' and reason = 'malformed_reference'"
    )
    payments = [unmatched.rival() for _ in range(PAGE + 5)]
    count = len(open_before) + len(payments)
    for payment in payments:
        reconcile(project.shop.service, payment)
    other, _ = rejected(project)
    shown = await ada.get("/exceptions/all?reason=malformed_reference")
    upto = re.search(r'name="upto" value="(\d+)"', shown.text)
    assert upto is not None
    assert f"Resolve {count} exceptions with one note" in shown.words
    late = unmatched.rival()
    reconcile(project.shop.service, late)

    page = await ada.post(
        "/exceptions/resolve",
        *WORD[1:],
        ("resolution", "dismissed"),
        ("reason", "malformed_reference"),
        ("upto", upto[1]),
    )
    while 'http-equiv="refresh"' in page.text:  # as a browser does
        page = await ada.get(page.at)

    assert f"{count} exceptions resolved" in page.words
    assert {exception_of(project, one)["status"] for one in payments} == {"resolved"}
    assert {exception_of(project, one)["status"] for one in (late, other)} == {"open"}

"""`relay exceptions` and `relay explain`, run as an operator runs them, on a real project."""

import asyncio
import json
import os
import re
import signal
import sys
import uuid
from pathlib import Path

import pytest

import relay.data_api.records
from relay.commands import exception_rows, terminal
from relay.commands.exception_rows import without_metadata
from relay.config import Settings
from relay.core.outcomes import EXCEPTION_REASONS
from testkit.exceptions import exception_of, rejected
from testkit.payments import Payment, reconcile
from testkit.polling import until
from testkit.project import Project
from testkit.refunds import Refund, record

pytestmark = pytest.mark.anyio


async def test_list_shows_what_was_expected_and_what_came(project: Project) -> None:
    payment, exception = rejected(project)

    ended = await project.relay("exceptions", "list")

    assert (ended.status, ended.errors) == (0, "")
    (line,) = [line for line in ended.output.splitlines() if str(payment.order_group_id) in line]
    fields = line.split("  ")
    assert fields[0].strip() == str(exception["id"])
    assert "amount_mismatch" in line
    assert "74.24 USD" in line
    assert "74.23 USD" in line


async def test_list_as_json_is_filtered_by_group_reason_and_status(project: Project) -> None:
    payment, exception = rejected(project)
    group = str(payment.order_group_id)

    ended = await project.relay("exceptions", "list", "--group", group, "--json")
    (found,) = json.loads(ended.output)
    assert (found["id"], found["reason"], found["attempts"]) == (exception["id"], "amount_mismatch", 1)

    for arguments in (["--reason", "duplicate_payment"], ["--status", "resolved"]):
        ended = await project.relay("exceptions", "list", "--group", group, "--json", *arguments)
        assert (ended.status, json.loads(ended.output)) == (0, [])


async def test_list_is_whole_where_the_data_api_caps_its_answers(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keyset goes on until a page is empty, so a smaller page than asked for is not taken for the last."""
    ids = {rejected(project)[1]["id"] for _ in range(5)}
    monkeypatch.setattr(relay.data_api.records, "PAGE_ROWS", 2)
    settings = Settings.from_env(project.environment(), now=0)
    async with relay.data_api.records.connect(settings) as clients:
        rows = await exception_rows.fetch(clients.records)

    assert ids <= {row["id"] for row in rows}
    assert len({row["id"] for row in rows}) == len(rows)


async def test_show_tells_the_evidence_without_the_metadata_unless_asked(project: Project) -> None:
    payment = (
        project.shop.order_group()
        .payment()
        .but(amount_minor=1, amount="0.01", session_metadata={"email": "jenny@example.test"})
    )
    reconcile(project.shop.service, payment)
    number = str(exception_of(project, payment)["id"])

    ended = await project.relay("exceptions", "show", number)
    assert (ended.status, ended.errors) == (0, "")
    for part in ("amount_mismatch", "74.24", "0.01", str(payment.event_id), str(payment.checkout_session_id)):
        assert part in ended.output
    assert "jenny" not in ended.output

    assert "jenny" not in (await project.relay("exceptions", "show", number, "--json")).output
    assert "jenny" in (await project.relay("exceptions", "show", number, "--metadata")).output


async def test_resolve_records_who_when_what_and_why_and_stripes_retry_gets_its_200(project: Project) -> None:
    payment, exception = rejected(project)

    ended = await project.relay(
        "exceptions", "resolve", str(exception["id"]),
        "--resolution", "refunded", "--by", "ada", "--note", "sent back", "--json",
    )  # fmt: skip

    assert (ended.status, ended.errors) == (0, "")
    told = json.loads(ended.output)
    row = exception_of(project, payment)
    assert [told[key] for key in ("status", "resolution", "resolved_by", "note")] == [
        row[key] for key in ("status", "resolution", "resolved_by", "note")
    ]
    assert (row["resolution"], row["resolved_by"], row["note"]) == ("refunded", "ada", "sent back")
    assert reconcile(project.shop.service, payment)["outcome"] == "resolved"


async def test_resolve_twice_is_declined_in_the_functions_own_words(project: Project) -> None:
    _, exception = rejected(project)
    command = ("exceptions", "resolve", str(exception["id"]), "--resolution", "dismissed", "--note", "a test")
    assert (await project.relay(*command, USER="jo")).status == 0
    before = project.snapshot()

    ended = await project.relay(*command, "--by", "kim")

    assert (ended.status, ended.output) == (1, "")
    assert f"payment exception {exception['id']} was closed as dismissed by jo" in ended.errors
    assert project.snapshot() == before


async def test_list_fails_if_any_is_listed(project: Project) -> None:
    payment, _ = rejected(project)
    command = ("exceptions", "list", "--group", str(payment.order_group_id), "--fail-if-any")

    there, gone = await project.relay(*command), await project.relay(*command, "--status", "resolved", "--json")

    assert (there.status, there.errors) == (1, "")
    assert "amount_mismatch" in there.output
    assert (gone.status, json.loads(gone.output)) == (0, [])


async def test_several_are_resolved_with_one_word_and_what_is_declined_is_told(project: Project) -> None:
    (first, one), (second, two) = rejected(project), rejected(project)
    word = ("--resolution", "dismissed", "--by", "ada", "--note", "a test")

    ended = await project.relay("exceptions", "resolve", str(one["id"]), "999999999", str(two["id"]), *word)

    assert (ended.status, ended.output) == (1, "2 resolved: dismissed, by ada.\n")
    assert "1 of 3 were declined: there is no payment exception 999999999" in ended.errors
    rows = [exception_of(project, payment) for payment in (first, second)]
    assert [(row["resolution"], row["resolved_by"], row["note"]) for row in rows] == [
        ("dismissed", "ada", "a test")
    ] * 2


@pytest.mark.parametrize("as_json", [False, True])
async def test_where_no_answer_comes_what_was_resolved_until_then_is_told(project: Project, as_json: bool) -> None:
    payments, rows = zip(*(rejected(project) for _ in range(4)), strict=True)
    one, held, after, last = (str(row["id"]) for row in rows)
    word = ("--resolution", "dismissed", "--by", "ada", "--note", "a test", *(["--json"] if as_json else []))

    with project.superuser.transaction():
        project.query("select id from payments.exceptions where id = %s for update", rows[1]["id"])
        ended = await project.relay("exceptions", "resolve", one, "999999999", held, after, last, *word)

    assert ended.status == 2
    if as_json:
        assert [row["id"] for row in json.loads(ended.output)] == [rows[0]["id"]]
    else:
        assert ended.output == "1 resolved: dismissed, by ada.\n"
    declined, failed = ended.errors.splitlines()
    assert declined == "relay: 1 of 5 were declined: there is no payment exception 999999999"
    assert failed.startswith(
        f"relay: ended at exception {held}, 2 not tried: the Data API gave no usable answer: lock_timeout (55P03"
    )
    statuses = [exception_of(project, payment)["status"] for payment in payments]
    assert statuses == ["resolved", "open", "open", "open"]


async def test_ctrl_c_ends_resolving_and_what_was_resolved_until_then_is_told(project: Project) -> None:
    (payment, one), (_, held) = rejected(project), rejected(project)
    command = ("exceptions", "resolve", str(one["id"]), str(held["id"]), "--resolution", "dismissed", "--by", "ada")

    with project.superuser.transaction():
        project.query("select id from payments.exceptions where id = %s for update", held["id"])
        async with project.running(*command, "--note", "a test") as process:
            waiting = "select pid from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"
            await until(lambda: bool(project.query(waiting)))
            process.send_signal(signal.SIGINT)
            output, errors = await process.communicate()

    assert (process.returncode, output, errors) == (
        130,
        b"1 resolved: dismissed, by ada.\n",
        b"relay: interrupted\n",
    )
    assert exception_of(project, payment)["resolution"] == "dismissed"


async def test_all_of_a_reason_are_resolved_only_with_yes(project: Project) -> None:
    unmatched = Payment(
        order_group_id=None, unmatched_reason="malformed_reference", amount_minor=1, amount="0.01", currency="usd"
    )
    old, new = unmatched.but(event_id="evt_old_1"), unmatched.but(event_id="evt_new_1")
    other, _ = rejected(project)
    for payment in (old, new):
        reconcile(project.shop.service, payment)
    project.query(
        "update payments.exceptions set first_seen_at = '2026-01-01T00:00Z' where stripe_event_id = %s returning id",
        old.event_id,
    )
    of_reason = ("exceptions", "resolve", "--reason", "malformed_reference", "--before", "2026-02-01")
    word = ("--resolution", "dismissed", "--by", "ada", "--note", "not ours")
    found = project.query(  # this one, and what other tests let grow old
        "select id from payments.exceptions where status = 'open' and reason = 'malformed_reference'"
        " and first_seen_at < '2026-02-01T00:00Z' order by first_seen_at, id"
    )
    before = project.snapshot()

    asked = await project.relay(*of_reason, *word)
    assert (asked.status, asked.errors) == (1, f"relay: nothing was done: --yes closes these {len(found)}\n")
    assert "malformed_reference" in asked.output
    assert project.snapshot() == before
    done = await project.relay(*of_reason, *word, "--yes", "--json")

    assert (done.status, [row["id"] for row in json.loads(done.output)]) == (0, [row["id"] for row in found])
    assert [exception_of(project, one)["status"] for one in (old, new, other)] == ["resolved", "open", "open"]
    again = await project.relay(*of_reason, *word, "--yes")
    assert (again.status, again.output) == (0, "0 resolved: dismissed, by ada.\n")


async def test_hundreds_of_foreign_payments_are_one_command(project: Project) -> None:
    stray = Payment(
        order_group_id=None, unmatched_reason="conflicting_references", amount_minor=1, amount="0.01", currency="usd"
    )
    of_reason = ("exceptions", "resolve", "--reason", "conflicting_references")
    word = ("--resolution", "dismissed", "--by", "ada", "--note", "another shop's")
    await project.relay(*of_reason, *word, "--yes")  # what other tests have left open
    for number in range(300):
        reconcile(project.shop.service, stray.but(event_id=f"evt_stray_{number}"))

    asked = await project.relay(*of_reason, *word)
    done = await project.relay(*of_reason, *word, "--yes")
    numbers = [str(row["id"]) for row in project.query("select id from payments.exceptions where reason = %s limit 9",
        "conflicting_references")]  # fmt: skip
    again = await project.relay("exceptions", "resolve", *numbers, *word)

    assert asked.errors == "relay: nothing was done: --yes closes these 300\n"
    assert asked.output.count("\n") == 22
    assert asked.output.endswith("\nand 280 more\n")
    assert done == (0, "300 resolved: dismissed, by ada.\n", "")
    assert again.errors.startswith("relay: 9 of 9 were declined: payment exception ")
    assert again.errors.endswith("; and so on\n")
    assert again.errors.count("was closed as dismissed by ada") == 5


@pytest.mark.parametrize(
    "which", [[], ["1", "--reason", "amount_mismatch"], ["1", "--before", "1d"], ["1", "--yes"], ["--before", "1d"]]
)
async def test_what_is_resolved_is_said_in_one_way(project: Project, which: list[str]) -> None:
    ended = await project.relay(
        "exceptions", "resolve", *which, "--resolution", "dismissed", "--by", "ada", "--note", "x"
    )

    assert (ended.status, ended.output) == (2, "")
    assert "--reason" in ended.errors


async def test_reopen_takes_the_word_back_and_stripes_retry_is_judged_anew(project: Project) -> None:
    payment, exception = rejected(project)
    number = str(exception["id"])
    close = ("exceptions", "resolve", number, "--resolution", "dismissed", "--by", "ada", "--note", "a test")
    reopen = ("exceptions", "reopen", number, "--by", "bob", "--note", "it was none")
    assert (await project.relay(*close)).status == 0

    ended = await project.relay(*reopen)

    assert (ended.status, ended.errors) == (0, "")
    assert f"Exception {number} is open again." in ended.output
    row = exception_of(project, payment)
    assert (row["status"], row["details"]["reopened"][0]["resolved_by"]) == ("open", "ada")
    assert reconcile(project.shop.service, payment)["outcome"] == "rejected"
    again = await project.relay(*reopen)
    assert (again.status, again.output) == (1, "")
    assert f"payment exception {number} is open" in again.errors
    assert (await project.relay(*close)).status == 0
    assert json.loads((await project.relay(*reopen, "--json")).output)["status"] == "open"


async def test_an_unknown_exception_is_status_1(project: Project) -> None:
    for action in (
        ["show", "999999999"],
        ["resolve", "999999999", "--resolution", "dismissed", "--note", "x"],
        ["reopen", "999999999", "--note", "x"],
    ):
        ended = await project.relay("exceptions", *action, USER="jo")
        assert (ended.status, ended.output) == (1, "")
        assert "there is no payment exception 999999999" in ended.errors


async def test_nobody_resolves_without_a_name_or_a_note(project: Project) -> None:
    _, exception = rejected(project)
    command = ("exceptions", "resolve", str(exception["id"]), "--resolution", "dismissed")

    assert (await project.relay(*command, "--note", "x")).status == 2
    assert (await project.relay(*command, "--by", "jo")).status == 2
    assert (await project.relay(*command, "--by", "jo", "--note", " ")).status == 2
    assert (await project.relay(*command, "--by", "", "--note", "x")).status == 2
    assert (await project.relay(*command, "--by", "jo", "--note", "\udcff")).status == 2
    assert (await project.relay("exceptions", "reopen", str(exception["id"]), "--by", "", "--note", "x")).status == 2


@pytest.mark.parametrize("number", ["abc", "-1", "9" * 19, "²"])
async def test_a_number_that_no_exception_can_have_is_wrong_usage(project: Project, number: str) -> None:
    ended = await project.relay("exceptions", "show", "--", number)

    assert (ended.status, ended.output) == (2, "")
    assert "must be an exception's number" in ended.errors


async def test_an_unknown_reason_is_answered_with_those_that_exist(project: Project) -> None:
    ended = await project.relay("exceptions", "list", "--reason", "stolen")

    assert ended.status == 2
    assert set(re.findall(r"'(\w+)'", ended.errors)) == {"stolen", *EXCEPTION_REASONS}
    assert "<Reason" not in ended.errors


async def test_explain_tells_events_rules_and_stock(project: Project) -> None:
    payment = project.shop.order_group().payment()
    reconcile(project.shop.service, payment.but(amount_minor=1, amount="0.01"))
    reconcile(project.shop.service, payment)
    reconcile(project.shop.service, payment.rival())

    ended = await project.relay("explain", str(payment.order_group_id))

    assert (ended.status, ended.errors) == (0, "")
    for part in (
        f"Paid by event {payment.event_id}.",
        "74.24 USD",
        "amount, currency and totals agreed",
        "duplicate_payment",
        "another payment had paid the order group",
        "reconciled",
        "stock: -5 of ",
    ):
        assert part in ended.output


async def test_explain_as_json_is_the_functions_answer_without_metadata(project: Project) -> None:
    payment = project.shop.order_group().payment().but(session_metadata={"email": "jenny@example.test"})
    reconcile(project.shop.service, payment)
    group = str(payment.order_group_id)

    ended = await project.relay("explain", group, "--json")

    (row,) = project.query("select public.explain_order_group(%s) as story", group)
    assert json.loads(ended.output) == without_metadata(row["story"])
    assert "stripe_session_metadata" in row["story"]["order_group"]
    assert "metadata" not in ended.output
    assert "jenny" not in ended.output
    assert "jenny" in (await project.relay("explain", group, "--json", "--metadata")).output


async def test_explain_tells_what_went_back_and_is_asked_by_any_id(project: Project) -> None:
    service = project.shop.service
    group = project.shop.order_group()
    payment = group.payment()
    rival = payment.rival()
    for event in (payment, rival):
        reconcile(service, event)
    record = "select public.record_{}(%s, %s, 424, 4.24, 'usd', %s, now(), %s, false)"
    service.execute(record.format("refund"), ["re_told", payment.payment_intent_id, "succeeded", "duplicate"])
    service.execute(record.format("dispute"), ["dp_told", payment.payment_intent_id, "needs_response", "fraudulent"])
    service.execute(record.format("refund"), ["re_of_rival", rival.payment_intent_id, "pending", None])
    lines = json.dumps([{"order_item_id": str(group.item_ids[0]), "quantity": 1}])
    service.execute("select public.return_order_items(%s, %s, 'too small', 're_told')", [group.id, lines])
    service.execute("select public.refund_order(%s, 'sold out', false)", [group.order_ids[1]])

    told = await project.relay("explain", str(group.id))

    assert (told.status, told.errors) == (0, "")
    assert "; 4.24 of 74.24 USD went back." in told.output
    for part in (
        "event made at     2026-11-01 12:00:00 UTC\n",
        f"refund re_told: succeeded, 4.24 USD of {payment.payment_intent_id}, by webhook: duplicate",
        f"refund re_of_rival: pending, 4.24 USD of {rival.payment_intent_id}, by webhook: no reason",
        f"dispute dp_told: needs_response, 4.24 USD of {payment.payment_intent_id}, by webhook: fraudulent",
        "order return, refund re_told, by service_role: too small; stock: +1 of ",
        f"order {group.order_ids[1]}: paid to refunded, by service_role: sold out",
        "order group: pending to paid, by reconcile_order_group_payment",
        "because no more of an item comes back than it took",
        "oversold: ",
    ):
        assert part in told.output
    (exception,) = project.query("select id from payments.exceptions where stripe_event_id = %s", rival.event_id)
    ids = [
        *(payment.payment_intent_id, payment.checkout_session_id, payment.event_id, group.order_ids[0]),
        *(rival.payment_intent_id, rival.checkout_session_id, rival.event_id, exception["id"]),
    ]
    for id_ in ids:
        assert (await project.relay("explain", str(id_))).output == told.output
    for id_ in ("re_told", "dp_told", "re_of_rival"):
        found = await project.relay("explain", id_)
        assert (found.status, found.errors) == (0, "")
        assert found.output.endswith(told.output)
        assert id_ in found.output.splitlines()[0]
    as_json = json.loads((await project.relay("explain", "re_told", "--json")).output)
    assert as_json["order_group_id"] == str(group.id)


async def test_explain_of_an_id_that_no_group_has_tells_what_is_known_and_is_status_1_where_nothing_is(
    project: Project,
) -> None:
    stray = project.shop.order_group().payment().but(order_group_id=None, unmatched_reason="missing_reference")
    reconcile(project.shop.service, stray)
    (row,) = project.query("select id from payments.exceptions where stripe_event_id = %s", stray.event_id)
    record(project.shop.service, Refund.of(stray.but(payment_intent_id="pi_elsewhere"), id="re_elsewhere", reason=None))

    told = await project.relay("explain", str(stray.payment_intent_id))
    by_number = await project.relay("explain", str(row["id"]))
    as_json = await project.relay("explain", str(row["id"]), "--json")
    refund = await project.relay("explain", "re_elsewhere")
    unknown = [await project.relay("explain", id_) for id_ in ("pi_nobody", "999999999")]
    nothing = await project.relay("explain", "pi_nobody", "--json")

    assert (
        told
        == by_number
        == (
            0,
            f"exception {row['id']}: relay exceptions show {row['id']}\n"
            "The payment belongs to no order group: it names none, or none that exists here.\n",
            "",
        )
    )
    assert (as_json.status, json.loads(as_json.output)["exceptions"]) == (0, [row["id"]])
    assert (refund.status, refund.output.splitlines()) == (
        0,
        [
            "refund re_elsewhere: succeeded, 74.24 USD of pi_elsewhere",
            "The payment belongs to no order group: it names none, or none that exists here.",
        ],
    )
    assert unknown == [(1, "Nothing is known of pi_nobody.\n", ""), (1, "There is no exception 999999999.\n", "")]
    assert (nothing.status, json.loads(nothing.output)) == (
        1,
        {"order_groups": [], "exceptions": [], "refunds": [], "disputes": [], "stories": []},
    )


async def test_explain_tells_a_claim_and_an_erasure(project: Project) -> None:
    group = project.shop.order_group()
    project.query(
        "update public.order_groups set buyer_id = null, buyer_since = null where id = %s returning 1", group.id
    )
    service = project.shop.service
    service.execute("select public.claim_order_group(%s, %s)", [group.id, project.shop.buyer_id])
    service.execute("select public.erase_order_group_metadata(%s, 'ada', 'asked to')", [group.id])

    ended = await project.relay("explain", str(group.id))

    assert ended.status == 0
    told = [line[27:] for line in ended.output.splitlines() if "order group claimed" in line or "erased by" in line]
    assert [line.strip() for line in told] == ["order group claimed", "metadata erased by ada: asked to"]


async def test_explain_of_an_unknown_group_is_status_1_and_still_tells_what_came(project: Project) -> None:
    payment = project.shop.order_group().payment().but(order_group_id=uuid.uuid4())
    reconcile(project.shop.service, payment)

    ended = await project.relay("explain", str(payment.order_group_id))

    assert ended.status == 1
    assert ended.output.startswith(f"Order group {payment.order_group_id}\nThere is no such order group.\n")
    assert "order_group_not_found" in ended.output
    nobodys = await project.relay("explain", str(uuid.UUID(int=0)))
    assert (nobodys.status, nobodys.errors) == (1, "")
    assert nobodys.output == (
        "Order group 00000000-0000-0000-0000-000000000000\nThere is no such order group.\n\nNothing has happened.\n"
    )


async def test_a_group_id_that_is_no_uuid_is_wrong_usage(project: Project) -> None:
    assert (await project.relay("explain", "cart-17")).status == 2


@pytest.mark.parametrize("command", [["exceptions", "list"], ["explain", str(uuid.uuid4())]])
async def test_an_unreachable_data_api_is_status_2_in_words(project: Project, command: list[str]) -> None:
    ended = await project.relay(*command, SUPABASE_URL="http://127.0.0.1:9")

    assert (ended.status, ended.output) == (2, "")
    assert "database_unavailable" in ended.errors
    assert "SUPABASE_URL" in ended.errors
    assert ended.errors.count("\n") == 1
    assert "Traceback" not in ended.errors


async def test_missing_settings_are_status_2(project: Project) -> None:
    ended = await project.relay("exceptions", "list", SUPABASE_SERVICE_ROLE_KEY="")

    assert ended.status == 2
    assert "SUPABASE_SERVICE_ROLE_KEY" in ended.errors


def test_text_from_the_database_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in terminal.table(("note",), [("\x1b[31mred\x1b[0m\r\n",)])
    assert terminal.table(("note",), [("\x1b[31mred\n",)]).count("\n") == 2


def test_a_table_goes_on_below_where_the_terminal_ends() -> None:
    rows = [("1", "amount_mismatch", "cs_test_1")]

    assert terminal.table(("id", "reason", "session"), rows, columns=20) == (
        "id  reason\n    session\n1   amount_mismatch\n    cs_test_1\n"
    )
    assert terminal.table(("id", "reason", "session"), rows, columns=30).count("\n") == 2
    assert terminal.table(("id", "reason", "session"), rows, columns=1).count("\n") == 6


async def test_a_terminal_that_cannot_show_a_note_does_not_end_the_command(project: Project) -> None:
    _, exception = rejected(project)
    resolve = ("exceptions", "resolve", str(exception["id"]), "--resolution", "dismissed", "--by", "ada")

    ended = await project.relay(*resolve, "--note", "zurück 💸", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (ended.status, ended.errors) == (0, "")
    assert "zur?ck ?" in ended.output

    ended = await project.relay("exceptions", "show", str(exception["id"]), "--json", PYTHONIOENCODING="ascii")
    assert json.loads(ended.output)["note"] == "zurück 💸"


async def test_an_output_that_cannot_be_written_is_status_2_in_words(project: Project, tmp_path: Path) -> None:
    """As on a full disk."""
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", 'ulimit -f 0; exec "$@" > "$OUTPUT"', "sh", sys.executable, "-m", "relay", "exceptions", "list",
        env={"PATH": os.environ["PATH"], "OUTPUT": str(tmp_path / "output"), **project.environment()},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()

    assert process.returncode == 2
    assert errors.startswith(b"relay: cannot write the output: ")
    assert errors.count(b"\n") == 1


@pytest.mark.parametrize("command", [["exceptions", "list"], ["check", "--json"], ["simulate", "--list"]])
async def test_a_reader_that_has_seen_enough_is_no_failure(project: Project, command: list[str]) -> None:
    """As in `relay exceptions list | head -1`."""
    rejected(project)
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay", *command,
        env={"PATH": os.environ["PATH"], **project.environment()}, stdout=writing, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    _, errors = await process.communicate()

    assert (process.returncode, errors) == (0, b"")

"""The worked example: a shop that lives already adopts the order groups, and sells through them."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, LiteralString
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from stripe import StripeClient
from supabase import create_client
from supabase.lib.client_options import SyncClientOptions

from local_stack import platform, supabase_cli
from relay.commands.init.command import migrations
from testkit.database import Row, past_every_guard, scalar
from testkit.stripe_events import STRIPE_KEY, Answer, completed, encode
from tests.documented import commands
from tests.release.market_hall import ANA, BINDING, EXAMPLE, ROOT, MarketHall, blocks, open_hall

BEN, CARLA = (UUID(f"00000000-0000-4000-8000-00000000000{letter}") for letter in "bc")
OLD_BASKET, ANAS_BASKET, BENS_BASKET = 1, 2, 3
PATIENCE = 30.0  # seconds until a rival that neither answers nor waits is a fault of the test
LOOK_AGAIN = 0.005  # seconds between two looks at the server


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarketHall]:
    with open_hall(tmp_path_factory.mktemp("clone")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def whole(hall: MarketHall) -> Iterator[None]:
    """Whatever a test did, everything adds up after it."""
    yield
    assert hall.broken() == []


# The adoption


def test_readme_leads_from_the_shop_as_it_was_to_a_relay_that_may_reconcile(hall: MarketHall) -> None:
    before, init, adoption, checks, relay = hall.said

    assert "20250301090100_create_baskets.sql" in before
    assert f"0 of {len(migrations())} migrations were there already" in init
    assert "20261123101500_create_payment_report.sql" in init.rpartition("relay check")[2]
    assert "20261130090000_sell_through_order_groups.sql" in adoption
    assert checks.count("(0 rows)") == 2
    assert {line.split()[0] for line in relay.splitlines()} == {"ok"}


def test_all_of_the_readmes_commands_were_run(hall: MarketHall) -> None:
    page = (EXAMPLE / "README.md").read_text()

    assert [command.split()[0] for command in commands(page)] == ["init", "check", "init"]
    assert len(hall.said) == len(blocks()) == len(re.findall(r"^\*\*\d\. ", page, re.MULTILINE))


def test_the_whole_history_also_makes_a_new_database(hall: MarketHall, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE / "supabase", project / "supabase")
    for folder in (ROOT / "supabase" / "migrations", EXAMPLE / "adoption"):
        for file in folder.glob("2*.sql"):
            shutil.copy(file, project / "supabase" / "migrations")
    name = f"new_{uuid4().hex[:8]}"
    hall.stack.postgres.create_database(name)
    platform.install(hall.stack.dsn(dbname=name), regime="legacy", password=hall.stack.postgres.password)

    supabase_cli.db_push(hall.stack.dsn(user="postgres", dbname=name), project_dir=project)

    with psycopg.connect(hall.stack.dsn(dbname=name), row_factory=dict_row) as superuser:
        assert superuser.execute(BINDING.read_bytes()).fetchall() == []
        assert superuser.execute("select * from public.security_findings()").fetchall() == []


def test_readers_of_the_old_tables_see_what_they_saw(hall: MarketHall) -> None:
    headers = {"apikey": hall.stack.anon_key, "Authorization": f"Bearer {hall.stack.user_token(ANA)}"}
    with httpx.Client(base_url=f"{hall.stack.url}/rest/v1", headers=headers, trust_env=False) as ana:
        baskets = ana.get("/baskets", params={"select": "id,paid_at", "id": f"lte.{BENS_BASKET}"}).json()
        paid = ana.get("/baskets", params={"select": "id", "paid_at": "not.is.null", "id": f"lte.{BENS_BASKET}"}).json()
        articles = ana.get("/articles", params={"select": "number,vendors(name)", "number": "eq.B-1"}).json()
    shelf = hall.service.execute("select * from public.shelf order by article_id").fetchall()

    assert [(row["id"], row["paid_at"] is None) for row in baskets] == [(OLD_BASKET, False), (ANAS_BASKET, True)]
    assert paid == [{"id": OLD_BASKET}]
    assert articles == [{"number": "B-1", "vendors": {"name": "Bakery"}}]
    assert shelf == hall.before["shelf"]
    assert [row["pieces"] for row in shelf] == [20, 0, 20, 20, 20]


def test_what_lay_on_the_shelf_came_in_as_receipts(hall: MarketHall) -> None:
    receipts = hall.superuser.execute(
        "select quantity_delta, note from public.inventory_ledger where entry_type = 'receipt' order by id limit 4"
    ).fetchall()

    assert receipts == [{"quantity_delta": 20, "note": "handed over from public.shelf"}] * 4


def test_privileges_are_as_written_and_supabases_linter_is_silent(hall: MarketHall) -> None:
    dsn = hall.stack.dsn(user="postgres")

    assert hall.service.execute("select * from public.security_findings()").fetchall() == []
    assert supabase_cli.advisors(dsn) == []
    for role in ("anon", "authenticated"):
        for function in ("check_out_basket(bigint)", "reopen_basket(bigint)"):
            assert not scalar(
                hall.superuser, "select has_function_privilege(%s, %s, 'execute')", role, f"public.{function}"
            )
    for role in ("anon", "authenticated", "service_role"):
        for column in ("paid_before_adoption_at", "order_group_id"):
            assert not scalar(
                hall.superuser, "select has_column_privilege(%s, 'public.baskets', %s, 'update')", role, column
            )


# Selling


def test_payment_pays_the_basket_takes_its_stock_and_queues_it_once(hall: MarketHall) -> None:
    shelf = "select sum(pieces) from public.shelf"
    before = scalar(hall.service, shelf)
    checkout = hall.call("check_out_basket", ANAS_BASKET)
    assert (checkout["outcome"], checkout["amount_minor"], hall.is_paid(ANAS_BASKET)) == ("created", 3310, False)

    paid, body = hall.pay(checkout)

    assert (paid.status, paid.body["outcome"]) == (200, "applied")
    assert hall.is_paid(ANAS_BASKET)
    assert scalar(hall.service, shelf) == before - 6
    queued = "select packed_at is null from public.paid_baskets where basket_id = %s"
    assert scalar(hall.service, queued, ANAS_BASKET) is True
    orders = hall.service.execute(
        "select v.name, o.total_amount::text from public.orders as o"
        " join public.vendors as v on v.seller_id = o.seller_id where order_group_id = %s order by 1",
        [checkout["order_group_id"]],
    ).fetchall()
    assert [tuple(order.values()) for order in orders] == [("Bakery", "10.40"), ("Cheese counter", "22.70")]

    answers: list[Answer] = []
    assert hall.changed_by(lambda: answers.append(hall.send(body))) == []
    twin = body.replace(b'"evt_', b'"evt_twin')
    assert hall.changed_by(lambda: answers.append(hall.send(twin))) == ["payments.stripe_events"]
    assert [(answer.status, answer.body["outcome"]) for answer in answers] == [(200, "replayed"), (200, "already_paid")]
    assert hall.call("check_out_basket", ANAS_BASKET)["reason"] == "basket_is_paid"
    assert hall.call("reopen_basket", ANAS_BASKET)["reason"] == "basket_is_paid"


def test_yen_are_charged_as_they_are(hall: MarketHall) -> None:
    checkout = hall.call("check_out_basket", BENS_BASKET)
    total = "select total_amount::text from public.order_groups where id = %s"

    assert (checkout["currency"], checkout["amount_minor"]) == ("jpy", 6960)
    assert scalar(hall.service, total, checkout["order_group_id"]) == "6960"
    assert hall.pay(checkout)[0].body["outcome"] == "applied"


def test_payment_of_a_wrong_amount_leaves_the_basket_unpaid(hall: MarketHall) -> None:
    basket = hall.basket({"C-1": 1, "B-1": 1})
    checkout = hall.call("check_out_basket", basket)
    answers: list[Answer] = []

    changed = hall.changed_by(lambda: answers.append(hall.pay(checkout, amount_total=1264)[0]))

    assert (answers[0].status, answers[0].body["reason"]) == (500, "amount_mismatch")
    assert changed == ["payments.exceptions"]
    assert not hall.is_paid(basket)
    assert hall.pay(checkout)[0].body["outcome"] == "applied"


def test_basket_is_checked_out_once_however_often_the_server_asks(hall: MarketHall) -> None:
    basket = hall.basket({"C-1": 1})
    first = hall.call("check_out_basket", basket)
    again: list[Row] = []

    assert hall.changed_by(lambda: again.append(hall.call("check_out_basket", basket))) == []
    assert again == [{**first, "outcome": "already_created"}]


@pytest.mark.parametrize(
    ("basket", "reason"), [(-1, "basket_not_found"), (OLD_BASKET, "basket_is_paid"), (None, "basket_empty")]
)
def test_what_cannot_be_checked_out_is_told_and_nothing_is_written(
    hall: MarketHall, basket: int | None, reason: str
) -> None:
    number = hall.basket({}) if basket is None else basket
    answers: list[Row] = []

    assert hall.changed_by(lambda: answers.append(hall.call("check_out_basket", number))) == []
    assert (answers[0]["outcome"], answers[0]["reason"]) == ("rejected", reason)


EDITS: dict[str, LiteralString] = {
    "add": "insert into public.basket_lines (basket_id, article_id, quantity) values (%(basket)s, 4, 1)",
    "change": "update public.basket_lines set quantity = 9 where basket_id = %(basket)s",
    "remove": "delete from public.basket_lines where basket_id = %(basket)s",
}


@pytest.mark.parametrize("edit", EDITS)
def test_lines_are_frozen_from_the_checkout_on_and_open_again_when_it_is_given_up(hall: MarketHall, edit: str) -> None:
    basket = hall.basket({"C-1": 1, "C-2": 1})
    hall.call("check_out_basket", basket)

    with hall.database.act_as("authenticated", user_id=ANA) as ana:
        with pytest.raises(psycopg.errors.CheckViolation, match="reopen it"):
            ana.execute(EDITS[edit], {"basket": basket})
        assert hall.call("reopen_basket", basket)["outcome"] == "reopened"
        assert hall.call("reopen_basket", basket)["outcome"] == "already_open"
        ana.execute(EDITS[edit], {"basket": basket})


def test_lines_of_what_was_paid_before_are_frozen_too(hall: MarketHall) -> None:
    with hall.database.act_as("authenticated", user_id=ANA) as ana, pytest.raises(psycopg.errors.CheckViolation):
        ana.execute(EDITS["change"], {"basket": OLD_BASKET})


def test_late_payment_of_a_checkout_that_was_given_up_pays_nothing(hall: MarketHall) -> None:
    basket = hall.basket({"C-1": 1})
    given_up = hall.call("check_out_basket", basket)
    hall.call("reopen_basket", basket)
    checkout = hall.call("check_out_basket", basket)

    late = hall.pay(given_up)[0]

    assert (late.status, late.body["reason"]) == (500, "order_group_not_payable")
    assert not hall.is_paid(basket)
    assert given_up["order_group_id"] != checkout["order_group_id"]
    assert hall.pay(checkout)[0].body["outcome"] == "applied"


def test_group_that_was_cancelled_past_the_basket_is_checked_out_anew(hall: MarketHall) -> None:
    basket = hall.basket({"C-1": 1})
    first = hall.call("check_out_basket", basket)
    scalar(hall.service, "select public.cancel_order_group(%s)", first["order_group_id"])

    checkout = hall.call("check_out_basket", basket)

    assert checkout["outcome"] == "created"
    assert hall.pay(checkout)[0].body["outcome"] == "applied"


class Stripe(BaseHTTPRequestHandler):
    """Stripe's API as far as a checkout goes: an idempotency key leads to one session, whatever is asked with it."""

    sessions: ClassVar[dict[str, dict[str, str]]] = {}

    def do_POST(self) -> None:
        asked = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        session = self.sessions.setdefault(self.headers["Idempotency-Key"], asked)
        place = list(self.sessions.values()).index(session)
        body = json.dumps({"id": f"cs_test_{place}", "object": "checkout.session", "url": f"https://pay.test/{place}"})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def stripe() -> Iterator[StripeClient]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stripe) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(server.serve_forever)
        yield StripeClient(STRIPE_KEY, base_addresses={"api": f"http://127.0.0.1:{server.server_port}"})
        server.shutdown()


def test_the_shops_server_leads_the_buyer_to_one_session_for_exactly_the_basket(
    hall: MarketHall, stripe: StripeClient, http: httpx.Client
) -> None:
    server = runpy.run_path(str(EXAMPLE / "checkout.py"))
    options = SyncClientOptions(httpx_client=http)
    shop = create_client(hall.stack.url, hall.stack.service_role_key, options)
    basket = hall.basket({"C-1": 1, "B-1": 2})

    pages = {server["start_checkout"](shop, stripe, basket) for _ in range(2)}

    ((key, session),) = Stripe.sessions.items()
    group = session["metadata[order_group_id]"]
    price = "line_items[0][price_data]"
    assert (pages, key) == ({"https://pay.test/0"}, f"checkout-{group}")
    assert (session[f"{price}[unit_amount]"], session[f"{price}[currency]"]) == ("1785", "eur")
    assert hall.send(encode(completed(group, amount_total=1785, currency="eur"))).status == 200
    with pytest.raises(server["CannotCheckOut"], match="basket_is_paid"):
        server["start_checkout"](shop, stripe, basket)


# Races


@pytest.fixture
def rivals() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def until_waiting(hall: MarketHall, call: Future[Any], pid: int) -> int:
    """The session that the call runs in, once the server says that it waits for `pid`."""
    waiting = "select coalesce(min(pid), 0) from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    for _ in range(int(PATIENCE / LOOK_AGAIN)):
        if rival := scalar(hall.superuser, waiting, pid):
            return int(rival)
        wait([call], timeout=LOOK_AGAIN)
        assert not call.done(), f"it answered at once: {call.result()}"
    raise AssertionError("the rival neither waits nor answers")


@pytest.mark.parametrize(
    ("end", "outcome", "reason"), [("commit", "rejected", "order_group_not_payable"), ("rollback", "applied", None)]
)
def test_payment_waits_for_a_buyer_who_reopens_the_basket(
    hall: MarketHall, rivals: ThreadPoolExecutor, end: str, outcome: str, reason: str | None
) -> None:
    basket = hall.basket({"C-1": 1})
    checkout = hall.call("check_out_basket", basket)
    with hall.database.act_as("service_role", autocommit=False) as server:
        assert hall.call("reopen_basket", basket, server)["outcome"] == "reopened"

        payment = rivals.submit(hall.pay, checkout)
        until_waiting(hall, payment, server.info.backend_pid)
        server.commit() if end == "commit" else server.rollback()

    answer = payment.result(PATIENCE)[0]
    assert (answer.body["outcome"], answer.body["reason"]) == (outcome, reason)
    assert hall.is_paid(basket) is (outcome == "applied")


def test_buyer_who_reopens_waits_for_the_payment_and_neither_is_a_deadlocks_victim(
    hall: MarketHall, rivals: ThreadPoolExecutor
) -> None:
    basket = hall.basket({"C-1": 1})
    checkout = hall.call("check_out_basket", basket)
    with hall.database.connect(autocommit=False) as holder:
        # The payment has the group and stops before it refers to the basket, which the reopener has.
        holder.execute("lock table public.paid_baskets in share mode")
        payment = rivals.submit(hall.pay, checkout)
        pays = until_waiting(hall, payment, holder.info.backend_pid)
        reopens = rivals.submit(reopen, hall, basket)
        until_waiting(hall, reopens, pays)
        holder.rollback()

    assert payment.result(PATIENCE)[0].body["outcome"] == "applied"
    assert reopens.result(PATIENCE)["reason"] == "basket_is_paid"
    assert hall.is_paid(basket)


def reopen(hall: MarketHall, basket: int) -> Row:
    with hall.database.act_as("service_role") as server:
        return hall.call("reopen_basket", basket, server)


def check_out(hall: MarketHall, basket: int) -> Row:
    with hall.database.act_as("service_role") as server:
        return hall.call("check_out_basket", basket, server)


@pytest.mark.parametrize(("end", "amount"), [("commit", 9 * 745), ("rollback", 745)])
def test_checkout_waits_for_an_edit_and_asks_for_what_the_basket_then_holds(
    hall: MarketHall, rivals: ThreadPoolExecutor, end: str, amount: int
) -> None:
    basket = hall.basket({"C-1": 1})
    with hall.database.act_as("authenticated", user_id=ANA, autocommit=False) as ana:
        ana.execute(EDITS["change"], {"basket": basket})

        checks_out = rivals.submit(check_out, hall, basket)
        until_waiting(hall, checks_out, ana.info.backend_pid)
        ana.commit() if end == "commit" else ana.rollback()

    checkout = checks_out.result(PATIENCE)
    assert checkout["amount_minor"] == amount
    assert hall.pay(checkout)[0].body["outcome"] == "applied"


@pytest.mark.parametrize("isolation", [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ])
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_edit_waits_for_a_checkout_and_is_refused_where_it_came_too_late(
    hall: MarketHall, rivals: ThreadPoolExecutor, end: str, isolation: psycopg.IsolationLevel
) -> None:
    basket = hall.basket({"C-1": 1})
    with (
        hall.database.act_as("service_role", autocommit=False) as server,
        hall.database.act_as("authenticated", user_id=ANA, autocommit=False) as ana,
    ):
        ana.isolation_level = isolation
        ana.execute("select 1")  # takes the snapshot where there is one
        hall.call("check_out_basket", basket, server)

        edit = rivals.submit(ana.execute, EDITS["change"], {"basket": basket})
        until_waiting(hall, edit, server.info.backend_pid)
        server.commit() if end == "commit" else server.rollback()

        refusals = (psycopg.errors.CheckViolation, psycopg.errors.SerializationFailure)
        failure = edit.exception(PATIENCE)
        assert isinstance(failure, refusals) if end == "commit" else failure is None
        ana.rollback() if failure else ana.commit()


# The other tables


def test_new_vendor_article_and_staff_are_bound_at_once_and_kept_equal(hall: MarketHall) -> None:
    service = hall.service
    vendor = scalar(service, "insert into public.vendors (name) values ('Mill') returning id")
    service.execute("insert into public.vendor_staff (vendor_id, user_id) values (%s, %s)", [vendor, CARLA])
    article = scalar(
        service,
        "insert into public.articles (vendor_id, number, title, currency, price_minor)"
        " values (%s, 'M-1', 'Flour', 'EUR', 180) returning id",
        vendor,
    )
    assert hall.broken() == []

    service.execute("update public.vendors set name = 'Old mill' where id = %s", [vendor])
    service.execute("update public.articles set title = 'Rye flour' where id = %s", [article])
    assert hall.broken() == []
    with pytest.raises(psycopg.errors.CheckViolation, match="stays with its vendor"):
        service.execute("update public.articles set vendor_id = 1 where id = %s", [article])
    service.execute("delete from public.vendor_staff where vendor_id = %s", [vendor])
    assert hall.pay(hall.call("check_out_basket", hall.basket({"M-1": 3})))[0].body["outcome"] == "applied"


def test_staff_see_their_vendors_orders_and_nobody_elses(hall: MarketHall) -> None:
    hall.pay(hall.call("check_out_basket", hall.basket({"C-1": 1, "B-1": 1}, buyer=BEN)))

    with hall.database.act_as("authenticated", user_id=CARLA) as carla:
        sellers = carla.execute(
            "select distinct v.name from public.orders as o join public.vendors as v on v.seller_id = o.seller_id"
        ).fetchall()
        assert sellers == [{"name": "Bakery"}]
        assert carla.execute("select * from public.baskets").fetchall() == []


# The invariants can fail

# What could be wrong -> how to make it so, past every guard. :paid, :pending and :open name baskets; :group,
# :pending_group and :cancelled_group what they were checked out as.
FAULTS: dict[str, LiteralString] = {
    "live_group_has_its_basket": """
        update public.basket_lines set order_item_id = null where basket_id = :pending;
        delete from public.order_items where order_id in (
            select id from public.orders where order_group_id = :pending_group);
        update public.baskets set order_group_id = null where id = :pending
    """,
    "basket_is_paid_one_way": "update public.baskets set paid_before_adoption_at = now() where id = :paid",
    "basket_and_group_agree": "update public.order_groups set total_amount = total_amount * 100 where id = :group",
    "line_of_a_checkout_is_an_item": """
        update public.order_items set unit_amount = unit_amount + 1
        where id = (select order_item_id from public.basket_lines where basket_id = :paid limit 1)
    """,
    "item_of_a_live_group_is_a_line": """
        insert into public.order_items (
            order_id, product_id, quantity, unit_amount, sku, title, order_group_id, seller_id)
        select o.id, p.id, 1, 1, p.sku, p.name, o.order_group_id, o.seller_id
        from public.orders as o join public.products as p on p.seller_id = o.seller_id
        where o.order_group_id = :pending_group limit 1
    """,
    "line_of_an_open_basket_is_no_item": """
        update public.basket_lines set order_item_id = (
            select i.id from public.order_items as i join public.orders as o on o.id = i.order_id
            where o.order_group_id = :cancelled_group limit 1)
        where id = (select id from public.basket_lines where basket_id = :open limit 1)
    """,
    "paid_line_took_its_stock_once": """
        update public.inventory_ledger set quantity_delta = quantity_delta - 1
        where order_item_id = (select order_item_id from public.basket_lines where basket_id = :paid limit 1)
    """,
    "paid_basket_is_queued": "delete from public.paid_baskets where basket_id = :paid",
    "vendor_and_seller_agree": "update public.sellers set name = name || '!' where name = 'Bakery'",
    "article_and_product_agree": "update public.products set sku = sku || '!' where sku = 'C-1'",
    "staff_and_members_agree": "delete from public.seller_members where true",
}


@pytest.fixture(scope="module")
def names(hall: MarketHall) -> dict[str, str]:
    """A paid basket, a pending one and a reopened one, and their groups."""
    baskets = [hall.basket({"C-1": 2, "B-1": 1}) for _ in range(3)]
    checkouts = [hall.call("check_out_basket", basket) for basket in baskets]
    hall.pay(checkouts[0])
    hall.call("reopen_basket", baskets[2])
    groups = [checkout["order_group_id"] for checkout in checkouts]
    return dict(zip(("paid", "pending", "open"), map(str, baskets), strict=True)) | dict(
        zip(("group", "pending_group", "cancelled_group"), groups, strict=True)
    )


@pytest.mark.parametrize("invariant", FAULTS)
def test_fault_is_named_by_its_invariant_and_by_no_other(
    hall: MarketHall, names: dict[str, str], invariant: str
) -> None:
    fault = re.sub(r"(?<!:):(\w+)", lambda name: f"'{names[name[1]]}'", FAULTS[invariant])

    with past_every_guard(hall.superuser, force_rollback=True):
        hall.superuser.execute(fault.encode())
        broken = hall.broken_binding()

    assert {row["invariant"] for row in broken} == {invariant}
    assert all(row["subject"] and row["detail"] for row in broken)


def test_every_invariant_has_its_fault() -> None:
    written: Sequence[str] = re.findall(r"select\n\s+'(\w+)',", BINDING.read_text())

    assert sorted(written) == sorted(FAULTS)

"""A project whose shop has added tables, columns and triggers of its own.

What the relay, its commands and the shop's screens ask of the Data API is answered as before; what a trigger of the
shop's breaks is told, undone, and mended.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import httpx
import pytest

from local_stack.stack import Stack
from testkit import own_additions
from testkit.payments import reconcile
from testkit.polling import until
from testkit.project import Project, open_project
from testkit.relay_under_test import serving
from testkit.screens import screens
from testkit.shop import paid
from testkit.stripe_api_server import StripeServer
from testkit.sweeping import LISTS, sweep

pytestmark = pytest.mark.anyio

AMBIGUOUS = "PGRST201"


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A project of the module's own, with every kind of addition that can stand beside the others."""
    with Stack() as stack, open_project(stack) as project:
        owner = project.superuser
        owner.execute("set role postgres")
        owner.execute("set search_path = ''")
        for kind in ("another way between tables", "an updated_at trigger", "a totals trigger"):
            own_additions.add(owner, kind)
        owner.execute("notify pgrst, 'reload schema'")
        owner.execute("reset role")
        yield project


def read(project: Project, path: str, *, token: str | None = None) -> Any:
    """The rows of a list, or the code of the error."""
    key = project.stack.service_role_key if token is None else project.stack.anon_key
    headers = {"apikey": key, "Authorization": f"Bearer {token or key}"}
    answer = httpx.get(f"{project.stack.url}/rest/v1/{path}", headers=headers).json()
    return answer["code"] if isinstance(answer, dict) else answer


async def test_the_lists_of_the_screens_name_their_way_between_the_tables(project: Project) -> None:
    group = project.shop.order_group()
    assert reconcile(project.shop.service, group.payment())["outcome"] == "applied"
    seller = project.shop.sellers[0]
    member = project.stack.user_token(seller.member_id)
    buyer = project.stack.user_token(group.buyer_id)
    await until(lambda: read(project, "order_groups?select=id,orders(id)") == AMBIGUOUS)
    assert read(project, "orders?select=id,order_items(id)") == AMBIGUOUS

    filled = [
        path.replace("<id>", str(seller.id if "seller" in path else group.order_ids[0])) for path in screens().values()
    ]

    assert len(filled) >= 7
    answers = {path: [read(project, path, token=token) for token in (None, member, buyer)] for path in filled}
    assert {path for path, rows in answers.items() if not all(isinstance(one, list) for one in rows)} == set()
    (orders,) = (rows for path, rows in answers.items() if path.startswith("orders?select=") and "seller_id" in path)
    assert [len(row["order_items"]) for rows in orders for row in rows] == [3, 3, 3]
    (purchases,) = (rows for path, rows in answers.items() if path.startswith("order_groups?select="))
    assert [len(order["order_items"]) for order in purchases[2][0]["orders"]] == [3, 2]


async def test_the_commands_work_as_before(project: Project, stripe: StripeServer) -> None:
    shop = project.shop
    dropped, short = shop.order_group(), shop.order_group()
    stripe.event(stripe.session(dropped))
    cheap = stripe.session(short, amount_total=7423)
    stripe.event(cheap)
    rejected = [{"checkout_session_id": cheap["id"], "order_group_id": str(short.id), "reason": "amount_mismatch"}]
    before = project.snapshot()

    ended, told = await sweep(project, stripe, "--dry-run")
    assert (ended.errors, told["applied"], told["rejected"]) == ("", 1, rejected)
    assert project.snapshot() == before
    ended, told = await sweep(project, stripe)
    assert (ended.errors, told["applied"], told["rejected"]) == ("", 1, rejected)
    assert {name: told[name] for name in LISTS if name != "rejected"} == {n: [] for n in LISTS if n != "rejected"}
    assert project.group(dropped)["status"] == "paid"

    with project.superuser.transaction():
        project.query(
            "update public.orders set total_amount = 74.23 - 40.5 where id = %s returning 1", short.order_ids[0]
        )
        project.query("update public.order_groups set total_amount = 74.23 where id = %s returning 1", short.id)
    ended, told = await sweep(project, stripe)
    assert (ended.status, ended.errors, told["applied"]) == (0, "", 1)
    assert project.group(short)["status"] == "paid"

    rival = dropped.payment().rival()
    assert reconcile(shop.service, rival)["reason"] == "duplicate_payment"
    ended = await project.relay("exceptions", "list", "--group", str(dropped.id), "--json")
    (exception,) = json.loads(ended.output)
    by = ("--by", "ada", "--note", "sent back")
    for command in (
        ["exceptions", "show", str(exception["id"])],
        ["exceptions", "resolve", str(exception["id"]), "--resolution", "refunded", *by],
        ["exceptions", "reopen", str(exception["id"]), *by],
        ["explain", str(dropped.id)],
        ["explain", str(dropped.id), "--json"],
        ["report", "--since", "2000-01-01", "--until", "2100-01-01", "--json"],
        ["check"],
    ):
        ended = await project.relay(*command)
        assert (ended.status, ended.errors) == (0, ""), command
    assert "ok    shop_triggers" in ended.output
    assert project.query("select * from public.security_findings()") == []


# A shop's own faults in its trigger: what the delivery then ends with.
FAULTS: dict[str, tuple[LiteralString, str]] = {
    "42P01": ("insert into own_queue (id) values (new.id)", "unexpected"),
    "42703": ("perform g.no_such_column from public.order_groups as g", "unexpected"),
    "42883": ("perform public.no_such_function()", "contract_violation"),
    "P0001": ("raise exception 'not today'", "unexpected"),
    "23514": ("insert into public.own_limits (pieces) values (0)", "unexpected"),
    "22012": ("perform 1 / (new.total_amount - new.total_amount)", "unexpected"),
}


@contextmanager
def own_fault(project: Project, body: LiteralString) -> Iterator[None]:
    """The shop has a trigger on paid groups, made as in the SQL editor: without a search_path of its own."""
    project.superuser.execute(
        "set role postgres; create table if not exists public.own_queue (id uuid);"
        " create table if not exists public.own_limits (pieces int check (pieces > 0));"
        " create function public.own_fault() returns trigger language plpgsql security definer as"
        f" $$ begin {body}; return null; end $$;"
        " create trigger own_fault after update of status on public.order_groups for each row"
        " when (new.status = 'paid') execute function public.own_fault(); reset role".encode()
    )
    try:
        yield
    finally:
        project.superuser.execute("drop function if exists public.own_fault() cascade")


@pytest.mark.parametrize("sqlstate", FAULTS)
async def test_a_fault_of_a_shops_trigger_is_told_undone_and_mended(project: Project, sqlstate: str) -> None:
    body, reason = FAULTS[sqlstate]
    event = paid(group := project.shop.order_group())
    async with serving(project.environment()) as relay:
        with own_fault(project, body):
            before = project.snapshot()
            answer = await relay.deliver(event, secret=project.stack.stripe_webhook_secret)

            assert answer.verdict == (500, "failed", reason)
            assert project.snapshot() == before
            (line,) = [line for line in relay.lines if line.get("event_id") == event["id"]]
            assert (line["level"], line["order_group_id"]) == ("error", str(group.id))
            assert sqlstate in line["message"]

        answer = await relay.deliver(event, secret=project.stack.stripe_webhook_secret)

    assert answer.verdict == (200, "applied", None)
    assert project.group(group)["status"] == "paid"


async def test_a_trigger_that_got_its_search_path_works_at_the_next_attempt(project: Project) -> None:
    event = paid(group := project.shop.order_group())
    with own_fault(project, FAULTS["42P01"][0]):
        async with serving(project.environment()) as relay:
            first = await relay.deliver(event, secret=project.stack.stripe_webhook_secret)
            project.superuser.execute("alter function public.own_fault() set search_path = public")
            second = await relay.deliver(event, secret=project.stack.stripe_webhook_secret)
        readiness = project.query("select public.reconciliation_readiness() -> 'fragile_triggers' as named")

    assert (first.verdict, second.verdict) == ((500, "failed", "unexpected"), (200, "applied", None))
    assert project.query("select id from public.own_queue") == [{"id": group.id}]
    assert readiness == [{"named": []}]


async def test_a_trigger_without_a_search_path_is_named_and_stops_no_traffic(project: Project) -> None:
    group = project.shop.order_group()
    with own_fault(project, "insert into own_queue (id) values (new.id)"):
        async with serving(project.environment()) as relay:
            answer = await relay.deliver(paid(group), secret=project.stack.stripe_webhook_secret)
            status, page = await relay.get("/readyz")
        check, explain = await project.relay("check"), await project.relay("explain", str(group.id), "--json")
        findings = project.query("select * from public.security_findings()")

    assert answer.verdict == (500, "failed", "unexpected")
    assert (status, json.loads(page)["ready"]) == (200, True)
    assert (check.status, check.errors) == (0, "")
    assert "warn  shop_triggers" in check.output
    assert "own_fault on public.order_groups: public.own_fault()" in check.output
    assert findings == []
    assert json.loads(explain.output)["verdict"] == (
        "Pending: no payment has been recorded. A delivery that failed before a verdict leaves no row here:"
        " the relay's log and Stripe's list of deliveries tell of it."
    )

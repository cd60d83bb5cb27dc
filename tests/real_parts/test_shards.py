"""A router before two shards (deploy/shards): one database to whoever calls it, and a payment pays once over both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from local_stack.postgres import Postgres
from testkit.database import Connection, Row, scalar
from testkit.payments import Payment, reconcile, reconcile_together
from testkit.previewed import preview, verdict_of
from testkit.refunds import Refund, record
from testkit.shards import Cluster
from testkit.shop import OrderGroup, Shop

SEND: dict[str, Callable[[Connection, Payment], Row]] = {
    "alone": reconcile,
    "together": lambda service, payment: reconcile_together(service, [payment])[0],
}


# What the relay tells as database_unavailable: an old session that was ended, and a new one that finds nobody.
NO_ANSWER = (psycopg.errors.AdminShutdown, psycopg.errors.ConnectionFailure)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shops(cluster: Cluster) -> list[Shop]:
    return cluster.open_shops()


@pytest.fixture
def service(cluster: Cluster) -> Iterator[Connection]:
    """The router's, as the Data API opens it."""
    with cluster.router.act_as("service_role") as connection:
        yield connection


@pytest.fixture
def owner(cluster: Cluster) -> Iterator[Connection]:
    with cluster.router.connect("postgres") as connection:
        yield connection


@pytest.fixture(autouse=True)
def nothing_is_broken(cluster: Cluster) -> Iterator[None]:
    yield
    with cluster.router.connect("postgres") as owner:
        assert owner.execute("select * from shards.broken_invariants()").fetchall() == []


def group_on(cluster: Cluster, shops: list[Shop], service: Connection, number: int) -> OrderGroup:
    """A pending group of that shard, made through the router."""
    seller = shops[0].sellers[0]
    group_id = next(made for made in iter(uuid4, None) if cluster.shards_of([str(made)]) == [number])
    orders = [
        {
            "seller_id": str(seller.id),
            "total_amount": "12.50",
            "items": [{"product_id": str(seller.product_ids[0]), "quantity": 2, "unit_amount": "6.25"}],
        }
    ]
    made = scalar(
        service,
        "select public.create_order_group(%s, %s, 'USD', %s)",
        group_id,
        shops[0].buyer_id,
        json.dumps(orders),
    )
    assert made["outcome"] == "created"
    return OrderGroup(
        id=group_id,
        buyer_id=shops[0].buyer_id,
        currency="USD",
        total_amount=Decimal(made["total_amount"]),
        order_ids=(),
        item_ids=(),
    )


def id_on(cluster: Cluster, number: int, prefix: str) -> str:
    """One of Stripe's ids whose claim lies on that shard."""
    return next(id_ for id_ in (f"{prefix}_{uuid4().hex}" for _ in count()) if cluster.shards_of([id_]) == [number])


def all_on(cluster: Cluster, payment: Payment, number: int) -> Payment:
    """The payment, with all of its claims on one shard."""
    return payment.but(
        event_id=id_on(cluster, number, "evt"),
        checkout_session_id=id_on(cluster, number, "cs_test"),
        payment_intent_id=id_on(cluster, number, "pi"),
    )


def brief(verdict: Row) -> tuple[str, str | None]:
    return verdict["outcome"], verdict["reason"]


def claims(cluster: Cluster, payment: Payment) -> set[tuple[int, str, Any]]:
    """Where the claims of a payment lie, and who holds them."""
    ids = [payment.event_id, payment.checkout_session_id, payment.payment_intent_id]
    found = set()
    for number, shard in enumerate(cluster.shards):
        with shard.connect() as superuser:
            rows = superuser.execute("select * from shards.claims where id = any(%s)", [ids]).fetchall()
        found |= {(number, row["id"], row["order_group_id"]) for row in rows}
    return found


# The router is one database to whoever calls it.


def test_the_routers_functions_have_the_names_parameters_and_results_of_ours(
    cluster: Cluster, owner: Connection
) -> None:
    query = """
        select
            p.oid::regprocedure::text as name,
            pg_get_function_arguments(p.oid) as arguments,
            pg_get_function_result(p.oid) as result
        from pg_proc as p
        where
            p.pronamespace = 'public'::regnamespace
            and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
    """
    with cluster.shards[0].connect("postgres") as shard:
        ours = {row["name"]: row for row in shard.execute(query).fetchall()}

    routed = {row["name"]: row for row in owner.execute(query).fetchall()}

    assert routed == {name: ours[name] for name in routed}
    # deploy/shards/README.md says of each what to do instead.
    assert {name.partition("(")[0] for name in ours.keys() - routed.keys()} == NOT_ROUTED


NOT_ROUTED = {
    "advance_order",
    "claim_exception_notifications",
    "erase_order_group_metadata",
    "finish_exception_notifications",
    "import_order_group",
    "payment_lines",
    "record_inventory_adjustment",
    "record_inventory_receipt",
    "refund_order",
}


def test_service_role_may_call_what_is_public_and_nobody_else_anything(owner: Connection) -> None:
    rows = owner.execute("""
        select n.nspname as schema, r.rolname as role, count(*) filter (
            where has_function_privilege(r.oid, p.oid, 'execute')
        ) as may, count(*) as all
        from pg_proc as p
        inner join pg_namespace as n on p.pronamespace = n.oid
        cross join pg_roles as r
        where
            n.nspname in ('public', 'shards')
            and r.rolname in ('anon', 'authenticated', 'service_role')
            and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
        group by n.nspname, r.rolname
    """).fetchall()

    assert {(row["schema"], row["role"]): row["may"] for row in rows} == {
        ("public", "anon"): 0,
        ("public", "authenticated"): 0,
        ("public", "service_role"): next(row["all"] for row in rows if row["schema"] == "public"),
        ("shards", "anon"): 0,
        ("shards", "authenticated"): 0,
        ("shards", "service_role"): 0,
    }
    for function in ("shards.settle_claims(integer[],text[])", "shards.connect(text[],text,text)"):
        assert not scalar(owner, "select has_function_privilege('service_role', %s, 'execute')", function)


def test_a_shard_has_no_security_finding_and_the_relays_readiness_is_the_worst_of_all(
    cluster: Cluster, service: Connection
) -> None:
    assert service.execute("select * from public.security_findings()").fetchall() == []

    ready = scalar(service, "select public.reconciliation_readiness()")

    with cluster.shards[0].act_as("service_role") as shard:
        known = scalar(shard, "select public.reconciliation_readiness()")
    assert ready.keys() == known.keys()
    for name in (
        "contract_version",
        "oldest_contract_version",
        "role",
        "can_execute",
        "anon_can_execute",
        "currencies",
    ):
        assert ready[name] == known[name], name
    try:
        with cluster.shards[1].connect() as superuser:
            superuser.execute("grant execute on function public.reconcile_order_group_payments(jsonb) to anon")
            found = service.execute("select finding, object from public.security_findings()").fetchall()
    finally:
        with cluster.shards[1].connect() as superuser:
            superuser.execute("revoke execute on function public.reconcile_order_group_payments(jsonb) from anon")
    assert [row["object"] for row in found] == ["public.reconcile_order_group_payments(jsonb)"]


# Payments


@pytest.mark.parametrize("way", SEND)
@pytest.mark.parametrize("number", [0, 1])
def test_a_payment_pays_its_group_on_its_shard_and_comes_again_as_a_replay(
    cluster: Cluster, shops: list[Shop], service: Connection, way: str, number: int
) -> None:
    group = group_on(cluster, shops, service, number)
    payment = group.payment()

    first, again, twin = (SEND[way](service, each) for each in (payment, payment, payment.twin()))

    assert first == {
        "outcome": "applied",
        "reason": None,
        "order_group_id": str(group.id),
        "stripe_event_id": payment.event_id,
        "orders_paid": 1,
        "ledger_entries": 1,
    }
    assert [brief(again), brief(twin)] == [("replayed", None), ("already_paid", None)]
    assert {(id_, held) for _, id_, held in claims(cluster, payment)} == {
        (id_, group.id) for id_ in (payment.event_id, payment.checkout_session_id, payment.payment_intent_id)
    }
    for place, shard in enumerate(cluster.shards):
        with shard.connect() as superuser:
            rows = superuser.execute("select status from public.order_groups where id = %s", [group.id]).fetchall()
        assert [row["status"] for row in rows] == (["paid"] if place == number else [])


@pytest.mark.parametrize("way", SEND)
@pytest.mark.parametrize("shared", ["event_id", "checkout_session_id", "payment_intent_id"])
def test_what_paid_a_group_of_one_shard_pays_none_of_the_other_and_becomes_an_exception(
    cluster: Cluster, shops: list[Shop], service: Connection, shared: str, way: str
) -> None:
    first, second = (group_on(cluster, shops, service, number) for number in (0, 1))
    paid = first.payment()
    payment = second.payment().but(**{shared: getattr(paid, shared)})
    assert brief(SEND[way](service, paid)) == ("applied", None)

    (told,) = preview(service, [payment])
    refused = SEND[way](service, payment)

    assert verdict_of(told) == refused
    assert brief(refused) == ("rejected", "payment_already_used")
    rows = service.execute(
        "select id, order_group_id, reason from public.list_payment_exceptions(p_event => %s)", [payment.event_id]
    ).fetchall()
    assert [(row["order_group_id"], row["reason"]) for row in rows] == [(second.id, "payment_already_used")]
    assert rows[0]["id"] % 2 == 1, "the number of an exception tells its shard"
    status = scalar(service, "select status from public.order_groups where id = %s", second.id)
    assert status == "pending"
    closed = scalar(
        service, "select public.resolve_payment_exception(%s, 'fixed_by_hand', 'ops', 'told')", rows[0]["id"]
    )
    assert (closed["stripe_event_id"], closed["status"]) == (payment.event_id, "resolved")
    assert brief(SEND[way](service, payment)) == ("resolved", None)


@pytest.mark.parametrize("winner", [0, 1])
def test_rivals_for_one_payment_on_two_shards_meet_at_the_claim(
    cluster: Cluster, shops: list[Shop], service: Connection, winner: int
) -> None:
    groups = [group_on(cluster, shops, service, number) for number in (0, 1)]
    intent = f"pi_{uuid4().hex}"
    payments = [group.payment().but(payment_intent_id=intent) for group in groups]
    (place,) = cluster.shards_of([intent])

    with (
        cluster.shards[place].connect(autocommit=False) as holder,
        cluster.shards[place].connect() as observer,
        cluster.router.act_as("service_role") as one,
        cluster.router.act_as("service_role") as other,
        ThreadPoolExecutor(2) as threads,
    ):
        holder.execute("select payments.lock_payment_intent(%s)", [intent])
        calls = []
        order = [winner, 1 - winner]
        for waiting, (number, session) in enumerate(zip(order, (one, other), strict=True), start=1):
            calls.append(threads.submit(reconcile, session, payments[number]))
            until_waiting(observer, waiting, calls[-1])
        holder.rollback()
        told = [call.result() for call in calls]

    assert [brief(each) for each in told] == [("applied", None), ("rejected", "payment_already_used")]


def until_waiting(observer: Connection, sessions: int, call: Any) -> None:
    """Until so many of the router's sessions wait on this shard."""
    while not call.done():
        waiting = scalar(
            observer,
            "select count(*) from pg_stat_activity where usename = 'relay_router' and pg_blocking_pids(pid) <> '{}'",
        )
        if waiting >= sessions:
            return
    raise AssertionError(f"it did not wait: {call.result()}")


def test_a_batch_is_split_by_shard_and_answered_in_its_own_order(
    cluster: Cluster, shops: list[Shop], service: Connection
) -> None:
    payments: list[Payment | Any] = [group_on(cluster, shops, service, place % 2).payment() for place in range(6)]
    rival = payments[0].rival()
    stolen = payments[1].but(order_group_id=payments[2].order_group_id, event_id=f"evt_{uuid4().hex}")
    unmatched = payments[3].but(
        order_group_id=None,
        unmatched_reason="missing_reference",
        event_id=f"evt_{uuid4().hex}",
        checkout_session_id=f"cs_test_{uuid4().hex}",
        payment_intent_id=f"pi_{uuid4().hex}",
    )
    wrong = payments[4].but(amount_minor=1, amount="0.01", event_id=f"evt_{uuid4().hex}")

    told = reconcile_together(service, [*payments[:4], rival, stolen, unmatched, wrong, "no payment", payments[5]])

    assert [brief(each) for each in told] == [
        *[("applied", None)] * 4,
        ("rejected", "duplicate_payment"),
        ("rejected", "duplicate_payment"),
        ("unmatched", "missing_reference"),
        ("rejected", "amount_mismatch"),
        ("failed", None),
        ("applied", None),
    ]
    assert told[8]["sqlstate"] == "22023"
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        reconcile_together(service, [{}] * 33)
    assert reconcile_together(service, []) == []


# Faults


def test_a_claim_whose_payment_did_not_follow_is_found_and_pays_when_it_is_sent_again(
    cluster: Cluster, shops: list[Shop], service: Connection, owner: Connection
) -> None:
    payment = all_on(cluster, group_on(cluster, shops, service, 1).payment(), 0)

    with away(cluster.servers[1]), pytest.raises(NO_ANSWER):
        reconcile(service, payment)

    assert {held for _, _, held in claims(cluster, payment)} == {payment.order_group_id}
    ids = {payment.event_id, payment.checkout_session_id, payment.payment_intent_id}
    assert ids & waiting(owner) == ids
    assert brief(reconcile(service, payment)) == ("applied", None)
    assert ids & waiting(owner) == set()


def waiting(owner: Connection) -> set[str]:
    rows = owner.execute("select id from shards.sweep_claims(clock_timestamp()) where state = 'waiting'").fetchall()
    return {row["id"] for row in rows}


@contextmanager
def away(server: Postgres) -> Iterator[None]:
    """A shard is stopped, its sessions ended, and is there again afterwards."""
    server.halt()
    try:
        yield
    finally:
        server.start()


def test_a_claim_that_nobody_relied_on_for_an_hour_is_given_up_and_another_group_is_paid(
    cluster: Cluster, shops: list[Shop], service: Connection, owner: Connection
) -> None:
    first, second = (group_on(cluster, shops, service, number) for number in (0, 1))
    wrong = first.payment().but(amount_minor=1, amount="0.01")
    right = second.payment().but(payment_intent_id=wrong.payment_intent_id)
    assert brief(reconcile(service, wrong)) == ("rejected", "amount_mismatch")
    assert brief(reconcile(service, right)) == ("rejected", "payment_already_used")
    assert wrong.payment_intent_id in waiting(owner), "it is young, and the payment may be under way"

    for shard in cluster.shards:
        with shard.connect() as superuser:
            superuser.execute(
                "update shards.claims set claimed_at = claimed_at - interval '1 hour' where order_group_id = %s",
                [first.id],
            )
    released = owner.execute("select id, state from shards.sweep_claims(clock_timestamp())").fetchall()

    assert {row["id"] for row in released if row["state"] == "released"} == {
        wrong.event_id,
        wrong.checkout_session_id,
        wrong.payment_intent_id,
    }
    assert brief(reconcile(service, right)) == ("applied", None)
    still_open = service.execute(
        "select id from public.list_payment_exceptions(p_event => %s)", [right.event_id]
    ).fetchall()
    assert still_open == []


def test_a_payment_that_comes_a_minute_after_its_claim_is_not_let_through(
    cluster: Cluster, shops: list[Shop], service: Connection
) -> None:
    payment = group_on(cluster, shops, service, 0).payment()
    claim = {
        "id": payment.checkout_session_id,
        "order_group_id": str(payment.order_group_id),
        "claimed_at": "2026-01-01T00:00:00Z",
    }
    with cluster.shards[0].act_as("service_role") as shard, pytest.raises(psycopg.errors.LockNotAvailable):
        shard.execute("select shards.reconcile_alone('{}', %s)", [json.dumps([claim])])


def test_with_a_shard_away_a_batch_is_deferred_and_alone_the_other_shards_payments_pay(
    cluster: Cluster, shops: list[Shop], service: Connection
) -> None:
    here, there = (all_on(cluster, group_on(cluster, shops, service, n).payment(), n) for n in (0, 1))

    with away(cluster.servers[1]):
        together = reconcile_together(service, [here, there])
        alone = reconcile(service, here)
        with pytest.raises(NO_ANSWER):
            reconcile(service, there)
        with pytest.raises(psycopg.Error):
            service.execute("select * from public.list_payment_exceptions()")

    assert [(each["outcome"], each["sqlstate"]) for each in together] == [("deferred", "55P03")] * 2
    assert brief(alone) in (("applied", None), ("replayed", None))
    assert brief(reconcile(service, there)) == ("applied", None)


# Money that goes back


@pytest.mark.parametrize(("home", "number"), [(0, 1), (1, 1)])
def test_a_refund_reaches_its_payment_before_and_after_it(
    cluster: Cluster, shops: list[Shop], service: Connection, home: int, number: int
) -> None:
    early, late = (
        group_on(cluster, shops, service, number).payment().but(payment_intent_id=id_on(cluster, home, "pi"))
        for _ in range(2)
    )
    before, after = Refund.of(early), Refund.of(late, 500)

    told = [
        record(service, before),
        reconcile(service, early),
        reconcile(service, late),
        record(service, after),
        record(service, after),
    ]

    assert [brief(each) for each in told] == [
        ("recorded", None),
        ("resolved", None),
        ("applied", None),
        ("recorded", None),
        ("replayed", None),
    ]
    rows = service.execute(
        "select status, refunded_amount::text from public.order_groups where id = any(%s) order by status desc",
        [[early.order_group_id, late.order_group_id]],
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [("pending", "0"), ("paid", "5.00")]
    listed = service.execute(
        "select id from public.list_refunds_and_disputes('2026-11-02', '2026-11-03') where id = any(%s)",
        [[before.id, after.id]],
    ).fetchall()
    assert sorted(row["id"] for row in listed) == sorted([str(before.id), str(after.id)])


# All shards together


def test_report_and_listing_are_the_sums_of_the_shards(
    cluster: Cluster, shops: list[Shop], service: Connection
) -> None:
    for number in (0, 1):
        assert brief(reconcile(service, group_on(cluster, shops, service, number).payment())) == ("applied", None)
        wrong = group_on(cluster, shops, service, number).payment().but(amount_minor=1, amount="0.01")
        assert brief(reconcile(service, wrong)) == ("rejected", "amount_mismatch")
    query = "select public.payment_report('2026-10-01', '2026-12-31')"

    report = scalar(service, query)

    parts = []
    for shard in cluster.shards:
        with shard.act_as("service_role") as alone:
            parts.append(scalar(alone, query))
    assert report.keys() == parts[0].keys()
    for name in ("money", "sellers"):
        for line, *lines in zip(report[name], *(part[name] for part in parts), strict=True):
            assert line.keys() == lines[0].keys()
            for field, told in line.items():
                each = [one[field] for one in lines]
                if field in ("gross", "refunded", "net"):
                    assert isinstance(told, str)
                    assert Decimal(told) == sum(map(Decimal, each)), field
                elif field == "orders":
                    assert told == sum(each)
                else:
                    assert [told] * 2 == each, field
    (stock,), *stocks = report["stock"], *(part["stock"] for part in parts)
    for field in ("committed", "items", "returned", "on_hand"):
        assert stock[field] == sum(each[field] for (each,) in stocks), field
    assert sorted(line["id"] for line in report["exceptions"]) == sorted(
        line["id"] for part in parts for line in part["exceptions"]
    )
    assert [(check["name"], check["ok"], check["faults"]) for check in report["checks"]] == [
        (check["name"], True, 0) for check in parts[0]["checks"]
    ]
    listed = service.execute("select id from public.list_payment_exceptions(p_limit => 3)").fetchall()
    whole = service.execute("select id, first_seen_at from public.list_payment_exceptions()").fetchall()
    assert [row["id"] for row in listed] == [row["id"] for row in whole][:3]
    assert whole == sorted(whole, key=lambda row: (row["first_seen_at"], row["id"]))


# What is spoiled on a shard -> which invariant notices.
SPOILED = {
    "delete from shards.claims where order_group_id = %(group)s": {"payment_has_its_claim"},
    "update shards.claims set order_group_id = gen_random_uuid() where order_group_id = %(group)s": {
        "payment_has_its_claim"
    },
    "insert into payments.stripe_events select * from jsonb_populate_record(null::payments.stripe_events, %(event)s)": {
        "applied_event_has_paid_its_group",
        "payment_belongs_to_one_order_group_of_all_shards",
        "payment_has_its_claim",
    },
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_the_invariants_across_shards_notice_what_is_spoiled(
    cluster: Cluster, shops: list[Shop], service: Connection, owner: Connection, spoil: str
) -> None:
    payment = all_on(cluster, group_on(cluster, shops, service, 0).payment(), 1)
    other = group_on(cluster, shops, service, 1)
    reconcile(service, payment)
    with cluster.shards[0].connect() as superuser:
        event = scalar(superuser, "select to_jsonb(e) from payments.stripe_events as e where id = %s", payment.event_id)
    values = {"group": payment.order_group_id, "event": json.dumps(event | {"order_group_id": str(other.id)})}
    with cluster.shards[1].connect() as superuser:
        kept = superuser.execute(
            "select * from shards.claims where order_group_id = %s", [payment.order_group_id]
        ).fetchall()
        superuser.execute(spoil.encode(), values)
        try:
            found = owner.execute("select invariant from shards.broken_invariants()").fetchall()
        finally:
            superuser.execute("set session_replication_role = replica")
            superuser.execute("alter table payments.stripe_events disable trigger all")
            superuser.execute("delete from payments.stripe_events where order_group_id = %s", [other.id])
            superuser.execute("alter table payments.stripe_events enable trigger all")
            superuser.execute("delete from shards.claims where id = any(%s)", [[row["id"] for row in kept]])
            superuser.execute(
                "insert into shards.claims select * from jsonb_populate_recordset(null::shards.claims, %s)",
                [json.dumps(kept, default=str)],
            )

    assert SPOILED[spoil] <= {row["invariant"] for row in found}

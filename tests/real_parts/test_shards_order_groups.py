"""What the shop asks of an order group reaches it on its shard; what it asks of all of them is told of all."""

from __future__ import annotations

import json
from typing import LiteralString

import pytest

from testkit.database import Connection, past_every_guard, scalar
from testkit.payments import reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shards import Cluster, brief, group_on, id_on, rows_of_shards
from testkit.shop import Shop

pytestmark = pytest.mark.usefixtures("sound")


@pytest.mark.parametrize("number", [0, 1])
def test_what_begins_with_an_order_group_goes_to_its_shard(
    cluster: Cluster, shops: list[Shop], routed: Connection, number: int
) -> None:
    paid, waiting, ended = (group_on(cluster, shops, routed, number) for _ in range(3))
    elsewhere = {kind: id_on(cluster, 1 - number, kind) for kind in ("cs_test", "evt", "re")}
    assert brief(reconcile(routed, paid.payment())) == ("applied", None)
    (items,) = (
        rows
        for rows in rows_of_shards(cluster, "select id from public.order_items where order_group_id = %s", paid.id)
        if rows
    )
    line = {"order_item_id": str(items[0]["id"]), "quantity": 1}

    told = [
        scalar(routed, "select public.claim_order_group(%s, %s)", waiting.id, shops[0].buyer_id),
        scalar(
            routed,
            "select public.note_awaiting_funds(%s, %s, %s, now())",
            waiting.id,
            elsewhere["cs_test"],
            elsewhere["evt"],
        ),
        scalar(routed, "select public.cancel_order_group(%s, %s)", ended.id, elsewhere["cs_test"]),
        scalar(
            routed,
            "select public.return_order_items(%s, %s, 'came back', %s)",
            paid.id,
            json.dumps([line]),
            elsewhere["re"],
        ),
        scalar(routed, "select public.explain_order_group(%s)", paid.id),
    ]

    assert [each.get("outcome") for each in told] == ["already_claimed", "noted", "cancelled", "returned", None]
    assert told[-1]["order_group"]["id"] == str(paid.id)


def test_what_is_asked_of_all_shards_is_told_of_all(cluster: Cluster, shops: list[Shop], routed: Connection) -> None:
    groups = [group_on(cluster, shops, routed, number) for number in (0, 1, 1)]
    payments = [group.payment() for group in groups]
    for payment in payments[:2]:
        assert brief(reconcile(routed, payment)) == ("applied", None)
    wrong = payments[2].but(amount_minor=1, amount="0.01")
    assert brief(reconcile(routed, wrong)) == ("rejected", "amount_mismatch")
    refund, dispute = Refund.of(payments[1], 100), Dispute.of(payments[0])
    assert [record(routed, each)["outcome"] for each in (refund, dispute)] == ["recorded"] * 2

    found = [
        scalar(routed, "select public.find_order_groups(%s)", key)
        for key in (str(groups[0].id), str(groups[1].id), wrong.event_id, refund.id, dispute.id, "evt_of_nobody")
    ]
    modes = [scalar(routed, MODES), *(of_shard(cluster, number, MODES) for number in (0, 1))]

    assert [found_groups["order_groups"] for found_groups in found] == [
        [str(groups[0].id)],
        [str(groups[1].id)],
        [str(groups[2].id)],
        [str(groups[1].id)],
        [str(groups[0].id)],
        [],
    ]
    assert [len(each["exceptions"]) for each in found] == [0, 0, 1, 0, 1, 0]
    assert [[row["refund_id"] for row in each["refunds"]] for each in found] == [[], [], [], [refund.id], [], []]
    assert [[row["dispute_id"] for row in each["disputes"]] for each in found] == [[], [], [], [], [dispute.id], []]
    for mode in ("live", "test"):
        whole, *parts = (each[mode] for each in modes)
        assert whole["payments"] == sum(part["payments"] for part in parts)
        assert whole["last_at"] == max((part["last_at"] for part in parts if part["last_at"]), default=None)


MODES: LiteralString = "select public.payments_by_mode()"


def of_shard(cluster: Cluster, number: int, query: LiteralString) -> dict[str, dict[str, object]]:
    """What one shard says for itself."""
    with cluster.shards[number].act_as("service_role") as alone:
        told: dict[str, dict[str, object]] = scalar(alone, query)
    return told


def test_order_groups_expire_on_each_shard(cluster: Cluster, shops: list[Shop], routed: Connection) -> None:
    groups = [group_on(cluster, shops, routed, number) for number in (0, 1, 1)]
    ids = [group.id for group in groups]
    for shard in cluster.shards:
        with shard.connect() as superuser, past_every_guard(superuser):
            superuser.execute(
                "update public.order_groups set expires_at = now() - interval '1 minute' where id = any(%s)", [ids]
            )

    told = [scalar(routed, "select public.expire_order_groups(%s)", most) for most in (1, 1, 1)]

    # The limit is of each shard.
    assert told == [{"expired": 2, "left": 1}, {"expired": 1, "left": 0}, {"expired": 0, "left": 0}]
    rows = routed.execute("select status from public.order_groups where id = any(%s)", [ids]).fetchall()
    assert [row["status"] for row in rows] == ["cancelled"] * 3

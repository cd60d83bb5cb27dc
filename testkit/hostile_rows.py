"""Rows that no payment could bring, and the database's owner may write: whatever a row holds, the operators see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from testkit.payments import reconcile
from testkit.project import Project

CONTROL = "a\x1b[31m\x07\r\n\x9b\u202ez"
LONG = 3000


def received(amount: object, currency: object = "USD") -> dict[str, Any]:
    return {"received": {"amount": amount, "currency": currency}, "expected": {"total_amount": amount}}


def nested(levels: int) -> str:
    return '{"received": ' * levels + "1" + "}" * levels


# What an exception holds beside what it must.
EXCEPTIONS: dict[str, dict[str, Any]] = {
    "no number": {"details": received("NaN")},
    "no end": {"details": received("-Infinity")},
    "a huge exponent": {"details": received("1e999999")},
    "a number of 5,000 digits": {"details": '{"received": {"amount": 1e5000, "currency": "USD"}}'},
    "a boolean": {"details": received(True, False)},
    "lists": {"details": received([1], ["USD"])},
    "a currency of 100 kB": {"details": received("1.00", "X" * 100_000)},
    "a currency of control characters": {"details": received("1.00", CONTROL)},
    "escapes of lone surrogates": {"details": received("\\ud800", "\\udfff")},
    "nulls": {"details": {"received": None, "expected": None, "earlier": None, "reopened": None}},
    "null": {"details": "null"},
    "a word": {"details": '"word"'},
    "a list": {"details": "[null, 1]"},
    "many levels": {"details": nested(300)},
    "no beginning": {"first_seen_at": "-infinity", "last_seen_at": "-infinity"},
    "never": {"first_seen_at": "infinity", "last_seen_at": "infinity"},
    "before Christ": {"first_seen_at": "4713-01-01 00:00:00+00 BC", "last_seen_at": "294276-12-31 23:59:59+00"},
    "long ids": {"checkout_session_id": "c" * LONG, "payment_intent_id": "p" * LONG},
    "ids of control characters": {"checkout_session_id": CONTROL, "payment_intent_id": CONTROL},
    "closed by nobody, never": {
        "status": "resolved",
        "resolution": "dismissed",
        "resolved_by": CONTROL,
        "resolved_at": "infinity",
        "note": CONTROL * 100,
    },
    "all attempts": {"attempts": 2**31 - 1},
}
# What the event that paid a group holds.
EVENTS: dict[str, dict[str, Any]] = {
    "amount that is no number": {"amount": "NaN"},
    "amount without end": {"amount": "Infinity"},
    "amount of 1,000 digits": {"amount": "1e999"},
    "currency of 100 kB": {"currency": "X" * 100_000},
    "long type": {"type": "t" * LONG},
    "control characters": {"type": CONTROL, "account": CONTROL, "currency": CONTROL, "source": "replay"},
    "made never": {"created_at": "infinity", "received_at": "-infinity"},
    "processed never": {"processed_at": "infinity"},
    "processed before Christ": {"processed_at": "4713-01-01 00:00:00+00 BC"},
    "metadata that is a word": {"session_metadata": '"word"'},
}


@dataclass(frozen=True, slots=True)
class Rows:
    """The hostile rows: by name the exception's number, and the group that the exception or event belongs to."""

    project: Project
    numbers: dict[str, int]
    groups: dict[str, UUID]


@contextmanager
def hostile_rows(project: Project) -> Iterator[Rows]:
    """A project in which they are; they are gone after the block."""
    project.a_year_passes()
    told = Rows(project, {}, {})
    for name, columns in EXCEPTIONS.items():
        group = project.shop.order_group().id
        values = {"stripe_event_id": f"evt_{uuid4().hex}", "order_group_id": group, "reason": "amount_mismatch"}
        values |= {key: json.dumps(one) if isinstance(one, dict) else one for key, one in columns.items()}
        (row,) = project.query(
            f"insert into payments.exceptions ({', '.join(values)}) values ({', '.join(['%s'] * len(values))})"
            " returning id",
            *values.values(),
        )
        told.numbers[name], told.groups[name] = row["id"], group
    for name, columns in EVENTS.items():
        paid = project.shop.order_group()
        payment = paid.payment()
        assert reconcile(project.shop.service, payment)["outcome"] == "applied"
        told.groups[name] = paid.id
        with project.past_every_guard():
            project.superuser.execute(
                f"update payments.stripe_events set {', '.join(f'{key} = %s' for key in columns)}"
                " where id = %s".encode(),
                [*columns.values(), payment.event_id],
            )
    try:
        yield told
    finally:
        with project.past_every_guard():
            groups = list(told.groups.values())
            project.superuser.execute("delete from payments.exceptions where order_group_id = any(%s)", [groups])
            project.superuser.execute("delete from payments.stripe_events where order_group_id = any(%s)", [groups])
            project.superuser.execute(
                "delete from public.inventory_ledger where order_item_id in"
                " (select id from public.order_items where order_group_id = any(%s))",
                [groups],
            )
            for table in ("order_status_changes", "order_items", "orders"):
                project.superuser.execute(
                    f"delete from public.{table} where order_group_id = any(%s)".encode(), [groups]
                )
            project.superuser.execute("delete from public.order_groups where id = any(%s)", [groups])

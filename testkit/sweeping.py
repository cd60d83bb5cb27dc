"""What the sweep's tests share: a run of it, and what had been delivered before."""

import json
from datetime import datetime, timedelta
from typing import Any

from relay.core import checkout
from relay.core.event import Event
from relay.data_api import parameters as sent
from testkit.command_line import Ended
from testkit.database import Row
from testkit.project import Project
from testkit.shop import OrderGroup
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import Json

# What is told of refunds, and of disputes, where there are none.
NO_REVERSALS: dict[str, Any] = {"known": 0, "recorded": 0, "ignored": 0, "rejected": [], "failed": [], "here_only": []}
LISTS = ("rejected", "unmatched", "failed", "paid_here_only")  # the contract's words, so not the relay's own


def settings(stripe: StripeServer) -> dict[str, str]:
    return {"STRIPE_API_BASE": stripe.url, "STRIPE_SECRET_KEY": stripe.key}


async def sweep(
    project: Project, stripe: StripeServer, *arguments: str, **environment: str
) -> tuple[Ended, dict[str, Any]]:
    """The command's end, and what its JSON tells of the comparison."""
    command = ("sweep", "--json", *([] if "--since" in arguments else ["--since", "72h"]), *arguments)
    ended = await project.relay(*command, **(settings(stripe) | environment))
    told: dict[str, Any] = json.loads(ended.output) if ended.output else {}
    if told:  # what every run tells of itself
        since, until, finished = (datetime.fromisoformat(told.pop(name)) for name in ("since", "until", "finished_at"))
        assert since < until <= finished + timedelta(seconds=1)
        assert told.pop("dry_run") is ("--dry-run" in arguments)
    return ended, told


def delivered(project: Project, event: Json) -> Row:
    """The database's verdict, had the webhook delivered this event."""
    decision = checkout.judge(Event(event["id"], event["type"], event), checkout.Rules(livemode=False))
    problem = None
    if isinstance(decision, checkout.Unmatched):
        problem, decision = decision.reason, decision.payment
    assert isinstance(decision, checkout.Payment)
    parameters = sent.parameters(decision, problem, "webhook")
    names = ", ".join(f"{name} => %({name})s" for name in parameters)
    values = {**parameters, "p_session_metadata": json.dumps(parameters["p_session_metadata"])}
    row = project.shop.service.execute(
        f"select public.reconcile_order_group_payment({names}) as verdict".encode(), values
    ).fetchone()
    assert row is not None
    verdict: Row = row["verdict"]
    return verdict


def found(told: dict[str, Any], name: str) -> set[tuple[str, str | None, str]]:
    """A list of the report as a set; each entry has exactly the contract's three keys."""
    assert all(one.keys() == {"checkout_session_id", "order_group_id", "reason"} for one in told[name])
    entries = {(one["checkout_session_id"], one["order_group_id"], one["reason"]) for one in told[name]}
    assert len(entries) == len(told[name])
    return entries


def paying_event(project: Project, group: OrderGroup) -> Row:
    (row,) = project.query(
        "select * from payments.stripe_events where order_group_id = %s and outcome = 'applied'", group.id
    )
    return row


def exceptions_of(project: Project, session: Json) -> list[Row]:
    return project.query("select * from payments.exceptions where checkout_session_id = %s order by id", session["id"])

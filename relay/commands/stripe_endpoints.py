"""Compares Stripe's endpoints with what the relay needs of them, for `endpoint check` and `check --stripe`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from relay.commands.stripe_api import API_VERSION, StripeApi, StripeUnavailable
from relay.config import Settings, StripeAccess
from relay.server import lifecycle, webhook
from relay.server.readiness import Check

Json = Mapping[str, Any]
_ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the relay that an endpoint of Stripe's must call."""

    name: str
    """What the names of its checks begin with."""
    path: str
    types: tuple[str, ...]
    """The event types without which something would be missed. The route may take more."""
    setting: str
    """The variable that holds the endpoint's secret."""

    def is_at(self, url: str) -> bool:
        """Whether an endpoint's URL ends with this route; a proxy may have it below another path."""
        return urlsplit(url).path.rstrip("/").endswith(self.path)


# Written out, because a type that the relay takes is not at once one that an endpoint needs: each endpoint that exists
# would fail the check on the day of the upgrade. CONTRIBUTING.md, "What a release may change", says when it follows.
PAYMENTS: Final = Route(
    "endpoint",
    webhook.PATH,
    ("checkout.session.async_payment_succeeded", "checkout.session.completed"),
    "STRIPE_WEBHOOK_SECRET",
)
# A failed bank debit cancels its pending group, which would wait for ever. `checkout.session.expired` is left to the
# shop: it is wrong where a group may have several sessions (docs/operations.md).
LIFECYCLE: Final = Route(
    "lifecycle_endpoint",
    lifecycle.PATH,
    (
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "checkout.session.async_payment_failed",
        "refund.created",
        "refund.failed",
        "refund.updated",
    ),
    "STRIPE_LIFECYCLE_WEBHOOK_SECRET",
)
ROUTES: Final = (PAYMENTS, LIFECYCLE)


def calls(address: str, url: str) -> bool:
    """Whether an endpoint with this address calls the URL. To the relay a slash at the end makes no difference."""
    return address.rstrip("/") == url


async def checks(
    access: Settings | StripeAccess, *, url: str | None = None, has_lifecycle: bool | None = None
) -> list[Check]:
    """The checks of the endpoints. With a `url`, those of its route at exactly this address; else those of both routes,
    wherever the endpoints point to. `has_lifecycle` tells whether the second route is on; None: nobody knows.
    """
    try:
        async with StripeApi.connect(access) as stripe:
            found, thin = await stripe.endpoints(), await stripe.thin_endpoints()
    except StripeUnavailable as error:
        return [Check("stripe", False, str(error))]
    routes = [route for route in ROUTES if url is None or route.is_at(url)]
    if url is None and not has_lifecycle and not any(LIFECYCLE.is_at(one["url"]) for one in found):
        routes = [PAYMENTS]
    return [check for route in routes for check in judge(route, found, thin, url=url, is_needed=has_lifecycle)]


def judge(
    route: Route, endpoints: Sequence[Json], thin: Sequence[Json] | None, *, url: str | None, is_needed: bool | None
) -> list[Check]:
    """The checks of one route. `thin` are the destinations with thin payloads; None where Stripe does not tell."""

    def is_meant(address: object) -> bool:
        return isinstance(address, str) and (route.is_at(address) if url is None else calls(address, url))

    ours = [one for one in endpoints if is_meant(one.get("url"))]
    wrong = [one for one in thin or () if is_meant((one.get("webhook_endpoint") or {}).get("url"))]
    payloads = _payloads(route, wrong, is_known=thin is not None)
    if not ours:
        where = url or f"a URL that ends with {route.path}"
        told = Check(route.name, False, f"Stripe has no endpoint for {where}: relay endpoint create URL makes one")
        return [told, payloads] if wrong else [told]
    return [check for one in ours for check in _judge_one(route, one, count=len(ours), is_on=is_needed)] + [payloads]


def _judge_one(route: Route, one: Json, *, count: int, is_on: bool | None) -> list[Check]:
    id_, enabled = one.get("id"), frozenset(map(str, one.get("enabled_events") or ()))
    missing = [] if _ALL in enabled else [kind for kind in route.types if kind not in enabled]
    where = f"{id_}, {one.get('url')}"
    is_off = route is LIFECYCLE and is_on is False
    if is_off:
        where = f"{where}; the relay's route is off: {route.setting} is not set"
    if count > 1:
        where = f"{where}; {count} endpoints call this route, so each event comes {count} times"
    status = one.get("status")
    version = str(one.get("api_version") or "the account's own")
    return [
        Check(route.name, not is_off, where, is_doubtful=count > 1),
        Check(
            f"{route.name}_status",
            status == "enabled",
            "enabled" if status == "enabled" else f"{status}: enable {id_} in Stripe's dashboard, then sweep",
        ),
        _events(route, missing, sends_all=_ALL in enabled),
        _version(route, version),
    ]


def _events(route: Route, missing: Sequence[str], *, sends_all: bool) -> Check:
    name = f"{route.name}_events"
    if missing:
        return Check(name, False, f"does not send {', '.join(missing)}: add them to the endpoint")
    if sends_all:
        return Check(name, True, "sends every event of the account, and most are ignored", is_doubtful=True)
    return Check(name, True, f"sends {', '.join(route.types)}")


def _version(route: Route, version: str) -> Check:
    """Always ok: the relay reads what it needs in each version that Stripe still sends."""
    name = f"{route.name}_api_version"
    if version == API_VERSION:
        return Check(name, True, version)
    return Check(name, True, f"{version}; the relay is tested with {API_VERSION}", is_doubtful=True)


def _payloads(route: Route, thin: Sequence[Json], *, is_known: bool) -> Check:
    name = f"{route.name}_payloads"
    if thin:
        named = ", ".join(str(one.get("id")) for one in thin)
        return Check(name, False, f"{named} sends thin payloads: make the endpoint anew with snapshot payloads")
    if not is_known:
        told = "snapshot; whether a thin destination calls this route too, the key may not ask"
        return Check(name, True, told, is_doubtful=True)
    return Check(name, True, "snapshot")

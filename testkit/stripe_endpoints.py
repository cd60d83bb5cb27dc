"""Stripe's webhook endpoints, as its API makes, lists and refuses them, and the destinations of its second API.

https://docs.stripe.com/api/webhook_endpoints and https://docs.stripe.com/api/v2/core/event-destinations
"""

import secrets
import time
from urllib.parse import parse_qsl, urlsplit

from testkit.stripe_events import Json

# https://docs.stripe.com/webhooks: an account has at most so many.
MOST = 16


class EndpointRefused(Exception):
    """Stripe does not take the parameters."""

    def __init__(self, message: str, **details: str) -> None:
        super().__init__(message)
        self.details = details


def endpoint(url: str, events: list[str], **changes: object) -> Json:
    """An endpoint as it is listed: without its secret."""
    return {
        "id": f"we_{secrets.token_hex(12)}",
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": int(time.time()),
        "description": None,
        "enabled_events": events,
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
        **changes,
    }


def created(body: str, there: int) -> Json:
    """What the account has of it from now on. Raises EndpointRefused."""
    given: dict[str, str] = {}
    events: list[str] = []
    for name, value in parse_qsl(body, keep_blank_values=True):
        if name.startswith("enabled_events["):
            events.append(value)
        else:
            given[name] = value
    if unknown := given.keys() - {"url", "api_version", "description", "connect"}:
        raise EndpointRefused(f"Received unknown parameter: {min(unknown)}", param=min(unknown))
    if urlsplit(given.get("url", "")).scheme != "https":
        raise EndpointRefused("Invalid URL: URL must be publicly accessible, and begin with https", param="url")
    if not events:
        raise EndpointRefused("Missing required param: enabled_events.", param="enabled_events")
    if there >= MOST:
        raise EndpointRefused(f"You have reached the maximum of {MOST} test webhook endpoints.")
    return endpoint(given["url"], events, api_version=given.get("api_version"))


def destination(url: str, payload: str, events: list[str], **changes: object) -> Json:
    """A destination of the second API; Stripe tells its URL only where that is asked for."""
    return {
        "id": f"ed_test_{secrets.token_hex(12)}",
        "object": "v2.core.event_destination",
        "created": "2026-11-23T12:00:00.000Z",
        "description": "",
        "enabled_events": events,
        "event_payload": payload,
        "events_from": ["self"],
        "livemode": False,
        "metadata": {},
        "name": "relay",
        "snapshot_api_version": None,
        "status": "enabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": "2026-11-23T12:00:00.000Z",
        "webhook_endpoint": {"signing_secret": None, "url": url},
        **changes,
    }


def listed(destinations: list[Json], query: dict[str, list[str]]) -> Json:
    """A page of them. https://docs.stripe.com/api-v2-overview#list-pagination"""
    if "webhook_endpoint.url" not in query.get("include[]", []):
        destinations = [
            {**one, "webhook_endpoint": {**one["webhook_endpoint"], "url": None}} if one["webhook_endpoint"] else one
            for one in destinations
        ]
    size = int(query.get("limit", ["20"])[0])
    start = int(query.get("page", ["0"])[0])
    following = start + size
    more = f"/v2/core/event_destinations?include[0]=webhook_endpoint.url&limit={size}&page={following}"
    return {
        "data": destinations[start:following],
        "next_page_url": more if following < len(destinations) else None,
        "previous_page_url": None,
    }

"""`relay endpoint`: makes the endpoint at Stripe that calls the relay, and compares it with what the relay needs."""

import argparse
import asyncio
import os
import sys
from typing import Any, Final
from urllib.parse import urlsplit

import stripe

from relay.commands import check_lines, console, env_file, output, stripe_endpoints, terminal
from relay.commands.command_line import Layout
from relay.commands.endings import NO, OK, CommandError
from relay.commands.stripe_api import StripeApi, StripeUnavailable
from relay.commands.stripe_endpoints import LIFECYCLE, PAYMENTS, Route
from relay.config import StripeAccess

NAME: Final = "endpoint"
HELP: Final = "make Stripe's endpoint for this relay, or compare it with what the relay needs"
EPILOG: Final = """\
examples:
  relay endpoint create https://relay.example.com
  relay endpoint create https://relay.example.com --lifecycle
  relay endpoint check
  relay endpoint check https://relay.example.com --json

Needs STRIPE_SECRET_KEY alone; a restricted key needs to write Webhook Endpoints for `create`, and to read them for
`check`. Stripe tells an endpoint's secret once, when it is made: `create` prints it, and nothing keeps it.
exit status: 0 made, or as it must be; 1 not as it must be, or there already; 2 could not run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's actions and options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    def action(name: str, what: str, example: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name, help=what, description=what, epilog=f"example: relay endpoint {example}", formatter_class=Layout
        )

    what = "make the endpoint, with snapshot payloads and the events that the relay needs, and print its secret"
    create = action("create", what, "create https://relay.example.com")
    create.add_argument("url", metavar="URL", type=_url, help="where the relay is reached; its route is added")
    create.add_argument("--lifecycle", action="store_true", help="the second endpoint: refunds and disputes")
    check = action("check", "compare URL, status, events, API version and payloads", "check")
    check.add_argument(
        "url", metavar="URL", type=_url, nargs="?", help="default: any endpoint that calls a relay's route"
    )
    check.add_argument("--lifecycle", action="store_true", help="with URL: the second endpoint")
    for parsed in (create, check):
        parsed.add_argument("--json", action="store_true", help="print JSON")
        env_file.add_argument(parsed)


def _url(text: str) -> str:
    """Read the relay's address, without a slash at its end. Raises argparse.ArgumentTypeError."""
    try:
        url = urlsplit(text.strip())
    except ValueError:
        raise argparse.ArgumentTypeError("must be a URL") from None
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or url.username:
        raise argparse.ArgumentTypeError("must be the relay's address, such as https://relay.example.com")
    return text.strip().rstrip("/")


def run(arguments: argparse.Namespace) -> int:
    """Make or check the endpoint. Raises SettingsError or CommandError."""
    access = StripeAccess.of_process()
    route = LIFECYCLE if arguments.lifecycle else PAYMENTS
    if arguments.lifecycle and not arguments.url:
        raise CommandError("--lifecycle goes with a URL: without one, both routes are looked at")
    url = _complete(arguments.url, route) if arguments.url else None
    if arguments.action == "check":
        return check_lines.show(asyncio.run(stripe_endpoints.checks(access, url=url)), as_json=arguments.json)
    assert url  # noqa: S101  the parser needs it
    try:
        made = asyncio.run(_create(access, url, route))
    except StripeUnavailable as error:
        raise CommandError(str(error)) from None
    try:
        if arguments.json:
            names = ("id", "url", "enabled_events", "api_version", "livemode", "secret")
            console.write_json({"setting": route.setting, **{name: made.get(name) for name in names}})
        else:
            output.show(_tell(made, route))
        sys.stdout.flush()
    except OSError:
        output.complain(f"{made.get('id')} is made, and nobody has its secret: delete it in Stripe's dashboard")
        raise
    return OK


def _complete(url: str, route: Route) -> str:
    """The endpoint's URL: the relay's address with the route, where it does not end with it already."""
    if any(other.is_at(url) for other in stripe_endpoints.ROUTES if other is not route):
        raise CommandError(f"{url} is the other route: {route.path} is meant")
    return url if route.is_at(url) else url + route.path


async def _create(access: StripeAccess, url: str, route: Route) -> dict[str, Any]:
    """Make the endpoint, unless there is one at this URL. Raises StripeUnavailable or CommandError."""
    if os.environ.get("STRIPE_LOG") == "debug":
        stripe.log = "info"  # the SDK's debug log writes whole answers to stderr, and this one holds the secret
    async with StripeApi.connect(access) as api:
        there = [one["id"] for one in await api.endpoints() if stripe_endpoints.calls(one["url"], url)]
        if there:
            raise CommandError(f"there is {there[0]} for {url} already: `relay endpoint check` compares it", NO)
        return await api.create_endpoint(url, route.types)


def _tell(made: dict[str, Any], route: Route) -> str:
    mode = "live" if made.get("livemode") else "test"
    facts = [
        ("endpoint", f"{made.get('id')}, {mode} mode"),
        ("url", made.get("url")),
        ("events", ", ".join(made.get("enabled_events") or ())),
        ("API version", made.get("api_version")),
    ]
    return (
        terminal.facts(facts)
        + "\nIts secret, which Stripe tells this once. Put it into the relay's settings, and restart the relay:\n\n"
        + f"{route.setting}={terminal.clean(made.get('secret'))}\n"
    )

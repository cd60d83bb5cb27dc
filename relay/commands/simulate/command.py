"""`relay simulate`: signs scenarios, sends them to a running relay, and compares its answers with the expected ones."""

import argparse
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp

from relay.commands import answers, console, exception_rows, output, terminal
from relay.commands.endings import NO, OK, CommandError
from relay.commands.simulate.scenarios import SCENARIOS, Context, Needs, Reply, Scenario, Step, Target
from relay.commands.simulate.shop import SimulatedShop, read_target
from relay.config import Settings
from relay.core.errors import Declined
from relay.core.outcomes import Reason
from relay.data_api.records import Clients, Records
from relay.server.lifecycle import PATH as LIFECYCLE_PATH
from relay.server.webhook import PATH

NAME: Final = "simulate"
HELP: Final = "sign and send scenarios to a running relay, and compare its answers with the contract's"
EPILOG: Final = """\
examples:
  relay simulate --list
  relay simulate --create                                   # every scenario, each on an order group made for it
  relay simulate --group 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10 --scenario debit
  relay simulate --create --url https://relay.example.com/api/stripe/webhook --json

Stripe is not called: the events are signed with STRIPE_WEBHOOK_SECRET, which must be the running relay's. Refunds,
disputes and unpaid checkouts go to the lifecycle route beside the webhook's, signed with
STRIPE_LIFECYCLE_WEBHOOK_SECRET; where that is not set, they are skipped. An order group that is paid this way is marked
paid without money, so a live key is refused. --create makes order groups, and at first two sellers and their products,
named "Simulation (relay simulate)", which later runs sell again. All of them stay, and so do the exceptions of what is
rejected, unless --tidy dismisses them.
exit status: 0 all as expected, 1 a difference, 2 could not run
"""
# Longer than the relay may take for its answer.
ANSWER_SECONDS: Final = 15.0


@dataclass(slots=True)
class ScenarioResult:
    """A scenario and its result. `skipped` says why it was not run."""

    scenario: Scenario
    skipped: str | None = None
    target: Target | None = None
    answers: list[tuple[Step, Reply]] = field(default_factory=list)
    status_after: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every answer, and the group's status afterwards, are the expected ones."""
        as_expected = all(step.expected == answer for step, answer in self.answers)
        return as_expected and self.status_after == self.scenario.needs.after

    def as_dict(self) -> dict[str, Any]:
        """The result as --json prints it."""
        return {
            "name": self.scenario.name,
            "passed": None if self.skipped else self.passed,
            "skipped": self.skipped,
            "order_group_id": self.target.id if self.target else None,
            "steps": [
                {
                    "what": step.what,
                    "event_id": step.event_id,
                    "expected": _as_dict(step.expected),
                    "actual": _as_dict(answer),
                    "passed": step.expected == answer,
                }
                for step, answer in self.answers
            ],
            "order_group_status": {"expected": self.scenario.needs.after, "actual": self.status_after},
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--group", type=console.order_group_id, metavar="UUID", help="use this order group")
    where.add_argument("--create", action="store_true", help="make an order group for each scenario that needs one")
    where.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument(
        "--scenario", action="append", choices=SCENARIOS, metavar="NAME", help="only this one; may be repeated"
    )
    parser.add_argument("--url", help="the running relay's webhook; default: on this machine, at RELAY_PORT")
    parser.add_argument("--tidy", action="store_true", help="dismiss the exceptions that the simulation leaves")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the scenarios and print the results. Raises SettingsError, CommandError or NoVerdict."""
    if arguments.list:
        return _list(arguments.json)

    async def work(settings: Settings, clients: Clients) -> int:
        if settings.livemode:
            raise CommandError("STRIPE_SECRET_KEY is a live key: a simulation would mark orders paid without money")
        arguments.url = arguments.url or f"http://127.0.0.1:{settings.port}{PATH}"
        try:
            if arguments.group:  # before anything is sent
                await read_target(clients.records, arguments.group)
            results = await _run_all(arguments, settings, clients.records)
        except Declined as error:
            raise CommandError(str(error)) from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise CommandError(
                f"no answer from {_address(arguments.url)} ({type(error).__name__}): does the relay run there? "
                "--url names its webhook's address"
            ) from None
        if arguments.tidy:
            await _tidy(results, clients.records)
        return _report(results, arguments)

    return console.run(work)


def _list(as_json: bool) -> int:
    if as_json:
        console.write_json([{"name": one.name, "summary": one.summary} for one in SCENARIOS.values()])
    else:
        output.show(terminal.facts([(one.name, one.summary) for one in SCENARIOS.values()]))
    return OK


async def _run_all(arguments: argparse.Namespace, settings: Settings, records: Records) -> list[ScenarioResult]:
    shop = SimulatedShop(records)
    results = []
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        for name, scenario in SCENARIOS.items():
            if arguments.scenario and name not in arguments.scenario:
                continue
            one = ScenarioResult(scenario)
            results.append(one)
            secrets = tuple(secret.reveal() for secret in settings.stripe_webhook_secrets)
            lifecycle_secrets = tuple(secret.reveal() for secret in settings.stripe_lifecycle_webhook_secrets)
            if len(secrets) < scenario.secrets:
                one.skipped = "STRIPE_WEBHOOK_SECRET holds one secret only"
            elif scenario.is_lifecycle and not lifecycle_secrets:
                one.skipped = "STRIPE_LIFECYCLE_WEBHOOK_SECRET is not set"
            elif scenario.needs is not Needs.NO_GROUP:
                if arguments.create:
                    one.target = await shop.group(scenario)
                elif arguments.group:
                    one.target = await read_target(records, arguments.group)
                one.skipped = _why_not(scenario, one.target)
            if one.skipped:
                continue
            context = Context(secrets, lifecycle_secrets, settings.webhook_tolerance, int(time.time()), one.target)
            for step in scenario.steps(context):
                one.answers.append((step, await _deliver(http, _url_of(step, arguments.url), step)))
            if one.target:
                one.status_after = (await read_target(records, one.target.id)).status
    return results


def _why_not(scenario: Scenario, target: Target | None) -> str | None:
    """Why the scenario cannot be run with this group; None where it can."""
    if target is None:
        return "needs an order group: --group UUID or --create"
    if scenario.currency not in (None, target.currency):
        return f"needs a group in {scenario.currency}, this one is in {target.currency}"
    if target.status not in scenario.needs.before:
        return f"needs a group that is {' or '.join(sorted(scenario.needs.before))}, this one is {target.status}"
    return None


def _url_of(step: Step, webhook_url: str) -> str:
    """Where a delivery goes: the lifecycle route stands beside the webhook's, also where a proxy has both below another
    path.
    """
    return urljoin(webhook_url.rstrip("/"), LIFECYCLE_PATH.rpartition("/")[2]) if step.is_lifecycle else webhook_url


def _address(url: str) -> str:
    """The URL as it may be printed: without the user and password that a proxy before a staging relay asks for."""
    return re.sub("//[^/?#]*@", "//", url, count=1)


async def _deliver(http: aiohttp.ClientSession, url: str, step: Step) -> Reply:
    """Send a delivery as Stripe would. Raises aiohttp.ClientError or TimeoutError where no answer comes."""
    headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": step.signature}
    async with http.post(url, data=step.body, headers=headers, allow_redirects=False) as response:
        content = await response.read()
        try:
            answer = json.loads(content)
            return Reply(response.status, str(answer["outcome"]), answer["reason"])
        except (ValueError, TypeError, KeyError):
            return Reply(response.status, "not an answer of a relay")


async def _tidy(results: list[ScenarioResult], records: Records) -> None:
    """Dismiss the exceptions that the simulation left open. Raises NoVerdict or Declined."""
    sent = {step.event_id for one in results for step, _ in one.answers}
    for row in await exception_rows.fetch(records, status="open"):
        if row["stripe_event_id"] in sent:
            parameters = {
                "p_exception_id": row["id"],
                "p_resolution": "dismissed",
                "p_resolved_by": "relay simulate",
                "p_note": "simulated, no money was involved",
            }
            answer = await records.call("resolve_payment_exception", parameters)
            answers.read(exception_rows.ExceptionRow, answer, of="resolve_payment_exception")


def _report(results: list[ScenarioResult], arguments: argparse.Namespace) -> int:
    done = [one for one in results if not one.skipped]
    passed = bool(done) and all(one.passed for one in done)
    if arguments.json:
        address = _address(arguments.url)
        console.write_json({"url": address, "passed": passed, "scenarios": [one.as_dict() for one in results]})
    else:
        output.show(_tell(results))
    if not done or (arguments.scenario and len(done) < len(results)):
        raise CommandError("nothing was simulated" if not done else "a scenario that was asked for could not be run")
    return OK if passed else NO


def _tell(results: list[ScenarioResult]) -> str:
    rows: list[tuple[str, ...]] = []
    for one in results:
        name, after = one.scenario.name, one.scenario.needs.after
        if one.skipped:
            rows.append(("skip", name, "", one.skipped))
            continue
        rows += [_compared(name, step.what, str(step.expected), str(answer)) for step, answer in one.answers]
        if one.target and one.status_after != after:
            rows.append(_compared(name, f"order group {one.target.id}", f"{after}", f"{one.status_after}"))
    failed = sum(not one.passed for one in results if not one.skipped)
    skipped = sum(bool(one.skipped) for one in results)
    summary = f"\n{len(results) - failed - skipped} as expected, {failed} different, {skipped} skipped\n"
    return console.fit_table(("result", "scenario", "delivery", "answer"), rows) + summary + _why_refused(results)


def _compared(name: str, what: str, expected: str, actual: str) -> tuple[str, ...]:
    is_expected = actual == expected
    return ("ok" if is_expected else "FAIL", name, what, actual if is_expected else f"{actual}, expected {expected}")


def _why_refused(results: list[ScenarioResult]) -> str:
    """What to do where deliveries that are signed well were refused for their signature, or met no route."""
    unsigned = _settings_of(results, Reason.INVALID_SIGNATURE)
    astray = _settings_of(results, Reason.WRONG_PATH)
    told = ""
    if unsigned:
        told += f"The running relay has another {' and '.join(unsigned)} than these settings: both need the same.\n"
    if "STRIPE_WEBHOOK_SECRET" in astray:
        told += "No webhook is at this address: --url names all of it, with /api/stripe/webhook.\n"
    elif astray:
        told += "The running relay has no STRIPE_LIFECYCLE_WEBHOOK_SECRET, so its lifecycle route is not there.\n"
    return told


def _settings_of(results: list[ScenarioResult], reason: Reason) -> list[str]:
    """The secrets of the routes on which a delivery was refused for a reason that was not expected."""
    return sorted(
        {
            "STRIPE_LIFECYCLE_WEBHOOK_SECRET" if step.is_lifecycle else "STRIPE_WEBHOOK_SECRET"
            for one in results
            for step, answer in one.answers
            if answer.reason == reason != step.expected.reason
        }
    )


def _as_dict(answer: Reply) -> dict[str, object]:
    return {"status": answer.status, "outcome": answer.outcome, "reason": answer.reason}

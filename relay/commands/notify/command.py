"""`relay notify`: tells addresses what is newly open, each exception once per address."""

import argparse
import asyncio
import os
from functools import partial
from typing import Final

from relay.commands import answers, console, extras, output
from relay.commands.endings import NO, OK, CommandError
from relay.commands.notify.addresses import Address
from relay.commands.notify.news import CLAIM, Row, compose
from relay.config import Settings
from relay.data_api.connection import with_retries
from relay.data_api.records import Clients, Records

NAME: Final = "notify"
HELP: Final = "tell people of payments that newly need a person: by mail, chat or web hook"
EPILOG: Final = """\
examples:
  relay notify --to 'mailtos://user:password@example.com?to=oncall@example.com'
  relay notify --to env:ONCALL_MAIL env:ONCALL_CHAT --json
  relay notify --to env:ONCALL_CHAT --dry-run

An address is a URL of the library apprise (https://github.com/caronc/apprise/wiki), or env:NAME, the variable that
holds one: what stands on a command line is seen by everybody on the machine. Each open exception is told once per
address, from whatever machine this runs, also at the same time; one that is resolved and reopened is told again. A
message holds ids and reasons, and nothing of the buyer. Meant for a scheduler, every few minutes.
Needs the extra `notify` of this package.
exit status: 0 every address has been told, 1 one could not be (the next run tries again), or a dry run would tell
something, 2 could not run
"""
FINISH: Final = "finish_exception_notifications"
CLAIM_SECONDS: Final = 300
"""Longer than any service takes for a message. A run that dies meanwhile leaves its exceptions to a later one."""
_VARIABLE: Final = "env:"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--to",
        dest="addresses",
        metavar="URL",
        nargs="+",
        action="extend",
        required=True,
        help="an address, or env:NAME; several may be given",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell nobody, and say what would be told")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Tell each address. Raises SettingsError or CommandError."""
    extras.need("notify", "apprise", for_what="relay notify")
    addresses = [Address.read(_value_of(given), place=place) for place, given in enumerate(arguments.addresses, 1)]
    if len({address.digest for address in addresses}) < len(addresses):
        raise CommandError("--to names the same address twice")

    async def work(_: Settings, clients: Clients) -> int:
        found = [await _tell(address, clients.records, dry_run=arguments.dry_run) for address in addresses]
        if arguments.json:
            console.write_json({"dry_run": arguments.dry_run, "addresses": found})
        else:
            header = ("address", "would be told" if arguments.dry_run else "told of", "could not be told of")
            rows = [(one["address"], _numbers(one["told"]), _numbers(one["failed"])) for one in found]
            output.show(console.fit_table(header, rows))
        is_left = any(one["failed"] or (arguments.dry_run and one["told"]) for one in found)
        return NO if is_left else OK

    return console.run(work)


def _value_of(given: str) -> str:
    """The URL itself. Raises CommandError."""
    if not given.startswith(_VARIABLE):
        return given
    name = given.removeprefix(_VARIABLE)
    if not (value := os.environ.get(name, "").strip()):
        raise CommandError(f"--to {given}: the variable {name} is not set")
    return value


def _numbers(ids: object) -> str:
    return " ".join(map(str, ids)) if isinstance(ids, list) and ids else "-"


async def _tell(address: Address, records: Records, *, dry_run: bool) -> dict[str, object]:
    """Tell one address all that it has not been told. What fails is given back, and ends this address's turn. Raises
    NoVerdict or Declined.
    """
    told: list[int] = []
    failed: list[int] = []
    while rows := await _claim(address, records, seconds=0 if dry_run else CLAIM_SECONDS):
        ids = [row["id"] for row in rows]
        is_told = dry_run or await asyncio.to_thread(address.send, *compose(rows))
        (told if is_told else failed).extend(ids)
        if dry_run:
            break
        parameters = {"p_address": address.digest, "p_exception_ids": ids, "p_is_sent": is_told}
        # May be repeated. Where nobody hears it, the claim ends by itself, and the address is told again.
        await with_retries(partial(records.call, FINISH, parameters))
        if not is_told:
            break
    return {"address": address.name, "told": told, "failed": failed}


async def _claim(address: Address, records: Records, *, seconds: int) -> list[Row]:
    answer = await records.call(CLAIM, {"p_address": address.digest, "p_seconds": seconds})
    return answers.read(list[Row], answer, of=CLAIM)

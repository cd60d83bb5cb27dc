"""`relay explain`: tells why an order group is paid, or why it is not, and what became of its money and goods."""

import argparse
import re
from typing import Final

from relay.commands import answers, any_id, console, output, stories, terminal
from relay.commands.endings import NO, OK, STATUSES
from relay.commands.exception_rows import without_metadata
from relay.config import Settings
from relay.data_api.records import Clients

NAME: Final = "explain"
HELP: Final = "tell an order group's story: events, decisions, rules, refunds, ledger"
EPILOG: Final = f"""\
examples:
  relay explain 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10
  relay explain 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10 --json | jq .verdict

ID is an order group's, order's or item's, a payment intent's (pi_), session's (cs_), event's (evt_), refund's (re_) or
dispute's (dp_, du_), or an exception's number. A payment that belongs to no group is told with its exceptions. A group
that does not exist is explained too, because payments may have come for it; the exit status is 1 then, and where
nothing is known of the ID.
Needs the same settings as `relay serve`; Stripe is not called.
{STATUSES}
"""
# An exception's number, or an id of Stripe's; the sweep makes event ids of its own out of a session's.
_ID: Final = re.compile(r"[0-9]{1,18}|[a-z]{2,8}_[A-Za-z0-9_]{1,250}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("id", metavar="ID", type=_id, help="whose story: an order group's id, or one of those below")
    parser.add_argument("--json", action="store_true", help="print the story as JSON")
    parser.add_argument("--metadata", action="store_true", help="include the sessions' metadata, as the shop set them")


def run(arguments: argparse.Namespace) -> int:
    """Print the story of each order group that the id is about. Raises SettingsError."""

    async def work(_: Settings, clients: Clients) -> int:
        async def explain(group: str) -> stories.Story:
            answer = await clients.records.call(stories.FUNCTION, {"p_order_group_id": group})
            return answers.read(
                stories.Story, answer if arguments.metadata else without_metadata(answer), of=stories.FUNCTION
            )

        own = await explain(arguments.id) if any_id.uuid_of(arguments.id) else None
        if own and (own["order_group"] or own["timeline"]):
            found, told, is_found = None, [own], own["order_group"] is not None
        else:
            found = await any_id.find(clients.records, arguments.id)
            told = [await explain(group) for group in found["order_groups"]] or ([own] if own else [])
            is_found = _is_known(found)
        if arguments.json:
            console.write_json(told[0] if len(told) == 1 else {**(found or {}), "stories": told})
        else:
            parts = [stories.tell(story) for story in told]
            output.show((_about(found, arguments.id) if found else "") + "\n".join(parts))
        return OK if is_found else NO

    return console.run(work)


def _id(argument: str) -> str:
    """Read an argument that must be an id. Raises argparse.ArgumentTypeError."""
    if id_ := any_id.uuid_of(argument):
        return id_
    if not _ID.fullmatch(argument):
        raise argparse.ArgumentTypeError(
            "must be a UUID, an id of Stripe's such as pi_… or re_…, or an exception's number"
        )
    return argument


def _is_known(found: any_id.Found) -> bool:
    return any(found.values())


def _about(found: any_id.Found, id_: str) -> str:
    """What an id is about, besides the stories of its order groups, which tell the refunds of their payments."""
    lines = any_id.reversals(found, id_)
    if not found["order_groups"]:
        lines += [f"exception {number}: relay exceptions show {number}" for number in found["exceptions"]]
        if not any_id.uuid_of(id_):  # of a UUID the story says so
            lines.append(_nobodys(found, id_))
    return "".join(f"{terminal.clean(line)}\n" for line in lines)


def _nobodys(found: any_id.Found, id_: str) -> str:
    """Why there is no story: the payment has no order group, or nothing is known of the id."""
    if _is_known(found):
        return any_id.NOBODYS
    return f"There is no exception {id_}." if id_.isdigit() else f"Nothing is known of {id_}."

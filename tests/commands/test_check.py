"""`relay check` says in plain words what is wrong, and what to do."""

import secrets

import jwt
import pytest

from relay.server.readiness import CONTRACT_VERSION
from testkit.command_line import run
from testkit.data_api_server import Behaviour, DataApi, Reply, Reset
from testkit.relay_under_test import environ

pytestmark = pytest.mark.anyio

WELL = """\
ok    webhook_secrets  1 in use
ok    lifecycle_route  off: STRIPE_LIFECYCLE_WEBHOOK_SECRET is not set
ok    stripe_key_mode  test events are reconciled, others are ignored
"""


def reason_in(words: str) -> str:
    """The reason that stands in the parentheses."""
    return words.rpartition("(")[2].partition(":")[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            Reply(404, {"code": "PGRST202", "message": "Could not find the function", "details": None, "hint": None}),
            "this release's migrations are not in this database: supabase db push --remote "
            "(contract_violation: PGRST202, HTTP 404)",
        ),
        (
            Reply(406, {"code": "PGRST106", "message": "The schema must be one of", "details": None, "hint": None}),
            "the Data API does not expose the schema public: Settings, Data API, Exposed schemas "
            "(contract_violation: PGRST106, HTTP 406)",
        ),
        (
            Reply(401, {"message": "Invalid API key"}),
            "SUPABASE_SERVICE_ROLE_KEY is not accepted: it belongs to another project, or was revoked "
            "(unauthorized: HTTP 401)",
        ),
        (
            Reply(403, {"code": "42501", "message": "permission denied", "details": None, "hint": None}),
            "the key's role may not do this: run `select payments.restore_privileges();` as postgres "
            "(unauthorized: 42501, HTTP 403)",
        ),
        (
            Reply(404, {"code": "42P01", "message": "relation does not exist", "details": None, "hint": None}),
            "this release's migrations are not in this database: supabase db push --remote; "
            "or a trigger of yours names a table that is not there (unexpected: 42P01, HTTP 404)",
        ),
        (
            Reply(540, "<html>paused</html>", "text/html"),
            "the project is paused: restore it in Supabase's dashboard (database_unavailable: 540, HTTP 540)",
        ),
        (
            Reply(402, "{}"),
            "the project is restricted until its bill is paid (database_unavailable: HTTP 402)",
        ),
        (
            Reply(404, "<html>not here</html>", "text/html"),
            "what answers at SUPABASE_URL is no Supabase project (contract_violation: 404, HTTP 404)",
        ),
        (
            Reset(),
            "is the project up, and SUPABASE_URL right? (database_unavailable: ServerDisconnectedError)",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else getattr(value, "status", "reset"),
)
async def test_a_database_that_does_not_answer_is_told_in_words(
    data_api: DataApi, answer: Behaviour, words: str
) -> None:
    data_api.always = answer

    told = f"{WELL}FAIL  database         {words}\nwarn  other_mode       not known: {reason_in(words)}\n"
    assert await run("check", env=environ(data_api.url)) == (1, told, "")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "http://no-such-host.internal",
            "no such host: is SUPABASE_URL right? A project that was deleted has none either "
            "(database_unavailable: ClientConnectorDNSError)",
        ),
        (
            "http://127.0.0.1:9",
            "nothing listens at SUPABASE_URL (database_unavailable: ClientConnectorError, ECONNREFUSED)",
        ),
    ],
    ids=["no host", "nobody"],
)
async def test_an_address_that_leads_nowhere_is_told_in_words(url: str, words: str) -> None:
    told = f"{WELL}FAIL  database         {words}\nwarn  other_mode       not known: {reason_in(words)}\n"
    assert await run("check", env=environ(url)) == (1, told, "")


async def test_what_fails_in_the_database_is_told_with_what_to_do(data_api: DataApi) -> None:
    data_api.readiness |= {"can_execute": False, "server_time": "2020-01-01T00:00:00+00:00"}

    ended = await run("check", env=environ(data_api.url))

    assert ended.status == 1
    lines = ended.output.splitlines()
    place = lines.index("FAIL  execute_right     the key's role may not call the function")
    assert lines[place + 1].strip() == "select payments.restore_privileges(); as postgres puts each right again"
    (clock,) = (line for line in lines if line.startswith("FAIL  clock"))
    assert clock.endswith(" s from the database's: set this machine's clock by NTP, else honest deliveries are refused")
    assert [line.split()[1] for line in lines if not line.startswith(" ")] == [
        "webhook_secrets",
        "lifecycle_route",
        "stripe_key_mode",
        "database",
        "contract_version",
        "execute_right",
        "anon_locked_out",
        "currencies",
        "clock",
        "shop_triggers",
        "expiry",
        "shared_calls",
        "other_mode",
    ]


@pytest.mark.parametrize(
    ("changes", "name", "told"),
    [
        (
            {"contract_version": CONTRACT_VERSION + 2, "oldest_contract_version": CONTRACT_VERSION + 1},
            "contract_version",
            f"relay {CONTRACT_VERSION}, database {CONTRACT_VERSION + 2}: upgrade the relay, "
            f"this database serves {CONTRACT_VERSION + 1} and later",
        ),
        (
            {"contract_version": None},
            "contract_version",
            f"relay {CONTRACT_VERSION}, database unknown: `supabase db push --remote` brings it to this release",
        ),
        ({"server_time": None}, "clock", "the database told no time"),
    ],
    ids=["newer", "unknown", "no time"],
)
async def test_nothing_follows_that_would_contradict_what_a_check_says(
    data_api: DataApi, changes: dict[str, object], name: str, told: str
) -> None:
    data_api.readiness |= changes

    ended = await run("check", env=environ(data_api.url))

    assert ended.status == 1
    assert [line for line in ended.output.splitlines() if not line.startswith(("ok ", "warn "))] == [
        f"FAIL  {name:<16}  {told}"
    ]


async def test_a_key_of_another_project_is_named_before_anybody_is_asked() -> None:
    key = jwt.encode({"iss": "supabase", "ref": "b" * 20, "role": "service_role"}, secrets.token_hex(32))

    ended = await run("check", env=environ(f"https://{'a' * 20}.supabase.co", SUPABASE_SERVICE_ROLE_KEY=key))

    assert ended == (
        2,
        "",
        "relay: The settings are not usable:\n"
        "  SUPABASE_SERVICE_ROLE_KEY: belongs to another project than SUPABASE_URL names\n",
    )

"""The documentation's commands for operators, run as they are written: a project, a relay, an account at Stripe."""

import re
import secrets
from pathlib import Path

import pytest

from relay.core.checkout import RECONCILING_TYPES
from relay.server.webhook import PATH
from testkit.payments import reconcile
from testkit.project import Project
from testkit.relay_under_test import serving
from testkit.stripe_api_server import StripeServer
from testkit.stripe_endpoints import endpoint
from testkit.sweeping import settings
from tests.documented import GROUP, SWEEP, documented, filled

pytestmark = pytest.mark.anyio

# Other tests serve, open the desk, bring migrations and notify; a name alone, in a sentence, is no command.
NOT_HERE = re.compile(r"(serve|desk|init|notify)\b|(?!check$)[a-z]+( show)?$")
COMMANDS = sorted({command for _, command in documented() if not NOT_HERE.match(command)})


def written(folder: Path) -> list[Path]:
    """What `--html` or `--lines` has written."""
    starts = {".html": "<!doctype html>", ".csv": "day,"}
    return [file for file in folder.iterdir() if file.read_text().startswith(starts.get(file.suffix, "\0"))]


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_documented_command_does_what_it_is_there_for(
    project: Project, stripe: StripeServer, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.json").write_text(SWEEP)
    for name in (".env", ".env.local"):
        (tmp_path / name).write_text("RELAY_LOG_LEVEL=info\n")
    group = project.shop.order_group()
    rejected = group.payment().but(amount_minor=1, amount="0.01")
    reconcile(project.shop.service, rejected)
    (exception,) = project.query("select id from payments.exceptions where stripe_event_id = %s", rejected.event_id)
    if command.startswith("exceptions reopen"):
        resolution = "select public.resolve_payment_exception(%s, 'refunded', 'ada', 'by mistake')"
        project.shop.service.execute(resolution, [exception["id"]])
    if not command.startswith("endpoint create"):
        url = "https://relay.example.com/api/stripe/webhook"
        stripe.endpoints.append(endpoint(url, sorted(RECONCILING_TYPES)))
    words = [{GROUP: str(group.id), "17": str(exception["id"])}.get(word, word) for word in filled(command)]
    secret = f"{project.stack.stripe_webhook_secret},whsec_{secrets.token_hex(16)}"

    async with serving(project.environment(STRIPE_WEBHOOK_SECRET=secret)) as relay:
        if words[0] == "simulate":
            words += ["--url", relay.url + PATH]
        ended = await project.relay(*words, STRIPE_WEBHOOK_SECRET=secret, **settings(stripe))

    assert (ended.status, ended.errors) == (1 if "--fail-if-any" in words else 0, "")
    assert ended.output or written(tmp_path)

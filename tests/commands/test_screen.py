"""What a person sees at a terminal: whole words, colours where they are wanted, and nothing that moves the cursor."""

import re
from io import StringIO

import pytest
from rich.cells import cell_len

from relay import cli
from relay.commands import screen, terminal
from testkit.command_line import at_terminal
from testkit.database import Row
from testkit.payments import Payment, reconcile
from testkit.project import Project

pytestmark = pytest.mark.anyio

SESSION = "cs_test_" + "a" * 58  # as long as Stripe's are
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@pytest.mark.parametrize(
    ("line", "columns", "lines"),
    [
        ("short enough", 12, ["short enough"]),
        ("three words here", 12, ["three words", "  here"]),
        ("  indented words go on", 14, ["  indented", "    words go", "    on"]),
        ("name   value", 8, ["name", "  value"]),
        ("name  the value is long", 14, ["name  the", "      value is", "      long"]),
        ("name  the value is longest", 12, ["name  the", "  value is", "  longest"]),
        ("a      b      c d", 16, ["a      b      c", "  d"]),
        (f"session {SESSION} then", 60, ["session", f"  {SESSION}", "  then"]),
        (SESSION, 60, [SESSION]),
        ("日本語 日本語", 10, ["日本語", "  日本語"]),
        ("", 10, [""]),
    ],
)
async def test_a_line_is_broken_between_words_alone(line: str, columns: int, lines: list[str]) -> None:
    assert screen.wrap(line, columns) == lines


async def test_columns_of_a_table_are_aligned_by_what_is_seen() -> None:
    assert terminal.table(("product", "left"), [("日本", 1), ("Mug", 20)]) == (
        "product  left\n日本     1\nMug      20\n"
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
async def test_help_fits_80_columns_and_loses_no_word(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])

    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert [line for line in told.splitlines() if len(line) > 80] == []
    epilog = cli.command_of(name).EPILOG
    assert set(epilog.split()) - {"#"} <= set(told.replace(" \\\n", " ").split())
    assert re.search(r"^exit status: 0 ", told, re.MULTILINE)


async def test_colours_say_what_is_well_and_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = (
        "FAIL  database\nwarn  expiry\napplied: evt_1\n[red]no markup[/]\n"
        "ok    mode  no payment was applied, others are ignored\nfailed-debit  500 rejected (amount_mismatch)\n"
    )

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    def shown(**variables: str) -> str:
        stream = Terminal()
        for name in ("NO_COLOR", "TERM", "COLORTERM", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm", "COLUMNS": "80", **variables}.items():
            monkeypatch.setenv(name, value)
        screen.show(plain, stream)
        return stream.getvalue()

    assert shown() == (
        "\x1b[1;31mFAIL\x1b[0m  database\n\x1b[33mwarn\x1b[0m  expiry\n\x1b[32mapplied\x1b[0m: \x1b[36mevt_1\x1b[0m\n"
        "[red]no markup[/]\n"
        "\x1b[32mok\x1b[0m    mode  no payment was applied, others are ignored\n"
        "failed-debit  500 rejected (amount_mismatch)\n"
    )
    assert shown(TERM="dumb") == plain
    assert COLOUR.sub("", shown(NO_COLOR="1")) == plain
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown(NO_COLOR="1"))  # bold is no colour


def short_payment(project: Project) -> tuple[Payment, Row]:
    payment = project.shop.order_group().payment().but(amount_minor=7423, amount="74.23", checkout_session_id=SESSION)
    reconcile(project.shop.service, payment)
    (row,) = project.query("select id from payments.exceptions where stripe_event_id = %s", payment.event_id)
    return payment, row


async def test_at_80_columns_no_word_and_no_id_is_broken(project: Project) -> None:
    payment, exception = short_payment(project)
    number = str(exception["id"])
    group = str(payment.order_group_id)
    commands = [
        ["explain", group], ["exceptions", "list", "--group", group], ["exceptions", "show", number], ["check"],
    ]  # fmt: skip

    for command in commands:
        async with at_terminal(*command, env=project.environment()) as process:
            seen = (await process.ended()).output
        told = (await project.relay(*command)).output
        text = COLOUR.sub("", seen)

        assert [line for line in text.splitlines() if cell_len(line) > 80] == []
        assert not CONTROL.search(text)
        words = [word for word in told.split() if not re.fullmatch(r"\(?\d+[smhd]|[-+][\d.]+", word)]
        assert set(words) <= set(text.split())
        assert COLOUR.search(seen)
        assert not COLOUR.search(told)


async def test_sellers_and_products_are_told_by_name(project: Project) -> None:
    shop = project.shop
    project.query("update public.sellers set name = 'Ada''s Mugs' where id = %s returning id", shop.sellers[0].id)
    payment = shop.order_group([[(2, "5.50")]]).payment()
    reconcile(shop.service, payment)
    (item,) = project.query(
        "select i.sku, i.title, i.order_id from public.order_items as i where i.order_group_id = %s",
        payment.order_group_id,
    )

    told = (await project.relay("explain", str(payment.order_group_id))).output

    assert f"Ada's Mugs  paid    11.00 USD  1 item  {item['order_id']}\n" in told
    assert f"stock: -2 of {item['sku']}, {item['title']} (ledger " in told
    assert str(shop.sellers[0].id) not in told

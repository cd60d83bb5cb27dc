"""The report in a real Chromium: nothing is fetched, nothing runs, and it fits on a phone."""

import http.server
import re
import shutil
import subprocess
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testkit.payments import reconcile
from testkit.project import Project
from testkit.shop import HOSTILE_NAME

pytestmark = pytest.mark.anyio

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
)
# The page forbids scripts, so that a frame around it measures it.
FRAME = """<!doctype html><body style="margin:0">
<iframe id="f" src="/report" style="border:0;height:900px;width:{width}px"></iframe>
<script>document.getElementById("f").onload = (event) => {{
  const page = event.target.contentDocument.documentElement;
  document.body.dataset.measured = page.scrollWidth + " " + page.clientWidth + " " + page.scrollHeight;
  const hidden = [...page.querySelectorAll("td, .card b")].filter((e) => e.scrollWidth > e.clientWidth + 1);
  const scrolled = [...page.querySelectorAll(".wide")].filter((e) => e.scrollWidth > e.clientWidth);
  document.body.dataset.cut = hidden.length + scrolled.length;
  document.body.dataset.charts = page.querySelectorAll("svg").length;
}}</script>"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def chromium(*arguments: str) -> str:
    """Run Chromium and return what it printed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "Chromium is not installed: apt-get install chromium"
    with tempfile.TemporaryDirectory() as home:
        command = [program, *FLAGS, f"--user-data-dir={home}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
async def test_the_page_fits_its_window_and_asks_for_nothing(project: Project, tmp_path: Path, width: int) -> None:
    project.a_year_passes()
    shop = project.shop
    project.query(
        "update public.products set name = %s where id = %s returning id", HOSTILE_NAME, shop.sellers[0].product_ids[0]
    )
    project.query("update public.sellers set name = %s where id = %s returning id", "S" * 200, shop.sellers[0].id)
    now = datetime.now(UTC)
    for _ in range(3):
        reconcile(shop.service, shop.order_group([[(1, "99999999.99")]]).payment().but(event_created=now))
        reconcile(shop.service, shop.order_group().payment().but(amount_minor=1, amount="0.01", event_created=now))
    file = tmp_path / "report.html"
    assert (await project.relay("report", "--since", "1d", "--html", str(file))).status == 0
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = file.read_bytes() if self.path == "/report" else FRAME.format(width=width).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        dom = chromium(f"--window-size={max(width, 500)},900", "--dump-dom", f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()

    measured = re.search(r'data-measured="(\d+) (\d+) (\d+)"', dom)
    assert measured, dom
    content, window, height = map(int, measured.groups())
    assert content <= window
    assert 'data-cut="0"' in dom
    assert height > 900
    assert 'data-charts="2"' in dom
    assert set(asked) - {"/favicon.ico"} == {"/", "/report"}

"""`python -m bench.page`: what the page costs in a browser, over a demo of its own. Needs Debian's Chromium.

Time of a frame is what the page's main thread computed, not what passed: on a busy machine frames are late for other
reasons.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from playwright.sync_api import CDPSession, Page, sync_playwright

from bench.machine import machine
from bench.run import RESULTS, Result, note_in
from bench.service import calldex, served
from calldex.demo import interactions
from calldex.ingest.pipeline import Post
from calldex.ingest.workers import block
from calldex.node import Node
from calldex.settings import Settings

PASSWORD: Final = "correct horse battery"  # noqa: S105 - of a data directory that is thrown away
EMAIL: Final = "bench@example.com"
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
ROWS_A_FRAME: Final = (3, 10, 30)
_SCROLL: Final = """(pixels) => new Promise(done => {
    const list = document.querySelector('[data-testid=list]'), began = performance.now();
    let frames = 0;
    const step = now => {
        frames++;
        list.scrollTop += pixels;
        if (now - began < 4000) requestAnimationFrame(step); else { list.scrollTop = 0; done(frames); }
    };
    requestAnimationFrame(step);
})"""


_LOADED: Final = """performance.getEntriesByType('resource').filter(each => each.name.includes('/assets/'))
    .reduce((sum, each) => sum + each.encodedBodySize, 0)"""
_FRAME: Final = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def main() -> None:
    """Measure, print and write it down."""
    parser = argparse.ArgumentParser(description="Measure the page in a browser.")
    parser.add_argument("--records", type=int, default=100_000)
    records = parser.parse_args().records
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        calldex(data, "users", "add", EMAIL, "--name", "Bench", "--role", "admin")
        with Node(Settings(data=data)) as node:
            account = node.directory.account("main").id
            made = iter(interactions(records, seed=1))
            while some := [record for record, _ in zip(made, range(10_000), strict=False)]:
                node.ingest.post(Post(account, block(some, ""), None, b"", lambda _: b""))
        note_in(found, paging(data))
    RESULTS.mkdir(exist_ok=True)
    result = Result(machine(), records, found)
    name = f"{result.machine.at.replace(':', '')}-{result.machine.commit}-page-{records}.json"
    (RESULTS / name).write_bytes(msgspec.json.format(msgspec.json.encode(result)))


def paging(data: Path) -> dict[str, float]:
    """The figures of a data directory whose user is known by `EMAIL`."""
    with Node(Settings(data=data)) as node:
        node.directory.set_password(EMAIL, PASSWORD)
    with served(data) as server:
        return measured(f"http://{server.host}:{server.port}")


def measured(url: str) -> dict[str, float]:
    """The figures of a server."""
    reply = httpx.post(f"{url}/api/session", json={"email": EMAIL, "password": PASSWORD}, headers={"Origin": url})
    reply.raise_for_status()
    cookies: Any = [{"name": name, "value": value, "url": url} for name, value in reply.cookies.items()]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*ARGUMENTS])
        context = browser.new_context(viewport={"width": 1366, "height": 768})
        context.add_cookies(cookies)
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        found = {"page_first_rows_ms": shown(page, lambda: page.goto(url))}
        page.wait_for_load_state("networkidle")
        session = context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        found |= {
            "page_script_and_style_kb": round(page.evaluate(_LOADED) / 1000, 1),
            "page_requests": len(asked),
            "page_elements": page.evaluate("document.querySelectorAll('*').length"),
            "page_listeners": metrics(session)["JSEventListeners"],
        }
        found["page_again_ms"] = shown(page, page.reload)
        found |= filtered(page)
        page.go_back()
        page.wait_for_selector("[data-uuid]")
        for rows in ROWS_A_FRAME:
            before = metrics(session)["TaskDuration"]
            frames = page.evaluate(_SCROLL, rows * 22)
            spent = (metrics(session)["TaskDuration"] - before) / frames
            found[f"page_frame_of_{rows}_rows_ms"] = round(1000 * spent, 2)
            found[f"page_frames_of_{rows}_rows_a_second"] = round(frames / 4, 1)
        found["page_heap_mb"] = round(metrics(session)["JSHeapUsedSize"] / 1e6, 1)
        browser.close()
    return found


def filtered(page: Page) -> dict[str, float]:
    """Milliseconds until a filter that was changed has its rows, and its picture."""
    click = page.get_by_role("link", name="Today")
    page.wait_for_selector("[data-testid=histogram] rect")
    began = time.perf_counter()
    with page.expect_response(lambda reply: "/stats?" in reply.url and "bucket" in reply.url) as picture:
        with page.expect_response(lambda reply: "/api/v2/cdr?" in reply.url and "per_page=100" in reply.url) as rows:
            click.click()
        rows.value.finished()
        page.evaluate(_FRAME)
        rows_ms = round(1000 * (time.perf_counter() - began), 1)
    picture.value.finished()
    page.evaluate(_FRAME)
    return {"page_filter_ms": rows_ms, "page_picture_ms": round(1000 * (time.perf_counter() - began), 1)}


def shown(page: Page, act: Any) -> float:
    """Milliseconds until rows are there, or it is said that there are none."""
    began = time.perf_counter()
    act()
    page.wait_for_selector("[data-uuid], [data-testid=empty]")
    return round(1000 * (time.perf_counter() - began), 1)


def metrics(session: CDPSession) -> dict[str, float]:
    """What the browser measured of the page."""
    return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}


if __name__ == "__main__":
    main()

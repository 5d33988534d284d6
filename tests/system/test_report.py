"""A recorded test becomes one file that shows its steps and its picture in a browser without any network."""

from __future__ import annotations

import asyncio
import html
import re
import shutil
import sys
from pathlib import Path

import pytest

from testbed import process
from testbed.report import page as report

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
RECORDED = '''
import pathlib
from testbed.report import page as report

def test_crash(tmp_path):
    """The VM is served again."""
    from matplotlib.figure import Figure
    picture = tmp_path / "timeline.png"
    Figure(figsize=(4, 2)).savefig(picture)
    report.title("Primary crash")
    report.label("fault", "power-cut")
    report.show_picture(picture, "Outage 14.2 s & nothing <lost>")
    with report.step("fault: power cut of the primary"):
        with report.step("confirmed by the machine"):
            report.attach_json({"outage_s": 14.2}, "result")
    report.attach_file(picture, "timeline picture")
    report.attach_text("first line", "timeline text")

def test_refused():
    """A wrong verdict is a failure."""
    raise AssertionError("inconclusive: the fault was not confirmed")
'''


async def record_and_generate(folder: Path) -> Path:
    """Runs a tiny test file in a process of its own and makes its report."""
    (folder / "test_recorded.py").write_text(RECORDED)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    argv += ["--alluredir", str(folder / "results"), "--rootdir", str(folder), "-c", "/dev/null"]
    done = await process.run(
        [*argv, str(folder / "test_recorded.py")], timeout_s=60, check=False, cwd=folder, env={"PYTHONPATH": str(ROOT)}
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    return await report.generate(folder / "results", folder / "report", environment={"accel": "tcg"}, timeout_s=60)


async def page_in_browser(page: Path, part: str) -> str:
    """The document as the browser holds it after the page's scripts have run, with no name resolvable."""
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND"]
    flags += [f"--user-data-dir={page.parent.parent / 'browser'}", "--virtual-time-budget=8000", "--dump-dom"]
    done = await process.run([CHROMIUM, *flags, f"{page.as_uri()}{part}"], timeout_s=60)
    return done.stdout


def test_report_is_one_clean_file(tmp_path: Path) -> None:
    """The report is a single page without analytics, with both results in it."""
    page = asyncio.run(record_and_generate(tmp_path))
    text = page.read_text(encoding="utf-8")
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]
    assert "googletagmanager" not in text
    assert len(set(re.findall(r"data/test-results/[0-9a-f]+\.json", text))) == 2


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_report_shows_steps_and_picture_offline(tmp_path: Path) -> None:
    """Opened from a file, the report lists the tests, and a test shows its steps, attachments and picture."""
    page = asyncio.run(record_and_generate(tmp_path))
    front = asyncio.run(page_in_browser(page, ""))
    assert "Primary crash" in front
    assert "test_refused" in front
    tests = sorted(set(re.findall(r"data/test-results/([0-9a-f]+)\.json", page.read_text(encoding="utf-8"))))
    pages = [asyncio.run(page_in_browser(page, f"#{test}")) for test in tests]
    (shown,) = [text for text in pages if "Outage 14.2 s" in text]
    for expected in ("fault: power cut of the primary", "confirmed by the machine", "timeline picture", "power-cut"):
        assert expected in shown
    assert 'src="data:image/png;base64,' in html.unescape(shown)  # the description is a frame with its own document

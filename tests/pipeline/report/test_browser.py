"""The page in a real browser: opened from disk, nothing leaves it, the slider moves, the table sorts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import offline_browser, requested
from tiny_run import write_tiny_experiment

from pipeline.report.finished_run import open_finished
from pipeline.report.page import write_report
from pipeline.sequence import run_stages

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    arguments = write_tiny_experiment(folder, tune={"rounds": 100, "rules": ["global"]})
    run_stages(arguments, ("01", "02", "03", "04", "05", "06"))
    run = open_finished(folder / "runs/drawn/tiny", data=folder / "data", competition=folder / "drawn.yaml")
    return write_report(run, folder / "page.html", ledger=folder / "ledger.csv")


def text_of(browser: Any, name: str) -> str:
    return str(browser.find_element("id", name).text)


def column(browser: Any, index: int) -> list[str]:
    return [cell.text for cell in browser.find_elements("css selector", f"#scores-table td:nth-child({index + 1})")]


def head(browser: Any, title: str) -> tuple[int, Any]:
    heads = browser.find_elements("css selector", "#scores-table th")
    names = [each.text.split(" ")[0].strip() for each in heads]
    return names.index(title), heads[names.index(title)]


@pytest.mark.parametrize("width", [1280, 800])
def test_the_page_works_with_no_network(page: Path, width: int) -> None:
    wait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
    with offline_browser(width) as browser:
        browser.get(page.as_uri())
        at_first = text_of(browser, "at")
        paint = "return document.getElementById('canvas-0').toDataURL()"
        move = (
            "const s = document.getElementById('slider'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))"
        )
        seen = []
        for value in (0, 250):  # everything, and as good as nothing
            browser.execute_script(move, value)
            seen.append((text_of(browser, "score"), text_of(browser, "own-0"), browser.execute_script(paint)))
        assert text_of(browser, "at") == "0.9804 (250 of 255)" != at_first
        assert all(one != other for one, other in zip(*seen, strict=True))
        line = "return document.getElementById('thresholds-figure').layout?.shapes.at(-1).x0"
        wait(browser, 20).until(lambda _: browser.execute_script(line) == pytest.approx(250 / 255))

        index, heading = head(browser, "score")
        for descending in (False, True):
            heading.find_element("tag name", "button").click()
            values = [float(text) for text in column(browser, index) if text != "–"]
            assert values == sorted(values, reverse=descending) and len(set(values)) > 1
        index, heading = head(browser, "image")
        heading.find_element("tag name", "button").click()
        assert column(browser, index) == [f"train{k:02d}" for k in range(12)]

        browser.find_element("css selector", "#scores-table td img").click()
        assert browser.execute_script("return document.querySelector('dialog').open")
        figures = browser.find_elements("css selector", ".figure > div")
        undrawn = [each for each in figures if not each.find_elements("css selector", ".main-svg")]
        assert len(figures) >= 3 and undrawn  # what is out of view waits
        for each in undrawn:
            browser.execute_script("arguments[0].scrollIntoView()", each)
            wait(browser, 20).until(lambda _, each=each: each.find_elements("css selector", ".main-svg"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert [entry for entry in browser.get_log("browser") if entry["level"] != "DEBUG"] == []
        assert requested(browser) == [page.as_uri()]

"""The page in a real browser: what one clicks works, nothing overflows, and it asks for nothing outside of itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from pipeline.core.paths import Paths

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser without a window and without a past; its page is the report once `page` has opened it."""
    binary = next((path for path in map(shutil.which, BROWSERS) if path), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip(f"the page is tested in a browser: none of {', '.join(BROWSERS)} is here, or no chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in (*OPTIONS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, made: Paths) -> webdriver.Chrome:
    """The report of made-up results, opened anew on a wide screen."""
    show(browser, made.page, width=1200)
    return browser


def show(browser: webdriver.Chrome, path: Path, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")  # so that a place in the page is left as well
    for log in ("browser", "performance"):
        browser.get_log(log)  # what other pages wrote
    browser.get(path.resolve().as_uri())
    WebDriverWait(browser, 60).until(lambda shown: shown.execute_script("return innerWidth") == width)
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")  # laid out anew


def test_the_console_stays_empty_and_nothing_is_asked_for(page: webdriver.Chrome) -> None:
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert any(url.endswith("/report.html") for url in asked)
    assert [url for url in asked if not url.startswith(("file:///", "data:", "about:"))] == []
    assert [url for url in asked if url.startswith("file:///") and not url.endswith("/report.html")] == []
    assert page.get_log("browser") == []


def test_every_link_of_the_contents_lands(page: webdriver.Chrome) -> None:
    """Also where everything is folded."""
    landed = page.execute_script("""
        const missed = [];
        for (const link of document.querySelectorAll('nav a')) {
            document.querySelector('button[data-fold=""]').click();
            link.click();
            dispatchEvent(new HashChangeEvent('hashchange'));
            const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
            const top = target ? target.getBoundingClientRect().top : NaN;
            const end = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
            if (!target || !target.open || !(top > -2 && (top < 100 || end))) missed.push([link.hash, top]);
        }
        return [document.querySelectorAll('nav a').length, missed];""")
    assert landed[0] > 20
    assert landed[1] == []


def test_every_link_within_the_page_has_its_target(page: webdriver.Chrome) -> None:
    missing = page.execute_script("""
        return [...document.querySelectorAll('a[href^="#"]')].map((link) => decodeURIComponent(link.hash.slice(1)))
            .filter((id) => !document.getElementById(id));""")
    assert missing == []


def test_a_table_sorts_by_value_both_ways(page: webdriver.Chrome) -> None:
    """By the numbers themselves: 90 before 100, and 0.013 ± … by its mean; what has no number stays last."""
    column: dict[str, list[Any]] = page.execute_script("""
        const heads = [...document.querySelectorAll('#photos th')];
        const head = heads.find((one) => one.textContent.trim() === 'codes in use');
        const body = head.closest('table').tBodies[0];
        const values = () => [...body.rows].map((row) => row.cells[head.cellIndex].textContent.trim());
        const before = values();
        head.querySelector('button').click();
        const rising = values();
        head.querySelector('button').click();
        return {before, rising, falling: values(), state: [head.getAttribute('aria-sort')]};""")
    means = [float(text.split("\u00a0")[0].replace(",", "")) for text in column["before"]]
    rising = [float(text.split("\u00a0")[0].replace(",", "")) for text in column["rising"]]
    assert len(means) >= 3
    assert rising == sorted(means) != means[::-1]
    assert column["falling"] == column["rising"][::-1]
    assert column["state"] == ["descending"]


def test_a_section_folds_and_the_head_of_a_table_sticks(page: webdriver.Chrome) -> None:
    found = page.execute_script("""
        const section = document.getElementById('photos'), summary = section.querySelector('summary');
        const before = section.offsetHeight;
        summary.click();
        const folded = section.offsetHeight;
        summary.click();
        const box = [...document.querySelectorAll('.scroll')].find((one) => one.scrollHeight > one.clientHeight + 50);
        box.scrollTop = 50;
        const head = box.querySelector('th').getBoundingClientRect().top - box.getBoundingClientRect().top;
        const nav = document.querySelector('nav');
        scrollTo(0, 5000);
        return {before, folded, after: section.offsetHeight, head, nav: nav.getBoundingClientRect().top};""")
    assert found["folded"] < 100 < found["before"] == found["after"]
    assert abs(found["head"]) < 3
    assert found["nav"] == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_small_screen_nothing_overflows_in_either_theme(page: webdriver.Chrome, made: Paths, theme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": theme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    show(page, made.page, width=390)
    found = page.execute_script("""
        const wide = [...document.querySelectorAll('main *')].filter((one) =>
            one.getBoundingClientRect().right > 391 && !one.closest('.scroll, .picture, pre'));
        return {
            wide: wide.map((one) => one.outerHTML.slice(0, 100)),
            width: document.documentElement.scrollWidth,
            ground: getComputedStyle(document.body).backgroundColor,
            contents: document.querySelector('nav details').open,
            scrolls: [...document.querySelectorAll('.scroll')].some((box) => box.scrollWidth > box.clientWidth),
        };""")
    assert (found["wide"], found["width"]) == ([], 390)
    assert found["scrolls"]
    assert not found["contents"]  # they would fill the screen
    assert (found["ground"] == "rgb(255, 255, 255)") == (theme == "light")


def test_on_paper_nothing_is_folded(page: webdriver.Chrome) -> None:
    page.execute_script("document.querySelector('button[data-fold=\"\"]').click();")
    page.execute_cdp_cmd("Page.printToPDF", {})
    assert page.execute_script("return [...document.querySelectorAll('main details')].every((one) => one.open)")

"""The report: one file that loads nothing, tried in a browser as a reader would."""

# ruff: noqa: SIM300  expected == actual

import os
import re
import shutil
from html.parser import HTMLParser

import pytest

from mnbench.report.commands import rerun_commands
from mnbench.report.page import MAX_LISTED_ISSUES, MAX_ROWS
from mnbench.report.page import render_page as page_of
from mnbench.results.record import FedInput, Issue
from mnbench.results.store import ResultsFile

pytest.importorskip("vl_convert")

BROWSER = "chromium"
DRIVER = "chromedriver"
PHONE, DESK = 390, 1400
PATIENCE_S = 20


@pytest.fixture
def results(workspace, make_record):
    """Two devices, of which one has a doubtful row."""
    doubtful = (Issue(name="imprecise", advice="give it more"), Issue(name="noisy", advice="end <other> load"))
    records = [make_record(alpha, side, int(12e6 * alpha**2)) for alpha in (1.0, 0.5) for side in (224, 128)]
    records.append(make_record(0.25, 224, 1_100_000, issues=doubtful))
    for record in records:
        ResultsFile(workspace / "results", "cpu").append(record)
    ResultsFile(workspace / "results", "gpu").append(make_record(1.0, 224, 400_000, device="gpu"))
    return workspace


@pytest.fixture
def page(invoke, results):
    """The report's path."""
    assert 0 == invoke("report", "--title", "A <title> & more").exit_code
    return results / "report.html"


class Loads(HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        """Every attribute that a browser follows by itself, and every element that loads."""
        facts = dict(attrs)
        self.found += [f"{tag} {name}={facts[name]}" for name in ("src", "srcset", "data", "poster") if facts.get(name)]
        if tag in ("link", "iframe", "object", "embed", "base"):
            self.found.append(tag)


@pytest.mark.slow
def test_the_report_loads_nothing(page):
    """No element of the page loads anything, its own policy forbids it, and it is under 5 MB."""
    text = page.read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(text)

    assert [] == loads.found
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1])
    assert len(text.encode()) < 5_000_000


@pytest.mark.slow
def test_the_report_holds_what_it_promises(page):
    """Titles and advice are escaped; issues, facts, meaning and commands are in it."""
    text = page.read_text(encoding="utf-8")

    assert "<h1>A &lt;title&gt; &amp; more</h1>" in text
    assert "end &lt;other&gt; load" in text
    assert "AMD EPYC" in text
    assert "mnbench run v1 --alpha 1,0.5,0.25 --res 224 --device cpu --threads 1" in text
    assert "mnbench run v1 --alpha 1,0.5 --res 128 --device cpu --threads 1" in text
    assert "median over 6 processes" in text
    assert 'data-kind="devices"' not in text  # a section has one device


@pytest.mark.slow
def test_a_row_of_a_page_takes_under_390_bytes(tmp_path, make_record):
    """Plots and tables together."""
    issue = Issue(name="imprecise", advice="±2.4% instead of ±1.0%: raise --budget")
    records = [
        make_record(0.1 + at % 100 / 50, 64 + at // 100, 10_000_000 + 7_919 * at, issues=(issue,)) for at in range(2000)
    ]
    sizes = [len(page_of(tmp_path, records[:many], title="Many").encode()) for many in (1000, 2000)]

    assert (sizes[1] - sizes[0]) / 1000 < 390
    assert sizes[0] - 1000 * 390 < 1_100_000


@pytest.mark.slow
def test_a_page_lists_as_many_rows_as_a_browser_lays_out_at_once(tmp_path, make_record):
    """A note says how many there are, and where the others are."""
    records = [make_record(0.1 + at % 100 / 50, 64 + at // 100, 10_000_000 + at) for at in range(MAX_ROWS + 1)]
    page = page_of(tmp_path, records, title="Many")

    assert MAX_ROWS == page.count(" data-variant=")
    assert "the plots show 2,001 rows, the tables and commands the first 2,000" in page
    assert "tables and commands the first" not in page_of(tmp_path, records[:5], title="Few")


def test_failures_are_listed_up_to_a_limit(tmp_path, make_record):
    """What is beyond it is counted."""
    failed = [
        make_record(0.1 + at % 100 / 50, 64 + at // 100, latency_ns=None, error="no")
        for at in range(MAX_LISTED_ISSUES + 3)
    ]
    page = page_of(tmp_path, [make_record(), *failed], title="Failed")

    assert MAX_LISTED_ISSUES == page.count(" failed: no</p>")
    assert "<p>3 more failed.</p>" in page


@pytest.mark.slow
def test_a_page_is_of_some_thousand_rows(tmp_path, make_record, monkeypatch):
    """A note says how many there are, and how to choose; the page names no other row."""
    monkeypatch.setattr("mnbench.report.page.MAX_RECORDS", 2)
    page = page_of(tmp_path, [make_record(alpha) for alpha in (0.25, 0.5, 0.75)], title="Few")
    assert "this page is of the first 2 of 3 rows: choose others with --where" in page
    assert "v1-a0.5" in page
    assert "v1-a0.75" not in page


def test_many_issues_are_told_once_a_kind(tmp_path, make_record):
    """Five hundred rows with one issue are one line that counts them; what all rows share stands above the table."""
    issue = Issue(name="imprecise", advice="give it more")
    records = [make_record(0.5, 64 + at, issues=(issue,)) for at in range(500)]
    text = page_of(tmp_path, records, title="Many")

    assert "<summary>500 issues</summary>" in text
    assert 1 == text.count("give it more")
    assert '<td>imprecise</td><td class="n">500</td><td>v1-a0.5-r64</td>' in text
    assert "Of every row: device cpu, processes 6" in text


def test_commands_measure_every_row_and_no_other(make_record):
    """Full grids are one command, other sets several; options of a variant's name come back as options."""
    records = [
        make_record(1.0, 224),
        make_record(1.0, 160),
        make_record(0.5, 224),
        make_record(
            1.0,
            224,
            variant="shufflenet-v1-g8-a1-r224-b4-int8",
            architecture="shufflenet-v1",
            options={"groups": 8},
            batch=4,
            precision="int8",
        ),
        make_record(None, 224, variant="own", architecture=None, resolution=None),
    ]

    assert [
        "mnbench run v1 --alpha 1,0.5 --res 224 --device cpu --threads 1",
        "mnbench run v1 --alpha 1 --res 160 --device cpu --threads 1",
        "mnbench run shufflenet-v1 --alpha 1 --res 224 --groups 8 --batch 4 --precision int8 --device cpu --threads 1",
        "mnbench run own.onnx --device cpu --threads 1",
    ] == rerun_commands(records)


@pytest.mark.parametrize(
    ("variant", "file", "inputs", "words"),
    [
        ("net", "a/net.onnx", (("x", (1, 3), "normal"),), "a/net.onnx"),
        ("net", "a b/net.onnx", (), "'a b/net.onnx'"),
        ("net[h=3]", "net.onnx", (("x", (1, 3), "normal"),), "net.onnx --shape x=1,3"),
        ("my", "net.onnx", (("x", (2,), "normal"), ("rate", (), "16")), "my=net.onnx --shape x=2 --input rate=16"),
        ("v1-a1-r224.onnx", "v1-a1-r224.onnx", (), "v1-a1-r224.onnx"),
    ],
)
def test_a_users_file_is_measured_again_with_its_name_and_inputs(make_record, variant, file, inputs, words):
    """The command takes the path, and what was given of the inputs."""
    fed = tuple(
        FedInput(name=name, type="f", shape=shape, values=values, chosen=values == "normal", sha256="")
        for name, shape, values in inputs
    )
    record = make_record(None, variant=variant, architecture=None, file=file, inputs=fed)
    assert [f"mnbench run {words} --device cpu --threads 1"] == rerun_commands([record])


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, without a window; it cannot resolve any name."""
    missing = [name for name in (BROWSER, DRIVER) if not shutil.which(name)]
    if missing and os.environ.get("MNBENCH_BROWSER"):
        pytest.fail(f"{', '.join(missing)} is missing: .ci/browser installs it")
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(switch)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.binary_location = shutil.which(BROWSER)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    """Opens the report at a width, light or dark, and waits until every plot is drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    def open_at(width, *, dark=False):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        browser.get_log("browser")
        browser.get(page.as_uri())
        undrawn = "return document.querySelectorAll('figure:not([data-drawn])').length"
        WebDriverWait(browser, PATIENCE_S).until(lambda driver: driver.execute_script(undrawn) == 0)
        return browser

    return open_at


def cells(browser, column):
    """The texts of a column of the rows that are shown."""
    shown = "[...document.querySelectorAll('#table tbody tr:not([hidden])')]"
    code = f"return {shown}.map(row => row.cells[arguments[0]].textContent)"
    return browser.execute_script(code, column)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_report_fits(opened, width, dark):
    """Nothing is wider than the screen, nothing was logged or asked for, and every plot has its marks."""
    browser = opened(width, dark=dark)
    figures = browser.execute_script(
        "return [...document.querySelectorAll('figure')]"
        ".map(figure => [figure.dataset.kind, figure.querySelectorAll('svg path').length])"
    )

    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert [] == [item for item in browser.get_log("browser") if item["level"] in ("SEVERE", "WARNING")]
    assert [] == browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert {"mult-adds", "memory-access", "params", "accuracy"} <= {kind for kind, _ in figures}
    assert [] == [kind for kind, paths in figures if paths < 3]
    background = browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert ("rgb(20, 24, 31)" if dark else "rgb(255, 255, 255)") == background


@pytest.mark.slow
def test_the_table_sorts_and_filters(opened):
    """A heading sorts by number, again the other way round; the filter keeps rows with every word."""
    browser = opened(DESK)
    heads = [
        find_element.text.split("\n")[0]
        for find_element in browser.find_elements("css selector", "#table thead th button")
    ]
    at = heads.index("latency")
    button = browser.find_elements("css selector", "#table thead th button")[at]

    def values():
        return [float(text.strip("≈! ")) for text in cells(browser, at)]

    button.click()
    assert sorted(values()) == values()
    button.click()
    assert sorted(values(), reverse=True) == values()
    browser.find_element("id", "filter").send_keys("cpu 128")
    assert ["128", "128"] == cells(browser, heads.index("res"))
    assert "2 of 6 rows" == browser.find_element("id", "count").text


@pytest.mark.slow
def test_the_keyboard_reaches_rows_and_plots(opened):
    """Arrow keys move from row to row, and the row's mark stands out in its device's plots."""
    from selenium.webdriver.common.keys import Keys

    browser = opened(DESK)
    browser.execute_script("document.querySelector('#table tbody tr').focus()")
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    row = browser.switch_to.active_element.get_attribute("data-variant")
    second = browser.execute_script("return document.querySelectorAll('#table tbody tr')[1].dataset.variant")
    code = "return views.filter(([, device]) => device === 'cpu').map(([view]) => view.signal('picked'))"

    assert second == row
    assert {row} == set(browser.execute_script(code))


@pytest.mark.slow
def test_the_pointer_names_the_variant(opened):
    """Over a mark, a tooltip names the variant and its latency with its marks of doubt."""
    from selenium.webdriver.common.action_chains import ActionChains

    browser = opened(DESK)
    marks = browser.find_elements("css selector", "figure[data-kind='mult-adds'][data-device='cpu'] .points_marks path")
    recorded = []
    for mark in marks:
        ActionChains(browser).move_to_element(mark).perform()
        recorded.append(browser.find_element("id", "tip").text)

    assert 5 == len(marks)
    assert any(text.startswith("v1-a0.25-r224\nlatency: ≈ 1.10 ! ms") for text in recorded)

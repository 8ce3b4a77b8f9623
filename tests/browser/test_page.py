# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a mesh in a real Chromium: by keyboard, on a phone, in the dark, with 300 hosts."""

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.plugin_utils import _status_page, _status_problems

from tests.browser.chromium import Chromium
from tests.unit.plugins.plugin_utils.meshes import Fleet, peer

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
#: Where the focus is: the row's name, and the column's.
FOCUS = """
const cell = document.activeElement, row = cell.closest('tr');
if (!row) return [cell.tagName, cell.id];
const head = document.querySelectorAll('#grid thead th')[cell.dataset.c];
return [row.querySelector('th').textContent, head.textContent];
"""
#: The texts that are seen, with the contrast to what is behind them (WCAG 2.2, section 1.4.3).
CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (c) => c.slice(0, 3).map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const c = rgb(getComputedStyle(at).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const ratio = (a, b) => {
  const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
  if (['SCRIPT', 'STYLE', 'NOSCRIPT', 'title'].includes(element.tagName)) continue;
  const style = getComputedStyle(element);
  const isGlyph = element.classList.contains('glyph');
  const back = isGlyph ? rgb(getComputedStyle(element.previousSibling).fill) : behind(element);
  const fore = rgb(element.namespaceURI.endsWith('svg') ? style.fill : style.color);
  found.push([element.tagName + '.' + element.className, ratio(fore, back)]);
}
for (const edge of document.querySelectorAll('.edge')) {
  // What is no text has to have 3 (section 1.4.11).
  const value = ratio(rgb(getComputedStyle(edge).stroke), behind(edge));
  found.push([edge.className.baseVal, value * 1.5]);
}
return found;
"""


@pytest.fixture(scope="module")
def started() -> t.Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def browser(started: Chromium) -> t.Iterator[Chromium]:
    """A browser that was told nothing by the page's console, and asked nobody for anything."""
    started.media(prefers_color_scheme="light")
    yield started
    assert started.logs() == []
    assert [url for url in started.requests() if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("pages")


def write(folder: pathlib.Path, fleet: Fleet, name: str = "mesh.html") -> pathlib.Path:
    mesh = fleet.mesh()
    path = folder / name
    path.write_text(
        _status_page.render(mesh, _status_problems.find_problems(mesh)), encoding="utf-8"
    )
    return path


def troubled() -> Fleet:
    """Five hosts that show every state."""
    fleet = Fleet("alice", "bob", "carol", "dave", "erin")
    fleet.cut("alice", "bob")
    fleet.see("bob", "carol", "stale")
    fleet.cut("alice", "dave", "punching")
    fleet.cut("carol", "dave", "unknown")
    fleet.cut("bob", "dave", "stale")
    fleet.lose("erin", message="connect timed out")
    return fleet


@pytest.fixture(scope="module")
def small(folder: pathlib.Path) -> pathlib.Path:
    return write(folder, troubled(), "small.html")


@pytest.fixture(scope="module")
def large(folder: pathlib.Path) -> pathlib.Path:
    fleet = Fleet.of(300)
    fleet.lose("peer7")
    fleet.cut("peer3", "peer4")
    for number in range(20, 50):
        fleet.cut("peer9", f"peer{number}")
    return write(folder, fleet, "large.html")


def test_the_first_screen_says_what_is_wrong(browser, small):
    browser.open(small, width=360, height=640)
    texts = browser.run(
        "return [...document.querySelectorAll('#problems-title, #problems li')]"
        ".filter((e) => e.getBoundingClientRect().bottom < innerHeight)"
        ".map((e) => e.innerText)"
    )
    assert texts[0].endswith("errors, 2 warnings")
    assert "erin cannot be reached by Ansible" in texts[1]


def test_arrow_keys_walk_the_matrix_and_the_details_follow(browser, small):
    browser.open(small)
    browser.run("document.getElementById('find').focus()")
    browser.press("Tab")
    assert browser.run(FOCUS) == ["registry", "registry"]
    browser.press("Down", "Right", "Right")
    assert browser.run(FOCUS) == ["alice", "bob"]
    details = browser.run("return document.getElementById('details').innerText")
    assert "alice → bob" in details
    assert "unreachable" in details
    assert "no handshake with 192.0.2.30:40112" in details
    browser.press("Home")
    assert browser.run(FOCUS) == ["alice", "From ↓"]
    assert "198.51.100.10:61907" in browser.run(
        "return document.getElementById('details').innerText"
    )
    browser.press("End", held="Ctrl")
    assert browser.run(FOCUS) == ["erin", "erin"]
    browser.press("Home", held="Ctrl")
    assert browser.run(FOCUS) == ["registry", "From ↓"]
    browser.press("Up", "Left")
    assert browser.run(FOCUS) == ["registry", "From ↓"]
    stops = "return document.querySelectorAll('#grid [tabindex=\"0\"]').length"
    assert browser.run(stops) == 1
    browser.press("Tab")
    assert browser.run(FOCUS) == ["DIV", "details"]


def test_the_focus_is_seen_and_the_page_moves_with_it(browser, small):
    browser.open(small, width=360, height=640)
    browser.run("document.getElementById('find').focus()")
    browser.press("Tab", "End", "Down")
    inside, outline = browser.run(
        "const cell = document.activeElement, box = cell.getBoundingClientRect();"
        "return [box.top >= 0 && box.bottom <= innerHeight && box.right <= innerWidth,"
        " getComputedStyle(cell).outlineStyle + getComputedStyle(cell).outlineWidth]"
    )
    assert inside
    assert outline == "solid3px"


def test_a_click_tells_of_a_link_from_both_ends(browser, small):
    browser.open(small)
    browser.click("#grid tbody tr:nth-child(3) td[data-c='4']")
    details = browser.run("return document.getElementById('details').innerText")
    for part in ("bob → carol", "stale", "The other way", "direct", "registry sees carol at"):
        assert part in details


def test_a_click_on_the_map_leads_to_the_host(browser, small):
    browser.open(small)
    browser.run(
        "[...document.querySelectorAll('#map-drawing g')]"
        ".find((g) => g.querySelector('title').textContent === 'bob')"
        ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert browser.run(FOCUS) == ["bob", "From ↓"]


def test_screen_readers_are_told_rows_columns_and_states(browser, small):
    browser.open(small)
    tree = browser.tree()
    named = {(node["role"], node["name"]) for node in tree}
    assert ("grid", "Matrix") in named
    assert ("columnheader", "carol") in named
    assert ("rowheader", "carol") in named
    assert ("gridcell", "unreachable") in named
    assert ("gridcell", "no answer") in named
    assert ("image", "Map") in named
    headings = [node["name"] for node in tree if node["role"] == "heading"]
    assert headings[0] == "Mesh example.com."
    assert headings[1].endswith("errors, 2 warnings")
    live = browser.run("return document.querySelector('[aria-live]').id")
    assert live == "details"
    summary = "return document.querySelector('main, #summary').id"
    assert browser.run(summary) == "summary"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough_by_day_and_by_night(browser, small, scheme):
    browser.media(prefers_color_scheme=scheme)
    browser.open(small)
    browser.click("#grid tbody tr:nth-child(3) td[data-c='4']")
    back = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")
    found = browser.run(CONTRAST)
    assert len(found) > 80
    assert [each for each in found if each[1] < 4.5] == []


def test_states_differ_by_more_than_their_colour(browser, small):
    browser.open(small)
    edges = browser.run(
        "return [...document.querySelectorAll('#map-drawing .edge')]"
        ".map((e) => getComputedStyle(e).strokeDasharray)"
    )
    assert len(edges) == len(set(edges)) == 6
    signs = browser.run(
        "return [...document.querySelectorAll('#grid td')]"
        ".map((e) => [e.ariaLabel, e.innerText[0]])"
    )
    by_state = dict(map(tuple, signs))
    assert len(by_state) == len(set(by_state.values())) == 7


@pytest.mark.parametrize("width", [320, 400])
@pytest.mark.parametrize("name", ["small", "large"])
def test_a_phone_scrolls_in_one_direction_only(browser, request, name, width):
    browser.open(request.getfixturevalue(name), width=width, height=700)
    assert browser.run("return document.documentElement.scrollWidth") == width
    sticky = browser.run(
        "const box = document.getElementById('grid-box'), head = box.querySelector('tbody th');"
        "box.scrollLeft = 10000; return head.getBoundingClientRect().left"
        " - box.getBoundingClientRect().left"
    )
    assert 0 <= sticky <= 2
    small_targets = browser.run(
        "return [...document.querySelectorAll('#grid td:not(.gap td), nav a, input')]"
        ".map((e) => e.getBoundingClientRect()).filter((b) => b.height < 24 && b.width > 0).length"
    )
    # Check boxes have labels, which are larger (WCAG 2.2, section 2.5.8).
    assert small_targets <= 1


def test_nothing_moves_by_itself(browser, small):
    browser.media(prefers_reduced_motion="reduce")
    browser.open(small)
    moving = browser.run(
        "return [...document.querySelectorAll('*')].map((e) => getComputedStyle(e))"
        ".filter((s) => s.animationName !== 'none' || s.scrollBehavior !== 'auto'"
        " || Number.parseFloat(s.transitionDuration) > 0).length"
    )
    assert moving == 0


def test_hostile_names_are_shown_and_not_run(browser, folder):
    fleet = Fleet("alice", "bob")
    fleet.part("alice")["peers"].append({**peer("phone"), "name": HOSTILE})
    fleet.see("alice", "bob", "stale", reason=HOSTILE, endpoint=HOSTILE)
    fleet.part("alice")["directory"]["zone"] = HOSTILE
    browser.open(write(folder, fleet))
    assert browser.run("return document.title").startswith("Mesh example.com., </script><script>")
    browser.click("#grid tbody tr:nth-child(2) td[data-c='4']")
    browser.click("#grid tbody tr:nth-child(2) td[data-c='3']")
    assert HOSTILE[:40] in browser.run("return document.getElementById('details').innerText")
    assert browser.run("return document.images.length + document.scripts.length") == 2


def test_the_policy_forbids_other_scripts(started, small):
    started.open(small)
    started.run(
        "const s = document.createElement('script'); s.textContent = \"document.title = 'owned'\";"
        "document.body.append(s);"
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.com/x\">');"
    )
    assert started.run("return document.title") == "Mesh example.com."
    violations = [line for line in started.logs() if "Content Security Policy" in line]
    assert len(violations) == 2
    assert not any("example.com" in url for url in started.requests())


def test_three_hosts_that_are_well(browser, folder):
    browser.open(write(folder, Fleet("alice", "bob")))
    text = browser.run("return document.body.innerText")
    assert "No problems" in text
    assert browser.run("return document.querySelectorAll('#grid tbody td').length") == 9


@pytest.mark.parametrize("fleet", [Fleet(), Fleet("alice")], ids=["one", "two"])
def test_the_smallest_meshes(browser, folder, fleet):
    browser.open(write(folder, fleet))
    assert browser.run("return document.querySelectorAll('#map-drawing .node').length") == len(
        fleet.names
    )


def test_three_hundred_hosts_open_within_two_seconds(browser, large):
    browser.open(large)
    loaded = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
    times = [browser.run(loaded)]
    # The machine may have been busy with something else.
    while times[-1] >= 2000 and len(times) < 3:
        browser.open(large)
        times.append(browser.run(loaded))
    assert min(times) < 2000, times
    elements = browser.run("return document.querySelectorAll('*').length")
    assert elements < 20_000


def test_of_three_hundred_hosts_those_with_trouble_are_shown_first(browser, large):
    browser.open(large)
    assert browser.run("return document.getElementById('only').checked")
    shown = browser.run("return document.getElementById('shown').innerText")
    assert shown == "34 of 300 hosts, 34 of 300 peers"
    nodes = browser.run("return document.querySelectorAll('#map-drawing .node').length")
    assert nodes == 35
    assert "35 hosts" not in browser.run("return document.getElementById('map-text').innerText")


def test_all_of_three_hundred_hosts_are_reached_by_keyboard(browser, large):
    browser.open(large)
    browser.click("#only")
    assert browser.run("return document.getElementById('grid').ariaRowCount") == "301"
    browser.run("document.getElementById('find').focus()")
    browser.press("Tab")
    browser.press("End", held="Ctrl")
    assert browser.run(FOCUS) == ["peer299", "peer299"]
    assert browser.run("return document.activeElement.parentElement.ariaRowIndex") == "301"
    browser.press("PageUp", "Left")
    row, column = browser.run(FOCUS)
    assert 270 < int(row.removeprefix("peer")) < 295
    assert column == "peer298"
    inside = browser.run(
        "const box = document.getElementById('grid-box').getBoundingClientRect();"
        "const cell = document.activeElement.getBoundingClientRect();"
        "const head = document.querySelector('#grid thead').getBoundingClientRect();"
        "return cell.top >= head.bottom - 2 && cell.bottom <= box.bottom + 2"
        " && cell.right <= box.right + 2"
    )
    assert inside


def test_the_focus_survives_that_its_row_is_scrolled_away(browser, large):
    browser.open(large)
    browser.click("#only")
    browser.click("#grid tbody tr:nth-child(3) td[data-c='2']")
    before = browser.run(FOCUS)
    browser.run("document.getElementById('grid-box').scrollTop = 6000")
    browser.run("return new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    assert browser.run(FOCUS) == before
    rows = "return document.querySelectorAll('#grid tbody tr[data-r]').length"
    assert browser.run(rows) < 60
    browser.press("Down")
    assert browser.run(FOCUS) != before


def test_a_host_is_found_by_its_name(browser, large):
    browser.open(large)
    browser.click("#only")
    browser.click("#find")
    browser.press(*"peer29")
    wanted = ["peer29", *(f"peer29{number}" for number in range(10))]
    names = "return [...document.querySelectorAll('#grid tbody th')].map((e) => e.textContent)"
    # The page waits for the next key a little.
    deadline = time.monotonic() + 10
    while (found := browser.run(names)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)

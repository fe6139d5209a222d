"""The page: its summary comes first, it shows the whole document, and a browser renders it well."""

from __future__ import annotations

import re
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from connector.core import status
from connector.operations.health import Health
from connector.operations.page import page
from connector.operations.status import HELD_UP, Status
from tests import browser
from tests.operations.documents import REFUSED, document
from tests.patience import patience


class _Reader(HTMLParser):
    """Reads the text of each element that has an id, the tags that are open, and every address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self._open == [], "not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        if tag not in {"meta", "path", "br"}:
            self._open.append((tag, given.get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name is not None:
                self.texts[name] = self.texts.get(name, "") + data


def test_each_state_is_said_in_words() -> None:
    right, wrong = _Reader(page(document())), _Reader(page(document(held_up=True)))

    assert right.texts["state"].startswith("Right")
    assert wrong.texts["state"].startswith("Not ready")
    assert REFUSED in wrong.texts["state"]
    assert f"6 partitions held up: {HELD_UP['operator']} operator" in wrong.texts["state"]


@pytest.mark.parametrize(
    ("health", "held_up", "word"),
    [
        (Health(None, ()), {}, "right"),
        (Health(None, ()), {"outage": 6}, "held up"),
        (Health(None, ("starting",)), {"outage": 6}, "not ready"),
        (Health("it hangs", ("starting",)), {}, "hung"),
    ],
)
def test_state_is_the_worst_there_is_with_every_message(health: Health, held_up: dict[str, int], word: str) -> None:
    shown = Status({"build": {}}, lambda: health, lambda: {"held_up": held_up, "records": 1})()

    assert shown["state"]["word"] == word
    assert shown["state"]["messages"] == [*([health.not_live] if health.not_live else []), *health.not_ready]
    assert [each["partitions"] for each in shown["held_up"]] == list(held_up.values())
    assert (shown["build"], shown["records"]) == ({}, 1)


def test_every_reason_of_a_pause_has_its_words() -> None:
    assert set(HELD_UP) == {*status.REASONS, "schema"}


def test_what_the_document_has_is_on_the_page() -> None:
    shown = document()
    text = page(shown)
    texts = _Reader(text).texts

    assert "11,020,611" in texts["fates"]
    assert [name for name in shown["amazon"]["statuses"] if name not in texts["answers"]] == []
    assert [name for name in shown["dead_letters"]["reasons"] if name not in texts["reasons"]] == []
    for letter in shown["dead_letters"]["newest"]:
        assert letter["record"] in texts["newest"]
        assert letter["detail"] in texts["newest"]
    for row in shown["partitions"]:
        assert f"{row['partition']}running{row['committed']:,}{row['lag']:,}{row['unresolved']:,}" in texts["partitions"]
    assert [name for name in shown["settings"] if name not in texts["settings"]] == []
    assert [each["records"] for each in shown["schemas"] if each["mapping"] not in texts["schemas"]] == []
    for part in ("advertising-api-eu.amazon.com", "version 1.4.0", "up 26 h", "6,120,411 keys, 690 MB", "94 ms / 1.3 s"):
        assert part in text
    assert "not Amazon" not in text


def test_destination_that_is_not_amazons_is_marked() -> None:
    destination = {**document()["destination"], "host": "sandbox:8081", "is_amazon": False, "dataset": "shop"}
    text = page(document(destination=destination))

    assert "to sandbox:8081 <strong class=warn>not Amazon</strong>" in text
    assert "data set shop" in text


def test_what_others_wrote_is_text_on_the_page() -> None:
    bad = "<script>alert(1)</script>&\"'"
    shown = document(
        group=bad,
        settings={bad: bad},
        schemas=[{"schema": bad, "records": bad, "mapping": bad}],
        state={"word": "not ready", "live": True, "ready": False, "messages": [bad]},
    )
    shown["dead_letters"]["newest"][0] |= {"detail": bad, "record": bad, "reason": bad}
    shown["amazon"]["statuses"][bad] = {"recent": 1, "since_start": 1}
    shown["adjustments"][bad] = 1
    text = page(shown)

    assert bad not in text
    assert text.count(escape(bad)) >= 11
    assert "script" not in _Reader(text).tags


def test_page_needs_no_script_and_no_other_file() -> None:
    reader = _Reader(page(document()))

    assert reader.tags & {"script", "link", "img", "iframe", "object", "form"} == set()
    assert sorted(reader.addresses) == ["/livez", "/metrics", "/readyz", "/status.json"]
    assert "url(" not in page(document())
    assert "@import" not in page(document())
    assert page(document()).count("<svg") == 4


def test_connector_that_has_just_started_has_a_page() -> None:
    history = {name: [] if isinstance(line, list) else line for name, line in document()["history"].items()}
    amazon = dict.fromkeys(document()["amazon"]) | {"statuses": {}}
    letters: dict[str, Any] = {"reasons": {}, "newest": []}
    text = page(document(recent_seconds=0.0, uptime_seconds=0.1, history=history, amazon=amazon, dead_letters=letters,
                         partitions=[], schemas=[], adjustments={}, filtered={}))  # fmt: skip

    assert "none is assigned to this member" in text
    assert "no request yet" in text


# ---- in a browser

_MEASURE = """<!doctype html><body style="margin:0"><iframe style="border:0;width:{width}px;height:2400px" srcdoc="{page}">
</iframe><script>onload = () => {{
  const seen = document.querySelector("iframe").contentDocument, root = seen.documentElement
  document.body.dataset.widths = [root.scrollWidth, root.clientWidth]
  document.body.dataset.state = seen.querySelector("#state h2").textContent
  document.body.dataset.background = getComputedStyle(seen.body).backgroundColor
  const paths = [...seen.querySelectorAll("svg path")]
  const tiles = [...seen.querySelectorAll(".tiles div")]
  document.body.dataset.cut = tiles.filter(it => it.scrollWidth > it.clientWidth).length
  document.body.dataset.drawn = paths.filter(it => it.getBoundingClientRect().width > 50).length
}}</script></body>"""
"""A window of a browser is at least 500 pixels wide, so the page is put into a frame of the width wanted."""


_NEARLY_EMPTY = 30_000
"""Bytes of a picture."""


@pytest.mark.parametrize(
    ("name", "width", "scheme", "background"),
    [("wide-light", 1000, 1, "rgb(246, 247, 249)"), ("narrow-dark", 360, 0, "rgb(20, 23, 27)")],
)
def test_browser_shows_the_page_within_its_width(
    tmp_path: Path, name: str, width: int, scheme: int, background: str
) -> None:
    shown = page(document(held_up=name == "narrow-dark"))
    (tmp_path / "page.html").write_text(_MEASURE.format(width=width, page=escape(shown)), "utf-8")
    picture = tmp_path / f"{name}.png"
    command = [
        *(browser.found(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}"),
        *(f"--window-size={max(width, 500)},2400", f"--screenshot={picture}", "--dump-dom"),
        (tmp_path / "page.html").as_uri(),
    ]
    for _ in range(3):  # on a busy machine the picture may be taken before the frame is painted
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            timeout=patience(120),
        )  # fmt: skip
        if picture.exists() and picture.stat().st_size > _NEARLY_EMPTY:
            break
    found = dict(re.findall(r'data-(\w+)="([^"]*)"', ended.stdout.partition("<body")[2].partition(">")[0]))

    assert ended.returncode == 0, ended.stderr
    assert found.get("widths") == f"{width},{width}", "it is wider than its window"
    assert found["cut"] == "0", "a figure is wider than its tile"
    assert found["state"] == ("Not ready" if name == "narrow-dark" else "Right")
    assert found["background"] == background
    assert int(found["drawn"]) >= 8
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > _NEARLY_EMPTY, "it is nearly empty"

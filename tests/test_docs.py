"""README and docs as texts: links and cited headings exist, blocks of variables are accepted, commands and options exist."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import certifi
import pytest

from connector import assembly
from connector.__main__ import parser
from connector.cli import COMMANDS
from connector.errors import SettingsError
from tests.environment import LEAST

_CHECKOUT = Path(__file__).parents[1]
_DOCS = _CHECKOUT / "docs"
_PACKAGE = _CHECKOUT / "connector"
_PAGES = [_CHECKOUT / "README.md", *sorted(_DOCS.rglob("*.md"))]
_WIDEST = 100
_LONGEST_README = 200

_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CITED = re.compile(r"docs/[a-z0-9/-]+\.md(?:#[\w-]+)?")


def _name(page: Path) -> str:
    return str(page.relative_to(_CHECKOUT))


def _text(page: Path) -> str:
    return page.read_text("utf-8")


def _prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _FENCE.sub("", _text(page))


def _blocks(page: Path, *languages: str) -> list[str]:
    return [body for _, language, body in _FENCE.findall(_text(page)) if language in languages]


def _code(page: Path) -> list[str]:
    """Return every span and block of code."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _prose(page))
    return spans + [body for *_, body in _FENCE.findall(_text(page))]


@cache
def _anchors(page: Path) -> frozenset[str]:
    headings = re.findall(r"^#+ (.+?)$", _prose(page), re.MULTILINE)
    return frozenset(re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings)


def _leads_nowhere(target: str, start: Path) -> bool:
    path, _, anchor = target.partition("#")
    page = (start.parent / path).resolve() if path else start
    return not page.exists() or (bool(anchor) and anchor not in _anchors(page))


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)) if "://" not in target]

    assert [target for target in targets if _leads_nowhere(target, page)] == []


def test_every_page_is_led_to() -> None:
    named = set(re.findall(r"[\w/-]+\.md", (_CHECKOUT / "mkdocs.yml").read_text("utf-8")))

    assert named == {str(page.relative_to(_DOCS)) for page in _PAGES[1:]}


def _sources() -> Iterator[Path]:
    for folder in ("connector", "schemas", "tests"):
        for suffix in ("py", "avsc"):
            yield from (_CHECKOUT / folder).rglob(f"*.{suffix}")
    yield from (
        _CHECKOUT / name for name in ("pyproject.toml", "Makefile", "Dockerfile", "docker-compose.yml", "mkdocs.yml")
    )


def test_headings_cited_in_code_exist() -> None:
    cited = {(_name(source), one) for source in _sources() for one in _CITED.findall(_text(source))}

    assert len(cited) > 50
    assert sorted(one for one in cited if _leads_nowhere(one[1], _CHECKOUT / "README.md")) == []


def test_code_cites_nothing_that_is_not_here() -> None:
    elsewhere = re.compile(
        r"\(design[:,]|design\.md|contract, section|amazon-contract\.md, |\(sections? \d|\(limits, [A-Z]|\(model: "
    )
    found = [(_name(source), one) for source in _sources() for one in elsewhere.findall(_text(source))]

    assert [one for one in found if one[0] != _name(Path(__file__))] == []


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_lines_of_prose_are_not_wide(page: Path) -> None:
    lines = [line for line in _prose(page).splitlines() if not line.lstrip().startswith("|")]

    assert [line for line in lines if len(line) > _WIDEST] == []


def _prose_of_code(source: str) -> Iterator[str]:
    """Yield the lines of docstrings and comments, without pictures and tables."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from lines[node.lineno - 1 : node.end_lineno]
    yield from (line for line in lines if line.lstrip().startswith("# "))


def test_docstrings_and_comments_are_not_wide() -> None:
    wide = [
        f"{name}: {line}"
        for name, file in ((file.relative_to(_PACKAGE).as_posix(), file) for file in sorted(_PACKAGE.rglob("*.py")))
        for line in _prose_of_code(file.read_text("utf-8"))
        if len(line) > _WIDEST and not re.search(r"\S  +\S|─|==", line)
    ]
    assert wide == []


def test_readme_is_short() -> None:
    assert len(_text(_PAGES[0]).splitlines()) <= _LONGEST_README


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_files_and_modules_named_exist(page: Path) -> None:
    texts = "\n".join(_code(page))
    files = re.findall(r"(?<![\w/.-])(?:connector|docs|schemas|tests)/[\w./-]*\w/?(?![\w*])", texts)
    modules = [name.replace(".", "/") for name in re.findall(r"python -m (tests[\w.]+|connector[\w.]*)", texts)]

    assert [name for name in files if not (_CHECKOUT / name.partition("#")[0]).exists()] == []
    assert [
        name for name in modules if not list(_CHECKOUT.glob(f"{name}.py")) + list(_CHECKOUT.glob(f"{name}/__main__.py"))
    ] == []


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_tests_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:[a-z_]+/)*test_\w+\.py)`: (`test_\w+`(?:, `test_\w+`)*)", _text(page).replace("\n", " "))
    missing = [
        f"{file}: {name}"
        for file, names in named
        for name in names.replace("`", "").split(", ")
        if not re.search(rf"\bdef {name}\(", _text(_CHECKOUT / "tests" / file))
    ]

    assert missing == []
    assert len(named) == len(re.findall(r"test_\w+\.py`:", _text(page)))


def _commands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = [one for one in parser(tuple(COMMANDS))._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(commands.choices)


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_commands_and_options_exist(page: Path) -> None:
    commands = _commands()
    for name, options in re.findall(
        r"(?<![\w./-])(?:\.venv/bin/)?connector ([a-z][a-z-]*)((?: (?!&&|#)\S+)*)", "\n".join(_code(page))
    ):
        assert name in commands, f"connector {name}"
        for option in re.findall(r"(?<!\S)--[a-z-]+", options):
            assert option in commands[name]._option_string_actions, f"connector {name} {option}"


def test_blocks_of_commands_are_parsed() -> None:
    lines = [line for page in _PAGES for block in _blocks(page, "sh") for line in block.splitlines()]
    ours = [line.split()[1:] for line in lines if line.startswith("connector ")]

    assert ours
    for arguments in ours:
        parser(arguments).parse_args(arguments)  # exits where it does not know one


@pytest.mark.parametrize("command", sorted(_commands()))
def test_page_of_commands_has_every_option(command: str) -> None:
    _, _, section = _text(_DOCS / "commands.md").partition(f"\n## connector {command}\n")
    section = section.partition("\n## ")[0]
    options = {option for option in _commands()[command]._option_string_actions if option.startswith("--")} - {"--help"}

    assert set(re.findall(r"`(--[a-z-]+)", section)) == options


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (_CHECKOUT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^|[\s(])make (?:[A-Z]+=\S+ )?([a-z][a-z-]*)", "\n".join(_code(page)), re.MULTILINE)

    assert set(named) <= targets


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stand-ins for the files that blocks name, by the end of the variable."""
    directory = tmp_path_factory.mktemp("named")
    key, certificate, secret = directory / "client.key", directory / "client.pem", directory / "secret"
    making = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=client -days 1 -keyout"
    subprocess.run([*making.split(), key, "-out", certificate], check=True, capture_output=True)
    secret.write_text("user:secret")
    return {
        "_CA_LOCATION": Path(certifi.where()),
        "_CERTIFICATE_LOCATION": certificate,
        "_KEY_LOCATION": key,
        "AVRO_SCHEMA_FILE": _CHECKOUT / "schemas/conversion_event.avsc",
        "_FILE": secret,
    }


def _environments() -> Iterator[tuple[str, str]]:
    for page in _PAGES:
        for number, block in enumerate(_blocks(page, "env")):
            yield f"{_name(page)}-{number}", block


@pytest.mark.parametrize("block", [pytest.param(block, id=name) for name, block in _environments()])
def test_block_of_variables_is_accepted(block: str, files: dict[str, Path]) -> None:
    given = dict(re.findall(r"^ *([A-Z][A-Z_]*)=(\S+)$", block, re.MULTILINE))
    assert len(given) == len(block.split()), "one variable a line, and nothing else"
    for name, value in given.items():
        if value.startswith("/"):
            given[name] = str(next(path for end, path in files.items() if name.endswith(end)))

    assembly.read_settings(_completed(given))


def _completed(given: dict[str, str]) -> dict[str, str]:
    others = dict(LEAST)
    if any(name.startswith(("AMAZON_CLIENT_SECRET", "AMAZON_REFRESH_TOKEN")) for name in given):
        del others["AMAZON_ACCESS_TOKEN"]
    if "AVRO_SCHEMA_FILE" in given:
        del others["SCHEMA_REGISTRY_URL"]
    return others | given


_VARIABLES = {
    name for page in _PAGES for name in re.findall(r"\b(?:KAFKA|AMAZON|SCHEMA_REGISTRY)_[A-Z_]*[A-Z]\b", _text(page))
}


@pytest.mark.parametrize("variable", sorted(_VARIABLES))
def test_variable_named_is_known(variable: str) -> None:
    unknown = ("is not a setting", "No such configuration property", "has no property")

    assert [problem for problem in _problems({variable: "anything"}) if any(text in problem for text in unknown)] == []


def _problems(more: dict[str, str]) -> list[str]:
    try:
        assembly.read_settings(LEAST | more)
    except SettingsError as error:
        return error.problems
    return []


def test_first_screen_has_two_commands() -> None:
    (block,) = re.findall(r"## Try it\n\n```\n(.*?)```", _text(_PAGES[0]), re.DOTALL)

    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make demo", "make test"]


class _Loaded(HTMLParser):
    """Collects what a browser loads with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"link": "href", "script": "src", "img": "src", "iframe": "src"}.get(tag)
        self.addresses += [value for name, value in attrs if name == wanted and value]


def test_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    built = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr

    loaded = _Loaded()
    for page in site.rglob("*.html"):
        loaded.feed(page.read_text("utf-8"))
    assert (site / "search/search_index.json").exists()
    assert loaded.addresses
    assert [address for address in loaded.addresses if "//" in address] == []
    assert not list(site.rglob("*.lock"))

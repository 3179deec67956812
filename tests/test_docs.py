"""What helps people find the way: pages and their links, the commands they show, completion in shells."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from imfcodec.cli import cli, run

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
TEXTS += sorted((ROOT / "bitstreams").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_page_is_in_the_sites_navigation_and_there():
    """Read without the site's own tools, which the tests do without."""
    nav = re.search(r"^nav:\n((?:  - .*\n)+)", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)[1]
    named = re.findall(r": (\S+\.md)$", nav, re.MULTILINE)
    assert sorted(named) == [page.name for page in PAGES] and len(named) == len(nav.splitlines()) > 5


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(text):
    for target in LINK.findall(re.sub(r"^```.*?^```", "", text.read_text(), flags=re.MULTILINE | re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (text.parent / path).resolve() if path else text
        assert place.exists(), f"{text.name} links to {target}"
        if text in PAGES:
            assert place.parent == ROOT / "docs", f"{text.name}: {target} lies outside the site"
        assert not anchor or anchor in anchors(place), f"{text.name} links to {target}"


def anchors(page):
    """Names of a page's headings, as the site makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_files_that_pages_take_in_are_there():
    included = [name for page in PAGES for name in re.findall(r'^--8<-- "(.+)"$', page.read_text(), re.MULTILINE)]
    assert included and all((ROOT / name).is_file() for name in included)


@pytest.mark.parametrize("text", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_commands_that_are_shown_exist(text):
    """Every `imfcodec COMMAND --options` of a text; options as the command has them."""
    found = 0
    shown = [line for block in FENCE.findall(text.read_text()) for line in block.splitlines()]
    for words in (shlex.split(part, comments=True) for line in shown for part in line.split("|")):
        if words[:1] != ["imfcodec"] or len(words) < 2:
            continue
        command = cli.commands.get(words[1])
        assert command is not None, f"{text.name}: imfcodec {words[1]}"
        known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        used = {word.partition("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)}
        assert used <= known, f"{text.name}: {' '.join(words)}"
        found += 1
    assert found > 5 or text.name not in ("README.md", "guide.md")


def test_the_readme_names_every_command():
    table = (ROOT / "README.md").read_text()
    missing = [name for name in cli.commands if not re.search(rf"^\| .*`{name}\b.*\|.*\|$", table, re.MULTILINE)]
    assert not missing


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete "), ("zsh", "#compdef imfcodec"), ("fish", "complete ")]
)
def test_completion_scripts_ask_the_command(shell, mark, capsys):
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert mark in script and f"_IMFCODEC_COMPLETE={shell}_complete" in script


def test_commands_and_options_are_completed(monkeypatch, capsys):
    complete = ShellComplete(cli, {}, "imfcodec", "_IMFCODEC_COMPLETE")
    assert [item.value for item in complete.get_completions([], "enc")] == ["encode"]
    assert [item.value for item in complete.get_completions(["encode"], "--struct")] == ["--structure"]
    assert "low-delay" in [item.value for item in complete.get_completions(["encode", "--structure"], "")]
    monkeypatch.setenv("_IMFCODEC_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", "imfcodec dem")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        run([])
    assert {"demo", "demux"} <= set(capsys.readouterr().out.split())


def test_every_command_and_option_says_what_it_does():
    """Manual pages and the reference are made of this."""
    for name, command in cli.commands.items():
        assert command.help, name
        for param in command.params:
            assert not isinstance(param, click.Option) or param.help, f"{name} {param.name}"

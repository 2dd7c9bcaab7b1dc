"""The pictures in the documentation are small, all shown, described, and legible in the dark."""

import re
from xml.etree import ElementTree

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "pictures"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DRAWINGS = [path for path in sorted(FOLDER.glob("*.svg")) if path.name != "demo.svg"]


def images(text: str) -> list[tuple[str, str, str]]:
    """The picture for the dark, the picture and its alternative text, of each on a page."""
    html = r'(?:<source media="\(prefers-color-scheme: dark\)" srcset="(\S+)">\n)?<img src="(\S+)"'
    found = re.findall(html + r' alt="([^"]*)">', text)
    return found + [("", path, alt) for alt, path in re.findall(r"!\[(.*?)\]\((.+?)\)", text)]


SHOWN = [(page, *image) for page in PAGES for image in images(page.read_text())]


def test_pictures_take_less_than_a_megabyte_and_a_half():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


def test_every_picture_is_shown_and_every_shown_picture_exists():
    paths = [page.parent / path for page, dark, path, _ in SHOWN for path in (dark, path) if path]
    assert set(paths) == set(FOLDER.iterdir())


def test_every_image_is_one_that_these_tests_find():
    tags = sum(len(re.findall("<img|!\\[", page.read_text())) for page in PAGES)
    assert len(SHOWN) == tags > 0


def test_every_picture_has_an_alternative_text():
    assert [(page.name, path) for page, _, path, alt in SHOWN if len(alt.split()) < 4] == []


def test_light_and_dark_pictures_come_in_pairs():
    wrong = [
        (page.name, path)
        for page, dark, path, _ in SHOWN
        if path.endswith(".webp")
        and (not path.endswith("-light.webp") or dark != path.replace("-light.", "-dark."))
    ]
    assert wrong == []


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.stem)
def test_drawing_has_the_style_of_the_others_and_a_title(drawing):
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.parse(drawing).getroot()
    first = ElementTree.parse(DRAWINGS[0]).getroot()
    style = root.find(f"{svg}style").text
    assert style == first.find(f"{svg}style").text and "prefers-color-scheme: dark" in style
    assert root.find(f"{svg}title").text
    classes = set(" ".join(e.get("class", "") for e in root.iter()).split())
    assert {name for name in classes if f".{name} " not in style} == set()

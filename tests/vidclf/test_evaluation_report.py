"""Pages of evaluations: what they say is what was counted, they need nothing from elsewhere, and a browser is content."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tests.evaluated import dataset, question, untrained
from vidclf.config import ReportingConfig
from vidclf.evaluation import comparison, report
from vidclf.evaluation.approaches import approach
from vidclf.evaluation.comparison import Comparison
from vidclf.evaluation.judge import answer
from vidclf.evaluation.metrics import evaluate
from vidclf.evaluation.paired import compare_pairs
from vidclf.evaluation.report import charts, choose
from vidclf.evaluation.verdict import Verdict, verdict
from vidclf.snapshot import dataset_store
from vidclf.storage import Store

HOSTILE = "<script>alert('label')</script>"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True)
class Judged:
    """Two models on the same videos, one of which is right about half of them."""

    store: Store  # the dataset's
    verdicts: list[Verdict]
    compared: Comparison


def knowing(verdict_: Verdict, name: str, wrong: set[int]) -> Verdict:
    """The same verdict of a model that is right, but for the videos at the places ``wrong``."""
    videos = verdict_.tally.videos
    truth = videos["label_id"].to_numpy()
    said = np.where(np.isin(np.arange(len(truth)), list(wrong)), 1 - truth, truth)
    likely = np.full((len(truth), 2), 0.2, np.float32)
    likely[np.arange(len(truth)), said] = 0.8 + 0.01 * np.arange(len(truth))
    column = pa.array(list(likely), pa.list_(pa.float32()))
    place = videos.column_names.index("probabilities")
    tallied = replace(verdict_.tally, videos=videos.set_column(place, videos.schema.field(place), column))
    judged = evaluate(tallied, verdict_.classes, verdict_.evaluation.coverage)
    return replace(verdict_, question=replace(verdict_.question, name=name), tally=tallied, evaluation=judged)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    folder = tmp_path_factory.mktemp("reported")
    dataset(folder, {"test": 4}, failed=2)
    asked = question(folder, untrained(folder))
    answer(asked)
    one = verdict(asked)
    verdicts = [knowing(one, "better", {0}), knowing(one, HOSTILE, {1, 2, 3, 4})]
    store = dataset_store(asked.store, asked.dataset)
    approaches = tuple(approach(found, None, None) for found in verdicts)
    compared = Comparison(
        asked.dataset, asked.snapshot_id, asked.split, 2, 2, 2, None, approaches,
        pairs=compare_pairs({found.name: found.right for found in verdicts}),
    )  # fmt: skip
    return Judged(store, verdicts, compared)


@pytest.fixture(scope="module")
def pages(judged: Judged) -> dict[str, str]:
    config = ReportingConfig(mistakes=3, gallery=5)
    caption = comparison.caption(judged.compared)
    made = {
        "comparison": report.write_report(judged.store, judged.verdicts, config, caption, judged.compared),
        "evaluation": report.write_report(judged.store, judged.verdicts[:1], config, caption),
        "gallery": report.write_gallery(judged.store, judged.verdicts[0], config),
    }
    return {name: page.decode() for name, page in made.items()}


class Elements(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def words(page: str) -> str:
    """The text of a page, a space between any two words."""
    return " ".join(Elements(page).text.split())


@pytest.mark.parametrize("name", ["comparison", "evaluation", "gallery"])
def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing(pages: dict[str, str], name: str) -> None:
    found = Elements(pages[name])
    assert not [tag for tag, _ in found.tags if tag in ("script", "link", "iframe", "object", "base", "form")]
    for _, attributes in found.tags:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "href", "poster"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/", "data:video/", "#"))
    assert "@import" not in pages[name]
    assert "url(" not in pages[name]


def test_the_numbers_of_a_page_are_those_that_were_counted(pages: dict[str, str], judged: Judged) -> None:
    text = words(pages["evaluation"])
    found = judged.verdicts[0].evaluation
    assert f"video top-1 {comparison.short(found.video_top1)} 8" in text
    assert f"macro F1 {comparison.short(found.macro_f1)} 8" in text
    assert "2 of 10 annotated videos could not be scored: 2 gone." in text
    assert "video top-1 if the missing were wrong 70.0 %" in text
    cells = re.findall(r'<td class="[^"]*" style="--share:([0-9.]+)">(\d+)</td>', pages["evaluation"])
    assert [int(number) for _, number in cells] == [number for row in found.confusion for number in row]


def test_the_most_confident_mistakes_come_first_with_what_was_said_and_true(
    judged: Judged, pages: dict[str, str]
) -> None:
    wrong = choose.mistakes(judged.verdicts[1], 3)
    ids = judged.verdicts[1].tally.videos["clip_id"].to_pylist()
    assert [one.clip_id for one in wrong] == [ids[4], ids[3], ids[2]]
    page = words(pages["comparison"])
    for one in wrong:
        assert one.said[0].labels[0][0] != one.truth
        (label, probability), *_ = one.said[0].labels
        assert f"said {label} with {100 * probability:.1f} % ; true is {one.truth}" in page.replace("%;", "% ;")
    assert pages["comparison"].count('class="frames"') >= 1 + 3 + 3  # mistakes of both, and disagreements


def test_the_two_best_disagree_where_one_alone_is_right(judged: Judged) -> None:
    apart = choose.disagreements(*judged.verdicts, 10)
    ids = judged.verdicts[0].tally.videos["clip_id"].to_pylist()
    assert {one.clip_id for one in apart} == {ids[number] for number in (0, 1, 2, 3, 4)}
    assert all(one.said[0].is_right != one.said[1].is_right for one in apart)


def test_the_tests_between_models_are_on_the_page(pages: dict[str, str], judged: Judged) -> None:
    (pair,) = judged.compared.pairs
    assert (pair.only_first, pair.only_second) == (4, 1)
    text = words(pages["comparison"])
    assert comparison.p_value(pair.exact_p) in text
    assert "Accuracy against cost" in text


def test_hostile_names_are_text(pages: dict[str, str]) -> None:
    assert HOSTILE not in pages["comparison"]
    assert HOSTILE in Elements(pages["comparison"]).text


def test_a_page_is_as_large_as_it_may_be_and_says_what_it_left_out(judged: Judged) -> None:
    small = report.write_report(judged.store, judged.verdicts, ReportingConfig(max_mb=0.05), "few", judged.compared)
    assert len(small) <= 50_000
    assert "did not fit on this page" in small.decode()


def test_many_classes_are_a_picture() -> None:
    confusion = np.eye(400, dtype=int).tolist()
    assert charts.picture(confusion).startswith("data:image/png;base64,")
    assert len(charts.picture(confusion)) < 100_000


def test_the_charts_are_figures_too(judged: Judged, tmp_path: Path) -> None:
    for name, figure in report.figures(judged.verdicts[0]).items():
        figure.savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    comparison.cost_figure(judged.compared).savefig(tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 5000


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (Debian: apt install chromium)")


def complaints(page: str, folder: Path, *options: str) -> tuple[list[str], Path]:
    """What a browser's console says about a page, and a picture of it."""
    file, picture = folder / "page.html", folder / "page.png"
    file.write_text(page)
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", *options,
        f"--user-data-dir={folder / 'profile'}", f"--screenshot={picture}", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line], picture


@pytest.mark.thorough
@needs_browser
@pytest.mark.parametrize("name", ["comparison", "evaluation", "gallery"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark on a phone"])
def test_a_browser_opens_it_without_a_complaint(pages: dict[str, str], name: str, dark: bool, tmp_path: Path) -> None:
    look = ["--blink-settings=preferredColorScheme=0", "--window-size=400,900"] if dark else ["--window-size=1200,900"]
    said, picture = complaints(pages[name], tmp_path, *look)
    assert said == []
    with Image.open(picture) as image:
        ground = np.asarray(image.convert("L"))[5, 5]
    assert (ground < 60) if dark else (ground > 200)


@pytest.mark.slow
@needs_browser
def test_a_browsers_complaint_would_be_heard(pages: dict[str, str], tmp_path: Path) -> None:
    spoilt = pages["gallery"].replace("</main>", "<img src='https://example.org/a.png'></main>")
    assert complaints(spoilt, tmp_path)[0]

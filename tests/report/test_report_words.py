"""The report's words: what to trust, what was interpreted, and what each figure is."""

import re
import subprocess

import numpy as np
import pytest

import iin_jax
from iin_jax.analysis.base import Finding, verdict_of
from iin_jax.analysis.certificate import CertificateAnalysis, CertificateRecord
from iin_jax.analysis.judged_swaps import SwapAnalysis
from iin_jax.analysis.leakage import LeakageAnalysis, LeakageRecord, ProbeFigures
from iin_jax.analysis.swap_findings import between, reached, swap_findings
from iin_jax.analysis.swaps import OfSwap, SwapRecord
from iin_jax.files.machine import commit
from iin_jax.report import facts, figures, write
from tests.conftest import ROOT, normal

MEASURES = {"digit": "accuracy", "stroke": "mean_abs_error"}


def both(first, second):
    """Values for the swap of digit and for that of stroke, transferred and kept."""
    return {
        "digit": OfSwap(first[0], {"stroke": first[1]}),
        "stroke": OfSwap(second[0], {"digit": second[1]}),
    }


def judged(digit=0.85, stroke=0.3, floor=None, **options):
    """A record in which a swap of digit gives ``digit``, one of stroke ``stroke``."""
    wide = (digit - 0.01, 1.01)
    return SwapRecord(
        swap=both((digit, 0.25), (stroke, 0.9)),
        swap_counts=both((9, 9), (9, 9)),
        swap_intervals=both((wide, None), (None, None)),
        floor=floor or {"digit": 0.9, "stroke": 0.2},
        floor_counts={"digit": 9, "stroke": 9},
        measure=MEASURES,
        swap_pairs=9,
        unedited=both((0.1, 0.2), (1.2, 0.9)),
        value_ranges={"stroke": (1.5, 6.25)},
        **options,
    )


def test_a_swap_reaches_a_share_of_what_its_judge_can_tell():
    record = judged(digit=0.7, stroke=0.45)
    assert reached(record, "digit", "digit") == pytest.approx(0.6 / 0.8)
    assert reached(record, "stroke", "stroke") == pytest.approx(0.75 / 1.0)
    assert reached(record, "digit", "stroke") == pytest.approx(0.95 / 1.0)
    blind = judged(floor={"digit": 0.9, "stroke": 0.8})
    assert reached(blind, "stroke", "stroke") is None


@pytest.mark.parametrize(
    ("options", "verdicts"),
    [
        ({}, {"digit": "holds", "stroke": "holds"}),
        ({"digit": 0.6}, {"digit": "in part", "stroke": "holds"}),
        ({"stroke": 1.0}, {"digit": "holds", "stroke": "fails"}),
        (
            {"floor": {"digit": 0.9, "stroke": 0.8}},
            {"digit": "open", "stroke": "open"},
        ),
    ],
)
def test_every_concept_has_a_verdict(options, verdicts):
    findings = swap_findings(judged(**options))
    given = {
        line.partition(":")[0]: finding.verdict
        for finding in findings
        for line in finding.details
    }
    assert given == verdicts
    assert "never saw T" in findings[0].text


def test_shares_of_the_way_give_verdicts():
    verdicts = [verdict_of(x) for x in (1.1, 0.8, 0.79, 0.5, 0.49, -1.0)]
    assert verdicts == ["holds", "holds", "in part", "in part", "fails", "fails"]


def test_real_values_have_a_unit_and_a_figure_without_edit():
    section = SwapAnalysis().section(judged())
    table = section.tables[0]
    rows = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    moved = rows["stroke: stroke transferred"]
    assert moved["measure"] == "error ↓; values 1.50 to 6.25"
    assert moved["no edit"] == "1.200" and moved["ceiling"] == "0.200"
    assert rows["digit: digit transferred"]["95 %"] == "84.0 % to 100.0 %"
    for name in ("ceiling", "no edit", "reached"):
        assert any(line.startswith(f"{name}:") for line in section.notes)


def test_shares_end_at_one_and_errors_do_not():
    assert between((-0.1, 1.1), "accuracy") == "0.0 % to 100.0 %"
    assert between((0.5, 1.25), "mean_abs_error") == "0.500 to 1.250"


def test_a_card_without_unedited_figures_still_has_its_table():
    record = SwapRecord.of({**judged().entries(), "unedited": None})
    assert record is not None and swap_findings(record) == []
    assert "reached" not in SwapAnalysis().section(record).tables[0].head


def test_a_concept_that_another_factor_holds_is_named():
    def probes(figure):
        return ProbeFigures(figure, 0.1, 0.1, 0.1, "accuracy", 9, 9, 9, 9)

    shares = {"a": (0.9, 0.1), "b": (0.15, 0.9), "residual": (0.8, 0.12)}
    leakage = {
        factor: {"a": probes(a), "b": probes(b)} for factor, (a, b) in shares.items()
    }
    findings = LeakageAnalysis().section(LeakageRecord(leakage, 9, 9)).findings
    by_verdict = {finding.verdict: list(finding.details) for finding in findings}
    assert by_verdict.keys() == {"fails", "holds"}
    assert by_verdict["fails"][0].startswith("a: 90.0 % from its own factor")
    assert "80.0 % from another (residual)" in by_verdict["fails"][0]
    assert by_verdict["holds"][0].startswith("b:")


@pytest.mark.parametrize(
    ("measured", "wrong"),
    [
        ({}, []),  # a scorecard of before
        ({"compiled_max_abs": 1e-6, "network_compiled_max_abs": 1e-4}, []),
        ({"compiled_max_abs": 0.01, "network_compiled_max_abs": 0.01}, ["T"]),
        ({"compiled_max_abs": 1e-6, "network_compiled_max_abs": 0.9}, ["the network"]),
        ({"compiled_max_abs": float("nan")}, ["T"]),
    ],
)
def test_wrong_compiled_results_are_a_finding(measured, wrong):
    record = CertificateRecord(1e-6, 1e-6, "float32", 9, 9, "flow", **measured)
    section = CertificateAnalysis().section(record)
    first, *others = section.findings
    assert first.verdict == "holds"
    assert [finding.verdict for finding in others] == ["fails"] * len(wrong)
    for finding, name in zip(others, wrong, strict=True):
        assert finding.text.startswith(f"Compiled results of {name} differ")
    assert len(section.tables[0].rows) == 2 + len(measured)


def test_the_worst_comes_first_and_training_in_vain_is_said():
    card = {"training": {"start_bits_per_dim": 2.0, "step": 0, "steps": 70}}
    section = iin_jax.analysis.Section(
        "", findings=[Finding("holds", "x"), Finding("in part", "y")]
    )
    findings = facts.all_findings([section], card)
    assert [finding.verdict for finding in findings] == ["fails", "in part", "holds"]
    assert "none of 70 steps" in findings[0].text


def test_a_training_that_made_swaps_worse_is_said():
    bits = {"held_out_bits_per_dim": 2.0, "gaussian_bits_per_dim": 2.0}
    training = {**bits, "start_bits_per_dim": 2.0, "step": 0, "steps": 70}
    training |= {"swaps": 0.6, "start_swaps": 0.75}
    (finding,) = facts.all_findings([], {"training": training})
    assert finding.verdict == "fails" and "none of 70 steps" not in finding.text
    assert "60.0 %" in finding.text and "75.0 % of those of T_0" in finding.text
    assert "swaps held-out latents better" in (facts.kept_state(training) or "")
    training |= {"step": 30, "swaps": 0.8}
    assert not facts.all_findings([], {"training": training})
    assert "after step 30" in (facts.kept_state(training) or "")


@pytest.mark.parametrize(
    ("step", "words"), [(30, "after step 30 of 70"), (70, "The last state")]
)
def test_it_says_which_state_was_kept(step, words):
    bits = {"held_out_bits_per_dim": 1.5, "gaussian_bits_per_dim": 2.0}
    kept = facts.kept_state({**bits, "step": step, "steps": 70}) or ""
    assert words in kept and "1.50 bits per dimension" in kept
    assert ("lowest loss" in kept) == (step < 70)
    assert facts.kept_state({}) is None


@pytest.fixture(scope="module")
def page(interpreter, images, tmp_path_factory):
    card = {
        **judged().entries(),
        "seed": 7,
        "commit": "0123abc",
        "split": "test",
        "test_images": 40,
        "split_images": {"train": 100, "test": 40},
    }
    labels = {"digit": np.arange(8) % 3}
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write(interpreter, images, labels, path, scorecard=card).read_text()


def test_the_first_lines_say_what_it_is_and_what_to_trust(page):
    top = re.sub(r"<[^>]+>", " ", page[page.index("<h1>") : page.index("<h2>")])
    for words in (
        "latent z, has 8 numbers",
        "digit (3) and color (2)",
        "the residual (3)",
        "what to trust, and what failed",
        "✓ holds",
        "Swaps of digit and stroke between images work.",
    ):
        assert words in top, words


def test_the_page_says_how_it_was_made(page):
    for words in ("0123abc", "7 (of every random draw)", "100 of train", "40 of test"):
        assert words in page, words
    assert "pairs with an image in common" in page


def test_no_cell_is_lost_on_a_narrow_page(page):
    table = page[page.index('<table class="headed') :]
    table = table[: table.index("</table>")]
    heads = re.findall(r"<th>([^<]*)</th>", table)
    for row in re.findall(r"<tr><td.*?</tr>", table):
        assert re.findall(r'data-head="([^"]*)"', row) == heads
    assert "@media print" in page and "(max-width: 640px)" in page


def test_a_classifiers_report_promises_no_edited_image(interpreter, images, tmp_path):
    def encode(weights, x):
        return x.reshape(len(x), -1) @ weights

    network = iin_jax.networks.from_functions(
        encode,
        lambda weights, z: z,
        normal((192, 8)),
        image_shape=(8, 8, 3),
        output="logits",
    )
    labels = {"digit": np.arange(8) % 3}
    path = tmp_path / "report.html"
    write(interpreter.with_network(network), images, labels, path)
    page = path.read_text()
    assert "this report shows none that is edited" in page
    for promise in ("decoded to an image", "<h2>Swaps", "<h2>Interpolations", "swap_"):
        assert promise not in page


def test_gaps_set_real_images_apart(interpreter, images):
    shown = figures.interpolations(interpreter, images[:2], images[2:4], "digit", 3)
    (drawn,) = shown.axes[0].get_images()
    canvas, gap = np.asarray(drawn.get_array()), 2
    assert canvas.shape[:2] == (16, 8 * 5 + 2 * gap)
    np.testing.assert_allclose(canvas[:8, :8], (images[0] + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(canvas[:8, -8:], (images[2] + 1) / 2, atol=1e-6)
    assert (canvas[:, 8 : 8 + gap] == 1).all() and (canvas[:, -10:-8] == 1).all()
    assert len(shown.axes[0].get_lines()) == 2


def test_a_flat_grey_image_stays_grey():
    figure = figures._mosaic(np.zeros((1, 1, 8, 8, 1)))
    assert figure.axes[0].get_images()[0].get_clim() == (0.0, 1.0)


def test_every_bar_and_line_of_scores_has_a_legend():
    bounds = {"a": (1.0, 3.0)}
    drawn = figures.sizes_and_scores(
        {"a": 2, "residual": 6}, {"a": 2.0}, bounds, bounds
    )
    texts = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert texts == ["score", "its 95 % interval", "paired at random, 95 %"]


def test_the_commit_is_that_of_the_checkout():
    line = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    assert (commit() or "").startswith(done.stdout.strip())

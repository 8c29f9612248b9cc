"""Every config in smoke size, through all stages, on data of its kind."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import iin_jax
from iin_jax.concepts import factor_sizes
from iin_jax.runs import configs
from iin_jax.runs.command import main, parse
from iin_jax.runs.evaluation import evidence_of
from iin_jax.runs.run import Run
from iin_jax.training.log import MetricsLog
from tests.conftest import ROOT
from tests.data.prepared_sets import write_set

REAL = ROOT.parent / "shared" / "data" / "tfds"
WEIGHTS = ROOT.parent / "shared" / "weights"
ELSEWHERE = {"digits", "sketches", "squeezenet_color"}  # tests of their own
SMALL = ("--smoke", "--data.limit", "200", "--evaluate.pairs", "40")
COUNTS = {"train": 120, "validation": 40, "test": 40}
NAMES = ("Eyeglasses", "Male", "No_Beard", "Smiling")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of sets: real ones linked, CIFAR-10 and CelebA written for the test."""
    folder = tmp_path_factory.mktemp("sets")
    for name in ("mnist", "fashion_mnist"):
        if (REAL / name).is_dir():
            (folder / name).symlink_to(REAL / name)
    rng = np.random.default_rng(0)
    write_set(
        folder,
        "cifar10",
        {
            part: [
                {"id": f"{part}_{i}", "image": png(blob(rng, 32, 32)), "label": i % 10}
                for i in range(COUNTS[part])
            ]
            for part in ("train", "test")
        },
    )
    attributes = tfds.builder("celeb_a", data_dir=folder).info.features
    write_set(
        folder,
        "celeb_a",
        {
            part: [face(rng, attributes, i) for i in range(n)]
            for part, n in COUNTS.items()
        },
    )
    return folder


def blob(rng, height, width):
    """A picture of one colour with a brighter square in it."""
    image = np.full((height, width, 3), rng.integers(0, 200, 3), np.uint8)
    row, column = rng.integers(0, height - 8), rng.integers(0, width - 8)
    image[row : row + 8, column : column + 8] += 50
    return image


def png(image):
    """As a file in memory: TFDS encodes arrays with TensorFlow only."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    file.seek(0)
    return file


def face(rng, features, index):
    values = {name: bool(rng.integers(2)) for name in features["attributes"]}
    marks = dict.fromkeys(features["landmarks"], 1)
    return {
        "image": png(blob(rng, 218, 178)),
        "attributes": values,
        "identity": {"Identity_No": index},
        "landmarks": marks,
    }


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """name -> folder of a finished smoke run; each is run once."""
    runs = {}

    def run(name, *flags):
        if "mnist" in name and not REAL.is_dir():
            pytest.skip("no ../shared folder with real data")
        if name not in runs:
            runs[name] = tmp_path_factory.mktemp(name) / "run"
            where = ("--data.root", str(root), "--workdir", str(runs[name]))
            assert main([name, *SMALL, *where, *flags]) == 0
        return runs[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IIN_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("IIN_JAX_WEIGHTS", str(WEIGHTS))
        yield run


def card_of(folder):
    return json.loads((folder / "scorecard.json").read_text())


def test_no_config_is_forgotten():
    tested = {"mnist", "fashionmnist", "cifar10", "celeba", "folder"}
    tested |= {"colormnist", "colormnist_classifier", "celeba_attributes", "shortcut"}
    assert set(configs.names()) == tested | ELSEWHERE


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("mnist", marks=pytest.mark.slow),
        pytest.param("fashionmnist", marks=pytest.mark.slow),
        pytest.param("cifar10", marks=pytest.mark.slow),
        pytest.param("celeba", marks=pytest.mark.slow),
    ],
)
def test_without_concepts(finished, name):
    distance = (
        "--evaluate.distance",
        "squeezenet1_1",
        "--evaluate.distance-size",
        "32",
    )
    folder = finished(name, *(distance if name == "mnist" else ()))
    card = card_of(folder)
    assert card["sizes"] == {"residual": 64} and "swap" not in card
    assert card["certificate"]["round_trip_max_abs"] < 1e-3
    assert card["peak_memory_mb"] > 100
    assert card["latents"]["images_per_second"] > 0
    interpreter = iin_jax.load(folder)
    assert interpreter.network.channels == (1 if "mnist" in name else 3)
    assert (folder / "figures" / "generated.png").is_file()
    if name == "mnist":
        rows = {"samples", "samples_without_flow", "reconstructions"}
        assert set(card["distances"]) == rows
        protocol = card["distances"]["samples"]["frechet"]["protocol"]
        assert protocol["network"] == "squeezenet1_1" and protocol["resize"] == 32
        assert protocol["images"] == protocol["reference_images"] == 200
        assert "without T" in (folder / "report.html").read_text()


def run_of(name, folder, root):
    """The run that ``finished`` made."""
    flags = [*SMALL, "--data.root", str(root), "--workdir", str(folder)]
    experiment = parse(configs.find(name), flags).experiment
    return Run.of(name, experiment, folder, "")


@pytest.mark.slow
def test_colormnist(finished, root):
    folder = finished("colormnist")
    card = card_of(folder)
    assert list(card["sizes"]) == ["digit", "color", "residual"]
    assert set(card["linear"]["color"]["others_kept"]) == {"digit"}
    errors, interpreter = card["truth_l1"]["color"], iin_jax.load(folder)
    a, b = run_of("colormnist", folder, root).concepts.swap_sides()
    grey = a.variants[a.variant] / 255.0
    truth = np.float32(2 * grey * b.rgb[:, None, None, :] - 1)
    for name, made in {
        "reconstructed": interpreter.decode(interpreter.encode(truth)),
        "unedited": interpreter.decode(interpreter.encode(a.images())),
        "edited": interpreter.swap(a.images(), b.images(), ["color"]),
    }.items():
        expected = np.abs(np.asarray(made) - truth).mean() / 2
        assert errors[name] == pytest.approx(expected, rel=1e-4), name
    assert {"figure", "mlp", "nearest"} <= set(card["leakage"]["residual"]["digit"])
    paired = card["test_pairs"]
    assert paired["pairs"] == 500 and set(paired["scores"]) == {"digit", "color"}
    assert factor_sizes(paired["scores"], 64).as_dict() == paired["sizes"]
    assert card["judges"]["digit"]["held_out_accuracy"] is not None
    assert card["test_images"] == 200


@pytest.mark.slow
def test_colormnist_classifier(finished, root):
    folder = finished("colormnist_classifier")
    card, run = card_of(folder), run_of("colormnist_classifier", folder, root)
    assert card["measure"] == {"digit": "accuracy", "color": "mean_abs_error"}
    assert card["swap"]["color"]["transferred"] > 0.0  # read in z: logits show none
    judge, (a, b) = evidence_of(run).judges["digit"], run.concepts.swap_sides()
    interpreter = iin_jax.load(folder)
    halves = (interpreter.translate(interpreter.encode(x.images())) for x in (a, b))
    z = interpreter.untranslate(interpreter.layout.swap(*halves, ["digit"]))
    seen = interpreter.decode(z) if judge.looks_at == "output" else z
    wanted = run.images.dataset.labels["digit"][b.item]
    right = (judge.read(seen) == wanted).mean()
    assert card["swap"]["digit"]["transferred"] == pytest.approx(right, abs=1e-6)


@pytest.mark.slow
def test_shortcut_is_two_runs_and_one_page(finished, root, capsys):
    folder = finished("shortcut")
    follows = {}
    for name in ("shortcut", "random"):
        card = card_of(folder / name)
        assert set(card["response"]) == {"digit", "color"}
        color = card["response"]["color"]
        assert set(color["by_class"]) == {str(digit) for digit in range(10)}
        assert 1 / 2001 <= color["p_value"] <= 1.0 and color["null"] == "values"
        report = (folder / name / "report.html").read_text()
        assert "Does the network use it" in report
        settings = json.loads((folder / name / "config.json").read_text())
        follows[name] = settings["experiment"]["network"]["color_follows"]
    assert follows == {"shortcut": 0.95, "random": 0.0}
    page = (folder / "report.html").read_text()
    assert "network.color_follows 0.95" in page
    assert page.count("the network of &#39;") + page.count("The network of &#39;") == 4
    capsys.readouterr()
    where = ("--data.root", str(root), "--workdir", str(folder))
    assert main(["shortcut", *SMALL, *where]) == 0
    assert capsys.readouterr().out.count("nothing to do") == 2


def test_runs_side_by_side_leave_the_folder_of_a_run_alone(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert main(["shortcut", "--smoke", "--workdir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "is the folder of one run, and shortcut makes several" in error
    assert error.count("\n") == 1 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_celeba_attributes_are_read_by_judges_of_pictures(finished):
    card = card_of(finished("celeba_attributes"))
    assert tuple(card["sizes"]) == (*NAMES, "residual")
    for name in NAMES:
        assert set(card["swap"][name]["others_kept"]) == set(NAMES) - {name}
        assert card["measure"][name] == "accuracy"


@pytest.mark.slow
def test_a_reused_classifier_makes_no_pictures_to_measure(finished, root, capsys):
    flags = [*SMALL, "--data.root", str(root), "--workdir", str(root / "reusing")]
    flags += ["--network.from", str(finished("colormnist_classifier"))]
    flags += ["--network.kind", "autoencoder", "--network.perceptual", "none"]
    flags += ["--evaluate.distance", "squeezenet1_1"]
    assert main(["colormnist_classifier", *flags]) == 2
    assert "makes none: set --evaluate.distance none" in capsys.readouterr().err


@pytest.mark.slow
def test_lpips_in_an_autoencoder_of_an_experiment(tmp_path, monkeypatch, shared):
    pytest.importorskip("torch")  # its heads are PyTorch's files
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(shared / "weights"))
    flags = ["--data.image-size", "32", "--network.perceptual", "squeeze"]
    flags += [
        "--network.discriminator",
        "batch",
        "--network.discriminator-start",
        "0.5",
    ]
    flags += ["--data.limit", "200", "--workdir", str(tmp_path)]
    assert main(["digits", "--smoke", *flags]) == 0
    lines = MetricsLog.read(tmp_path, "network")
    assert all(line["perceptual"] > 0.0 for line in lines)
    assert "discriminator" in lines[-1] and "discriminator" not in lines[0]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty squares of two shapes, with attributes of every kind, some missing."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    lines = ["image,kind,size,shade"]
    for index in range(80):
        kind, size = index % 2, int(rng.integers(8, 24))
        shade = float(rng.uniform(0.4, 1.0))
        image = np.zeros((40, 40, 3), np.uint8)
        start = 20 - size // 2
        width = size if kind else size // 2
        image[start : start + size, start : start + width] = int(255 * shade)
        Image.fromarray(image).save(folder / f"{index}.png")
        shown = "" if index % 10 == 0 else f"{shade:.4f}"
        lines.append(f"{index}.png,{('wide', 'tall')[kind]},{size / 40:.3f},{shown}")
    (folder / "attributes.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    "continuous",
    [
        pytest.param("quantile", marks=pytest.mark.slow),
        pytest.param("sigma", marks=pytest.mark.slow),
    ],
)
def test_your_own_folder(pictures, tmp_path, continuous):
    flags = ["--data.root", str(pictures), "--workdir", str(tmp_path / "run")]
    flags += ["--data.attributes", str(pictures / "attributes.csv")]
    flags += ["--data.image-size", "32", "--network.discriminator", "none"]
    flags += ["--concept.continuous", continuous, "--concept.bins", "3"]
    if continuous == "sigma":
        flags += ["--latents.mode", "stream", "--latents.augment.shift", "0.05"]
    assert main(["folder", "--smoke", *flags]) == 0
    card = card_of(tmp_path / "run")
    assert set(card["sizes"]) == {"kind", "size", "shade", "residual"}
    assert card["measure"] == {
        "kind": "accuracy",
        "size": "mean_abs_error",
        "shade": "mean_abs_error",
    }
    assert 0 < card["swap_counts"]["shade"]["transferred"] < card["swap_pairs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist", "--smoke", "--data.root", "nowhere"], "iin_jax.data.prepare mnist"),
        (["folder"], "--data.root (your images) and --data.attributes"),
        (["mnist", "--data.attributes", "x.csv"], "set --data.source folder"),
        (["mnist", "--concept.sizes", "3"], "need concepts: set --concept.source"),
        (["mnist", "--network.squared", "2"], "network.squared is a share"),
        (["digits", "--concept.names", "digits"], "did you mean digit"),
        (["digits", "--network.perceptual", "squeeze"], "needs images of 32 pixels"),
        (
            ["digits", "--data.image-size", "32", "--network.perceptual", "squeeze"],
            "(--network.perceptual none trains without LPIPS)",
        ),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    assert main([*arguments, "--workdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()

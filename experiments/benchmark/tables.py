"""The figures of a benchmark as Markdown."""

from collections.abc import Iterable
from typing import Any

from experiments.benchmark.cases import STEPS

NAMES: dict[str, str] = {
    "jax": "JAX",
    "torch_eager": "torch eager",
    "torch_compile": "torch.compile",
}


def markdown(results: dict[str, Any]) -> str:
    """The most important figures; the JSON file has all of them."""
    parts = [_head(results), _times(results), _sides(results), _where(results)]
    return "\n\n".join(part for part in parts if part)


def _head(results: dict[str, Any]) -> str:
    options, sides = results["options"], results["sides"]
    versions = {k: v for side in sides.values() for k, v in side["versions"].items()}
    described = ", ".join(f"{name} {version}" for name, version in versions.items())
    proof = "; ".join(
        f"{NAMES[side]}: loss {error['loss']:.1e}, gradients {error['gradients']:.1e}"
        for side, error in results["equality"].items()
    )
    return (
        f"{described}; {sides['jax']['device']}, {results['cores']} cores; products in "
        f"{options['precision']} precision, PyTorch's Adam: {options['adam']}.\n"
        f"Largest errors against JAX, relative to max(1, |value|): {proof}.\n"
        "Milliseconds per call: median [least - most] of "
        f"{options['repetitions']} measurements in turns."
    )


def _times(results: dict[str, Any]) -> str:
    sides = list(results["sides"])
    others = [side for side in sides if side != "jax"]
    head = ["case", "batch", *(f"{NAMES[side]}, ms" for side in sides)]
    head += [f"{NAMES[side]} / JAX" for side in others]
    rows = []
    for timed in _by_case(results):
        ours = timed["jax"]
        row = [ours["case"], _batch(ours), *(_spread(timed[side]) for side in sides)]
        for side in others:
            ratio = timed[side]["median_seconds"] / ours["median_seconds"]
            row.append(f"{ratio:.2f}")
        rows.append(row)
    return _table(head, rows)


def _sides(results: dict[str, Any]) -> str:
    head = ["side", "compile, s", "memory at start, MB", "at its peak, MB"]
    head += ["peak of a matrix product, GFLOP/s", "threads"]
    rows = []
    for side, figures in results["sides"].items():
        measured = [row for row in results["measurements"] if row["side"] == side]
        threads = sorted({row["threads"] for row in measured})
        rows.append(
            [
                NAMES[side],
                f"{figures['compile_seconds']:.1f}",
                f"{figures['memory_at_start_bytes'] / 1e6:.0f}",
                f"{figures['peak_memory_bytes'] / 1e6:.0f}",
                f"{figures['matmul_flops'] / 1e9:.0f}",
                " or ".join(map(str, threads)),
            ]
        )
    return _table(head, rows)


def _where(results: dict[str, Any]) -> str:
    """Each step as products at the measured peak, the optimiser, and the rest."""
    updates = {
        row["side"]: row["median_seconds"]
        for row in results["measurements"]
        if row["case"] == "update"
    }
    head = ["where the time goes", "batch", "side", "products at peak, ms"]
    head += ["optimiser, ms", "rest, ms", "share of peak"]
    rows = []
    for row in results["measurements"]:
        if row["case"] == "update":
            continue
        total = row["median_seconds"]
        products = row["flops"] / results["sides"][row["side"]]["matmul_flops"]
        update = updates.get(row["side"]) if row["case"] in STEPS else 0.0
        rest = None if update is None else total - products - update
        shown = [_ms(products), _ms(update), _ms(rest), f"{products / total:.0%}"]
        rows.append([row["case"], _batch(row), NAMES[row["side"]], *shown])
    return _table(head, rows) if rows else ""


def _by_case(results: dict[str, Any]) -> Iterable[dict[str, dict[str, Any]]]:
    cases: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in results["measurements"]:
        cases.setdefault((row["case"], row["batch"]), {})[row["side"]] = row
    order = list(dict.fromkeys(case for case, _ in cases))
    keys = sorted(cases, key=lambda key: (order.index(key[0]), key[1]))
    return [cases[key] for key in keys]


def _batch(row: dict[str, Any]) -> str:
    return "-" if row["case"] == "update" else str(row["batch"])


def _spread(row: dict[str, Any]) -> str:
    least, most = min(row["seconds"]), max(row["seconds"])
    return f"{_ms(row['median_seconds'])} [{_ms(least)} - {_ms(most)}]"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:#.3g}".rstrip(".")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""Command line: weights and published checkpoints to our files, and flows back.

``python -m iin_jax.convert SOURCE OUT --network NAME``

A pretrained network, or a published autoencoder or classifier, becomes a folder that
``networks.load(NAME, weights=OUT)`` or ``networks.load_network(OUT)`` reads without
PyTorch. A published flow becomes an interpreter's folder, which ``iin_jax.load`` reads;
such a folder, or a finished run, as SOURCE becomes a published checkpoint again.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from iin_jax.command_line import EXIT_BAD_INPUT, one_line
from iin_jax.convert.published_flow import load_published_flow, save_published_flow
from iin_jax.convert.published_networks import load_published_network
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.files.hints import nearest
from iin_jax.files.paths import local_path
from iin_jax.interpreter import Interpreter, load
from iin_jax.networks import ARCHITECTURES, save_network
from iin_jax.networks import load as load_pretrained
from iin_jax.weights import weights_folders

FLOW = "flow"
PUBLISHED = ("autoencoder", "classifier")


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """What is converted.

    Attributes:
      source: File to convert; for a flow that goes back, an interpreter's or a run's
        folder.
      out: Folder to write; for a flow that goes back, a file.
      network: flow, autoencoder, classifier (published checkpoints), or a pretrained
        network; --list shows them.
      layer: Layer at which a pretrained network is cut; none: a late one.
      image_size: Pixels that a pretrained network works at; none: as it was trained.
      sizes: Concepts of a published flow with their dimensions, such as digit=22
        color=11; the residual takes the rest.
    """

    source: Annotated[str, tyro.conf.Positional]
    out: Annotated[str, tyro.conf.Positional]
    network: str
    layer: str | None = None
    image_size: int | None = None
    sizes: tuple[str, ...] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if "--list" in arguments:
        print("\n".join(known()))
        return 0
    try:
        print(convert(parse(arguments)))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


def parse(arguments: Sequence[str]) -> ConvertOptions:
    """Command-line flags.

    Raises:
      ValueError: a missing or unknown one, or a value that it cannot take.
    """
    return one_line(
        lambda: tyro.cli(
            ConvertOptions,
            prog="python -m iin_jax.convert",
            description=__doc__,
            args=arguments,
        )
    )


def convert(options: ConvertOptions) -> str:
    """Converts, and says in one line what was written.

    Raises:
      ValueError: an unknown network, a source that does not hold it, a flag that has no
        meaning for it, or a target that exists already.
    """
    names = (FLOW, *PUBLISHED, *ARCHITECTURES)
    name = options.network
    source, out = local_path(options.source), local_path(options.out)
    if name not in names:
        raise ValueError(f"no network {name!r}{nearest(name, names)}")
    _check_flags(options)
    if out.exists():
        raise ValueError(f"{out} exists already; nothing was written")
    if name == FLOW and source.is_dir():
        interpreter = load(source)
        save_published_flow(out, interpreter.flow, interpreter.variables)
        sizes = " ".join(f"{k}={n}" for k, n in interpreter.layout.as_dict().items())
        return f"{out}: the flow of {source} in the published layout ({sizes})"
    if name == FLOW:
        flow, variables = load_published_flow(source)
        layout = _layout(options.sizes, flow.dim)
        Interpreter(flow, variables, layout).save(out)
        return f"{out}: a flow of {flow.dim} dimensions, {layout.as_dict()}"
    if name in PUBLISHED:
        network = load_published_network(source)
        if network.architecture != name:
            raise ValueError(f"{source} is of kind {network.architecture}, not {name}")
    else:
        network = load_pretrained(
            name, source, options.layer, image_size=options.image_size
        )
    save_network(out, network)
    return f"{out}: {network.architecture}, latents {network.latent_shape}"


def known() -> list[str]:
    """One line per network: its publisher's file, and where that lies."""
    lines = [f"{name:20s} published checkpoint" for name in (FLOW, *PUBLISHED)]
    for name, architecture in ARCHITECTURES.items():
        file = architecture.file
        if file is None:
            lines.append(f"{name:20s} (no known address; give a file)")
            continue
        folders = [
            folder for folder in weights_folders() if (folder / file.name).is_file()
        ]
        place = f"in {folders[0]}" if folders else file.url
        lines.append(f"{name:20s} {file.name} ({file.size}), {place}")
    return lines


def _check_flags(options: ConvertOptions) -> None:
    """Raises ValueError for flags that would have no effect."""
    name = options.network
    if options.sizes and name != FLOW:
        raise ValueError(f"--sizes are those of a flow; {name} has none")
    if options.sizes and local_path(options.source).is_dir():
        raise ValueError(
            f"--sizes are given for a checkpoint; {options.source} has its own"
        )
    cut = options.layer is not None or options.image_size is not None
    if cut and name not in ARCHITECTURES:
        raise ValueError(
            f"--layer and --image-size are for pretrained networks; {name} has neither"
        )


def _layout(sizes: Sequence[str], dim: int) -> FactorLayout:
    parts: dict[str, int] = {}
    for entry in sizes:
        name, equals, number = entry.partition("=")
        if not equals or not number.isdigit() or name in (*parts, RESIDUAL, ""):
            raise ValueError(
                f"--sizes takes CONCEPT=NUMBER, each concept once; got {entry}"
            )
        parts[name] = int(number)
    residual = dim - sum(parts.values())
    if residual < 0:
        raise ValueError(f"the sizes {parts} sum to more than the flow's {dim}")
    return FactorLayout({**parts, RESIDUAL: residual})


if __name__ == "__main__":
    sys.exit(main())

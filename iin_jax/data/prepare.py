"""Downloads a published data set and writes it in the form that experiments read.

``python -m iin_jax.data.prepare mnist [--root DIR]``

Only this command needs TensorFlow: ``pip install -e '.[prepare]'``.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from iin_jax.command_line import EXIT_BAD_INPUT, one_line
from iin_jax.data.tfds_files import tfds_root
from iin_jax.data.tfds_sets import SETS, prepare
from iin_jax.files.hints import nearest


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """Options of the command.

    Attributes:
      name: mnist, fashion_mnist, cifar10 or celeb_a.
      root: folder of prepared sets; without it $TFDS_DATA_DIR, else
        ~/tensorflow_datasets.
    """

    name: Annotated[str, tyro.conf.Positional]
    root: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = one_line(
            lambda: tyro.cli(
                PrepareOptions,
                prog="python -m iin_jax.data.prepare",
                description=__doc__,
                args=arguments,
            )
        )
        if options.name not in SETS:
            raise ValueError(f"no set {options.name!r}{nearest(options.name, SETS)}")
        print(prepare(options.name, tfds_root(options.root)))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())

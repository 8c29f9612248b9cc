"""Names and sizes of the factors that a translated latent is made of."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np

from iin_jax.arrays import at_least_float32
from iin_jax.files.hints import near
from iin_jax.types import Vectors

RESIDUAL = "residual"
Path = Literal["line", "arc"]  # from one value of a factor to another
STRAIGHT = 1e-3  # sine of an angle below which there is no arc to turn along


@dataclasses.dataclass(frozen=True, init=False)
class FactorLayout:
    """Which slice of ``z_tilde`` belongs to which factor, by name.

    The order of the names is their order in ``z_tilde``; the factor that holds what no
    concept names is called ``"residual"``. A size of 0 is legal: that factor is empty.
    Layouts are immutable and hashable, so they can be static arguments of ``jax.jit``.

    Args:
      sizes: name -> number of dimensions, in order.

    Raises:
      ValueError: no factor, a name that is not a non-empty string, a negative or
        fractional size, or sizes that sum to 0.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __init__(self, sizes: Mapping[str, int]):
        if not sizes:
            raise ValueError("a FactorLayout needs at least one factor; got none")
        for name, size in sizes.items():
            if not isinstance(name, str) or not name:
                raise ValueError(f"a factor's name is a non-empty string; got {name!r}")
            if (
                not isinstance(size, int | np.integer)
                or isinstance(size, bool)
                or size < 0
            ):
                raise ValueError(
                    f"the size of factor {name!r} must be an integer >= 0; got {size!r}"
                )
        object.__setattr__(self, "names", tuple(sizes))
        object.__setattr__(self, "sizes", tuple(int(size) for size in sizes.values()))
        if self.dim == 0:
            raise ValueError(f"the sizes of a FactorLayout sum to 0: {dict(sizes)}")

    def __repr__(self) -> str:
        return f"FactorLayout({self.as_dict()})"

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> int:
        return self.sizes[self.index(name)]

    @property
    def dim(self) -> int:
        """Number N of dimensions of ``z_tilde``."""
        return sum(self.sizes)

    @property
    def concepts(self) -> tuple[str, ...]:
        """All names but the residual's."""
        return tuple(name for name in self.names if name != RESIDUAL)

    @property
    def factor_of_dim(self) -> np.ndarray:
        """Factor index of every dimension of ``z_tilde``, shape (N,)."""
        return np.repeat(np.arange(len(self.names)), self.sizes)

    def as_dict(self) -> dict[str, int]:
        """name -> size, in order; ``FactorLayout(layout.as_dict()) == layout``."""
        return dict(zip(self.names, self.sizes, strict=True))

    def times(self, number: int) -> "FactorLayout":
        """The same factors, each so many times as large."""
        sizes = {name: number * size for name, size in self.as_dict().items()}
        return FactorLayout(sizes)

    def index(self, name: str) -> int:
        """Position of a factor.

        Raises:
          ValueError: no factor of that name; the message offers the nearest one.
        """
        if name not in self.names:
            hint = near(name, self.names, repr)
            raise ValueError(f"no factor {name!r} in {list(self.names)}{hint}")
        return self.names.index(name)

    def slice(self, name: str) -> slice:
        """Where a factor lies on the last axis of ``z_tilde``."""
        index = self.index(name)
        start = sum(self.sizes[:index])
        return slice(start, start + self.sizes[index])

    def split(self, z_tilde: Vectors) -> dict[str, Vectors]:
        """``z_tilde`` (..., N) -> name -> (..., N_k).

        Raises:
          ValueError: the last axis is not N long.
        """
        self._check_dim(z_tilde)
        return {name: z_tilde[..., self.slice(name)] for name in self.names}

    def merge(self, parts: Mapping[str, Vectors]) -> Vectors:
        """The inverse of ``split``; one vector of a factor stands for all.

        Args:
          parts: name -> (..., N_k), arrays or lists; leading axes broadcast.

        Raises:
          ValueError: a factor is missing, unknown or of the wrong size.
        """
        for name in parts:
            self.index(name)
        missing = [name for name in self.names if name not in parts]
        if missing:
            raise ValueError(f"merge needs every factor; missing {missing}")
        arrays = [at_least_float32(parts[name]) for name in self.names]
        for name, size, array in zip(self.names, self.sizes, arrays, strict=True):
            if array.ndim == 0 or array.shape[-1] != size:
                raise ValueError(
                    f"factor {name!r} has {size} dimensions; got shape "
                    f"{tuple(array.shape)}"
                )
        leading = [array.shape[:-1] for array in arrays]
        try:
            shape = np.broadcast_shapes(*leading)
        except ValueError:
            raise ValueError(
                "every factor has as many vectors, or one for all; got "
                f"{dict(zip(self.names, leading, strict=True))}"
            ) from None
        arrays = [jnp.broadcast_to(x, (*shape, x.shape[-1])) for x in arrays]
        return jnp.concatenate(arrays, axis=-1)

    def swap(
        self, z_tilde_a: Vectors, z_tilde_b: Vectors, names: Iterable[str]
    ) -> Vectors:
        """``z_tilde_a`` with the named factors of ``z_tilde_b``; shapes broadcast."""
        self._check_dim(z_tilde_a)
        self._check_dim(z_tilde_b)
        return jnp.where(self.mask(names), z_tilde_b, z_tilde_a)

    def interpolate(
        self,
        z_tilde_a: Vectors,
        z_tilde_b: Vectors,
        names: Iterable[str],
        *,
        steps: int,
        path: Path = "line",
    ) -> Vectors:
        """From a to b in the named factors, a's values in all others.

        Along a straight line points come nearer to 0 than draws of N(0, 1) are; an arc
        (spherical interpolation, White, 2016, arXiv 1609.04468) turns each factor on
        its own, and keeps the norm of two values that have the same.

        Args:
          z_tilde_a, z_tilde_b: (..., N).
          names: factors that move.
          steps: number of points, both ends included; at least 2.
          path: ``"line"`` or ``"arc"``.

        Returns:
          (steps, ..., N): the first is ``z_tilde_a``, the last the full swap.

        Raises:
          ValueError: an unknown factor or path, or less than two points.
        """
        if steps < 2:
            raise ValueError(f"an interpolation needs steps >= 2; got {steps}")
        if path not in get_args(Path):
            raise ValueError(f"a path is one of {get_args(Path)}; got {path!r}")
        names = names if isinstance(names, str) else tuple(names)
        mask, end = self.mask(names), self.swap(z_tilde_a, z_tilde_b, names)
        weight = jnp.linspace(0.0, 1.0, steps, dtype=end.dtype)
        weight = weight.reshape((steps,) + (1,) * end.ndim)
        if path == "line":
            moved = (1.0 - weight) * z_tilde_a + weight * end
        else:
            starts, ends = self.split(z_tilde_a), self.split(end)
            arcs = {name: _arc(starts[name], ends[name], weight) for name in self.names}
            moved = self.merge(arcs)
        return jnp.where(mask, moved, z_tilde_a)

    def mask(self, names: Iterable[str]) -> np.ndarray:
        """True at the dimensions of the named factors, shape (N,).

        Raises:
          ValueError: an unknown name, or one string where a list of names belongs.
        """
        if isinstance(names, str):
            raise ValueError(f"names is a list of factors, as [{names!r}]")
        return np.isin(self.factor_of_dim, [self.index(name) for name in names])

    def _check_dim(self, z_tilde: Vectors) -> None:
        if z_tilde.ndim == 0 or z_tilde.shape[-1] != self.dim:
            raise ValueError(
                f"the sizes {self.as_dict()} sum to {self.dim}, but the latents have "
                f"shape {tuple(z_tilde.shape)}"
            )


def _arc(start: Vectors, end: Vectors, weight: Vectors) -> Vectors:
    """Points of the arc from start to end, (steps, ..., n) for weights (steps, ..., 1).

    A line where both lie in one direction or in opposite ones, which no arc joins.
    """
    lengths = jnp.linalg.norm(start, axis=-1) * jnp.linalg.norm(end, axis=-1)
    cosine = (start * end).sum(-1) / jnp.where(lengths > 0.0, lengths, 1.0)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))[..., None]
    turns = (lengths[..., None] > 0.0) & (jnp.sin(angle) > STRAIGHT)
    angle = jnp.where(turns, angle, 1.0)
    from_start = jnp.sin((1.0 - weight) * angle) / jnp.sin(angle)
    from_end = jnp.sin(weight * angle) / jnp.sin(angle)
    return jnp.where(
        turns,
        from_start * start + from_end * end,
        (1.0 - weight) * start + weight * end,
    )

"""What gives images the manner of a sketch: the contract, and who fulfils it."""

from collections.abc import Callable
from typing import Any, Protocol

from iin_jax.concepts.sketches.neural import Neural
from iin_jax.concepts.sketches.transport import Transport
from iin_jax.files.hints import nearest
from iin_jax.types import Array, Images


class Styliser(Protocol):
    """Gives images the manner of a sketch; any function of this form is one.

    One with an attribute ``settings``, a text that changes with all that its results
    depend on, has these kept in the cache folder. One with an attribute ``most``, a
    number, stylises so many images unless more are asked for.
    """

    def __call__(self, images: Images, sketch: Array, /) -> Images:
        """Stylised images, (n, H, W, C) in [-1, 1].

        Args:
          images: (n, H, W, C) in [-1, 1].
          sketch: (H, W, C) in [-1, 1], of the size and channels of the images.
        """
        ...


MOST = 5000  # images that are stylised unless the styliser or the user says otherwise

STYLISERS: dict[str, Callable[..., Styliser]] = {
    "transport": Transport,
    "neural": Neural,
}


def styliser_of(given: str | Styliser, seed: int) -> Styliser:
    """The styliser of a name, or the function itself.

    Args:
      given: a key of ``STYLISERS``, or a styliser.
      seed: of a named one.

    Raises:
      ValueError: an unknown name, or what cannot be called.
    """
    if isinstance(given, str):
        if given not in STYLISERS:
            raise ValueError(
                f"unknown styliser {given!r}{nearest(given, STYLISERS)}; there are "
                f"{list(STYLISERS)}, or any function of images and a sketch"
            )
        return STYLISERS[given](seed=seed)
    if not callable(given):
        raise ValueError(
            f"a styliser is one of {list(STYLISERS)} or a function of images and a "
            f"sketch; got {type(given).__name__}"
        )
    return given


def settings_of(styliser: Any) -> str | None:
    """What the results of a styliser depend on, as text; None: it does not say."""
    settings = getattr(styliser, "settings", None)
    return settings if isinstance(settings, str) else None


def most_of(styliser: Any) -> int:
    """Images that a styliser is given unless more are asked for."""
    most = getattr(styliser, "most", None)
    return most if isinstance(most, int) else MOST

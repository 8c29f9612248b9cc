"""Compiled programs, kept between processes: the second start compiles little."""

import sys

import jax
import jaxlib

from iin_jax.files.digests import text_digest
from iin_jax.files.folders import cache_of
from iin_jax.files.machine import processor

LEAST_SECONDS = 0.3  # shorter compilations are not worth a file


def keep_programs() -> None:
    """Has JAX keep what it compiles in the cache folder, unless it was told where.

    One folder for every processor and jaxlib, since code for another may not run. Not
    on macOS, where loading large programs ends some versions of jaxlib.

    Raises:
      OSError: the cache folder cannot be written.
    """
    told = jax.config.values["jax_compilation_cache_dir"]
    if told or sys.platform == "darwin":
        return
    made_for = text_digest([processor(), jaxlib.__version__])[:12]
    folder = cache_of("programs") / made_for
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # its content is code
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)

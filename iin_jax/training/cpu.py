"""What makes XLA fast on CPUs: two settings that count from a process's start."""

import os
from collections.abc import Mapping

import jaxlib

KEPT_BYTES = 2**36  # freed memory that stays with the process
# Large arrays in huge pages, and freed memory kept for the next step. XLA allocates a
# step's arrays anew; the kernel would hand them out in pages of 4 KiB, at 300,000 page
# faults a step of 1,024 pairs, and take them back after it.
MEMORY = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {
        "hugetlb": 1,
        "mmap_threshold": KEPT_BYTES,
        "trim_threshold": KEPT_BYTES,
    }.items()
)
# One pass over memory for all that is computed from the same arrays, such as Adam's
# moments and parameters: of 26.8 million, two cores take 24 ms, not 50.
MULTI_OUTPUT_FUSION = "xla_cpu_use_multi_output_fusion"
TRIED_SINCE = (0, 10)  # first jaxlib tried; earlier ones may ignore the option


def missing_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What an environment lacks for a fast start; what it has already stays.

    Args:
      environment: variables of the process.

    Returns:
      ``GLIBC_TUNABLES`` and ``XLA_FLAGS``, those that have to change.
    """
    variables = {}
    if "GLIBC_TUNABLES" not in environment:
        variables["GLIBC_TUNABLES"] = MEMORY
    flags = environment.get("XLA_FLAGS", "")
    if "xla_backend_extra_options" not in flags and _is_tried():
        option = f"--xla_backend_extra_options={MULTI_OUTPUT_FUSION}=true"
        variables["XLA_FLAGS"] = f"{flags} {option}".strip()
    return variables


def fuses_outputs() -> bool:
    """Whether XLA was told to fuse several outputs on CPUs."""
    return MULTI_OUTPUT_FUSION in os.environ.get("XLA_FLAGS", "") and _is_tried()


def _is_tried() -> bool:
    return tuple(map(int, jaxlib.__version__.split(".")[:2])) >= TRIED_SINCE

"""What figures were measured on: processor, cores, versions and code."""

import importlib.metadata
import os
import platform
from pathlib import Path

from iin_jax.files.digests import file_digest, text_digest

PACKAGES = ("iin_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of main memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def processor() -> str:
    """Its model, as the system names it."""
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    result = {}
    for package in PACKAGES:
        try:
            result[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            result[package] = "not installed as a package"
    return result


def code_digest() -> str:
    """Tells one version of this package's code from another, committed or not."""
    package = Path(__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    return text_digest(
        f"{file.relative_to(package).as_posix()} {file_digest(file)}" for file in files
    )

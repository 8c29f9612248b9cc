"""What figures were measured on: processor, cores, versions and code."""

import importlib.metadata
import json
import os
import platform
import subprocess
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


def commit() -> str | None:
    """Commit of this package; None if it is neither in a checkout nor installed by one.

    Uncommitted changes to the package are added in words.
    """
    package = Path(__file__).resolve().parent.parent
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return _installed_commit()
    head = _git(package, "rev-parse", "HEAD")
    changed = _git(package, "status", "--porcelain", "--", ".")
    return f"{head} with uncommitted changes" if head and changed else head


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of git in a folder; None where it fails or is missing."""
    line = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _installed_commit() -> str | None:
    """Commit that the package was installed from, as its installer noted it."""
    try:
        distribution = importlib.metadata.distribution("iin_jax")
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    return origin.get("vcs_info", {}).get("commit_id")


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

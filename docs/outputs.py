"""Run the commands of a page and write their output into it, so that no output on a page is typed by hand.

    python docs/outputs.py docs/quickstart.md docs/how-to/*.md

Each ``sh`` block runs in one shell, in a temporary folder that has `cache` and `analyses`. A ``text`` block that follows gets
the output of the block before it. Blocks marked ``bash`` do not run: they install software, or need a model hub or a cluster.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from layerscope.cache import cache_root

ROOT = Path(__file__).parents[1]

_COMMANDS = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL | re.MULTILINE)
_MARK = "<end of block>"


def filled(page: str) -> str:
    """Return a page whose text blocks have the output of the commands above them."""
    blocks = [match[1] for match in _COMMANDS.finditer(page)]
    outputs = iter(_run(blocks))

    def replace(match: re.Match[str]) -> str:
        printed = next(outputs)
        return match[0] if match[2] is None else f"```sh\n{match[1]}```\n\n```text\n{printed}```\n"

    return _COMMANDS.sub(replace, page)


def _run(blocks: list[str]) -> list[str]:
    """Return the output of each block; stop at the first command that fails."""
    script = "".join(f"{block}echo '{_MARK}'\n" for block in blocks)
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the commands of this environment
    with TemporaryDirectory() as folder:
        (Path(folder) / "cache").symlink_to(cache_root().resolve())
        (Path(folder) / "analyses").symlink_to(ROOT / "analyses")
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=folder,
            env=os.environ | {"PATH": programs},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(done.stdout)
    return done.stdout.split(f"{_MARK}\n")[:-1]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(name)

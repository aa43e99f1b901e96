"""Write the numbers of `docs/findings.md` anew from what the notebooks found, so that no number there is typed.

A number stands as `<b title="05.tau_half">…</b>`: of the notebook 05 the finding tau_half, with its interval.

    python analyses/quote.py
"""

import re
from functools import cache
from pathlib import Path

import pandas as pd

from shelf import written

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "findings.md"
KEPT = HERE / "results" / "builtin"

_QUOTED = re.compile(r'<b title="(\d\d)\.([^"]+)">[^<]*</b>')


def quoted(page: str) -> str:
    """Return a page with the numbers that the committed results have."""

    def number(match: re.Match[str]) -> str:
        found = _findings(match[1]).loc[match[2]]
        return f'<b title="{match[1]}.{match[2]}">{written(found.value, found.low, found.high)}</b>'

    return _QUOTED.sub(number, page)


@cache
def _findings(notebook: str) -> pd.DataFrame:
    (path,) = KEPT.glob(f"{notebook}_*-findings.csv")
    return pd.read_csv(path, index_col="finding")


if __name__ == "__main__":
    PAGE.write_text(quoted(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""Update the numbers of `docs/findings.md` from the notebooks' findings.

A number is marked up as `<b title="05.tau_half">…</b>`: the finding tau_half of notebook 05, with its interval, on the built-in
data; `benchmarks.05.tau_half` is the same on the real benchmark files.

    python analyses/quote.py
"""

import re
from functools import cache
from pathlib import Path

import pandas as pd

from notebook_io import written

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "findings.md"
KEPT = HERE / "results"

_QUOTED = re.compile(r'<b title="((?:(\w+)\.)?(\d\d)\.([^"]+))">[^<]*</b>')


def quoted(page: str) -> str:
    """Return a page with the numbers of the committed results."""

    def number(match: re.Match[str]) -> str:
        title, data, notebook, name = match.groups()
        finding = _findings(data or "builtin", notebook).loc[name]
        return f'<b title="{title}">{written(finding.value, finding.low, finding.high)}</b>'

    return _QUOTED.sub(number, page)


@cache
def _findings(data: str, notebook: str) -> pd.DataFrame:
    (path,) = (KEPT / data).glob(f"{notebook}_*-findings.csv")
    return pd.read_csv(path, index_col="finding")


if __name__ == "__main__":
    PAGE.write_text(quoted(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

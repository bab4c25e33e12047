"""The leaderboard for papers and programs: LaTeX with booktabs, and CSV. Its JSON is `leaderboard.as_json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from itrcore.report import formats
from itrcore.report.leaderboard import COSTS, DIRECTIONS, METRICS, PUBLISHED, Column, Row, rows
from itrcore.report.noise import NEAR
from itrcore.report.published_figures import FIGURES, KINDS
from itrcore.report.results import NOT_REAL, Results, not_real

_ESCAPED = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "–": "--"}
    | {"→": r"$\to$", "≥": r"$\geq$", "±": r"$\pm$", "−": "$-$", "∞": r"$\infty$"}
)


def as_csv(results: Results) -> str:
    """A line for each row of every data set's leaderboard, best first; what is not there is empty.

    For each of the recalls and rsum: mean over seeds, `_std` over seeds, `_low` and `_high` of the 95 % interval over images,
    `_p` of the test against the best in it, `_published`. Further metrics and costs have mean and `_std`.
    """
    lines = [_record(row) for data in results.datasets for row in rows(results, data)]
    out = io.StringIO()
    table = csv.DictWriter(out, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return out.getvalue().removesuffix("\n")


def _record(row: Row) -> dict[str, Any]:
    seeds = len(row.entries) if row.kind == "run" and not row.imported else None
    record: dict[str, Any] = {
        "data": row.data, "name": row.name, "kind": "imported" if row.imported else row.kind, "profile": row.profile,
        "features": row.features, "seeds": seeds, "collapsed": sum(entry.collapsed for entry in row.entries),
    }  # fmt: skip
    for key in (*FIGURES, *(key for key in (*METRICS, *COSTS) if key not in FIGURES)):
        value = row.values.get(key)
        record |= {key: value and value.mean, f"{key}_std": value and value.std}
        if key in FIGURES:
            low, high = row.noise.interval[key]
            record |= {f"{key}_low": low, f"{key}_high": high, f"{key}_p": row.noise.p.get(key)}
            record[f"{key}_published"] = row.published and row.published.figures.get(key)
    return record | {"published_source": row.published and row.published.source}


def as_latex(results: Results) -> str:
    r"""A `table` for each data set, for `\usepackage{booktabs}`: the best of each column bold, what is not told apart from it
    underlined. Published figures stand below their row and are neither.
    """
    return "\n\n".join(_table(results, data, rows(results, data)) for data in results.datasets)


def _table(results: Results, data: str, board: Sequence[Row]) -> str:
    first = board[0].entries[0].evaluation
    caption = [f"{data}: {first.split} split, {first.n_images:,} images, {first.n_captions:,} captions, recalls in %."]
    caption += [f"{kind.capitalize()} features. {NOT_REAL[kind]}" for kind in not_real(results.of(data))]
    several = any(len(row.entries) > 1 for row in board)
    caption += [f"Bold: the best of a column. Underlined: {NEAR} (p ≥ 0.05 in a paired permutation test over images"]
    caption[-1] += ", of the mean of a row's seeds). ±: standard deviation over seeds." if several else ")."
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escaped(' '.join(caption))}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(PUBLISHED)}}}", r"\toprule"]
    groups = [[column for column in PUBLISHED if column.group == name] for name in DIRECTIONS.values()]
    heads = [rf"\multicolumn{{{len(group)}}}{{c}}{{{_escaped(group[0].group)}}}" for group in groups]
    lines += [f" & {' & '.join(heads)} & \\\\", r"\cmidrule(lr){2-4} \cmidrule(lr){5-7}"]
    lines += [_line("method", [_escaped(column.heading) for column in PUBLISHED]), r"\midrule"]
    best = {column.key: max(row.values[column.key].mean for row in board) for column in PUBLISHED}
    for row in board:
        label = row.name + (" (imported)" if row.imported else "") + (f" ({row.collapsed})" if row.collapsed else "")
        lines.append(_line(_escaped(label), [_cell(row, column, best[column.key]) for column in PUBLISHED]))
        if row.published is not None:
            lines.append(f"% {' '.join(KINDS[row.published.kind].split())}: {' '.join(row.published.source.split())}")
            lines.append(_line(r"\quad published", [_escaped(row.published_cells(column)[0]) for column in PUBLISHED]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _line(label: str, cells: Sequence[str]) -> str:
    return f"{' & '.join([label, *cells])} \\\\"


def _cell(row: Row, column: Column, best: float) -> str:
    value = row.values[column.key]
    figure = formats.recall(value.mean)
    if figure == formats.recall(best):
        figure = rf"\textbf{{{figure}}}"
    elif row.noise.near_best(column.key):
        figure = rf"\underline{{{figure}}}"
    return figure if value.std is None else rf"{figure} {{\scriptsize $\pm$ {value.std:.1f}}}"


def _escaped(text: str) -> str:
    r"""`text` as LaTeX on one line; the few characters beside letters that tables have become commands."""
    return " ".join(text.split()).translate(_ESCAPED)

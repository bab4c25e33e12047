"""The leaderboard for papers and programs: LaTeX with booktabs, and CSV. Its JSON is `leaderboard.as_json`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from itrcore.protocols import contract
from itrcore.protocols.contract import BOTH
from itrcore.protocols.uncertainty import ALPHA
from itrcore.registry import WHOLE_SPLIT
from itrcore.report import formats
from itrcore.report.leaderboard import COSTS, Column, Row, quality, reference_cell, rows
from itrcore.report.noise import NEAR
from itrcore.report.published_figures import FIGURES, KINDS
from itrcore.report.references import HEADING, references
from itrcore.report.results import NOT_REAL, Results, not_real

_ESCAPED = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "–": "--"}
    | {"→": r"$\to$", "≥": r"$\geq$", "±": r"$\pm$", "−": "$-$", "∞": r"$\infty$"}
)


def as_csv(results: Results, protocol: str = WHOLE_SPLIT) -> str:
    """A line for each row of every data set that has the protocol, best first; what is not there is empty.

    For each of its figures: mean over seeds, `_std` over seeds; where they are known, `_low` and `_high` of the 95 % interval over
    images, `_p` of the test against the best in it; `_published`. Costs have mean and `_std`; `extrapolated` names those that were
    not measured. Of what others published, lines of the kind `reference` come last and have figures and source alone.
    """
    lines: list[dict[str, Any]] = []
    for data in results.having(protocol):
        lines += [_record(row, protocol) for row in rows(results, data, protocol)]
        lines += [
            {"data": data, "name": other.name, "kind": "reference", **other.figures, "published_source": other.source}
            for other in references(results, data, protocol)
        ]
    out = io.StringIO()
    table = csv.DictWriter(out, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return out.getvalue().removesuffix("\n")


def _record(row: Row, protocol: str) -> dict[str, Any]:
    seeds = len(row.entries) if row.kind == "run" and not row.elsewhere else None
    record: dict[str, Any] = {
        "data": row.data, "name": row.name, "kind": row.elsewhere or row.kind, "profile": row.profile,
        "features": row.features, "seeds": seeds, "collapsed": sum(entry.collapsed for entry in row.entries),
    }  # fmt: skip
    for key in (*(column.key for column in quality(protocol)), *COSTS):
        value = row.values.get(key)
        record |= {key: value and value.mean, f"{key}_std": value and value.std}
        if key in row.noise.interval:
            low, high = row.noise.interval[key]
            record |= {f"{key}_low": low, f"{key}_high": high, f"{key}_p": row.noise.p.get(key)}
        if key in FIGURES:
            record[f"{key}_published"] = row.published and row.published.figures.get(key)
    record["extrapolated"] = " ".join(sorted(row.extrapolated)) or None
    return record | {"published_source": row.published and row.published.source}


def as_latex(results: Results, protocol: str = WHOLE_SPLIT) -> str:
    r"""A `table` for each data set that has the protocol, for `\usepackage{booktabs}`.

    The best of a column is bold, and what is not told apart from it, where that is known, underlined. Published figures stand
    below their row and are neither; no more are those of reference rows, in a part of their own.
    """
    return "\n\n".join(_table(results, data, protocol) for data in results.having(protocol))


def _table(results: Results, data: str, protocol: str) -> str:
    board, described = rows(results, data, protocol), contract.protocol(protocol)
    columns = [column for column in quality(protocol) if not column.lowest]
    first = board[0].entries[0].evaluation
    title = "" if protocol == WHOLE_SPLIT else f"{described.title}, "
    caption = [f"{data}: {title}{first.split} split, {first.n_images:,} images, {first.n_captions:,} captions, in %."]
    caption += [described.note] if described.note else []
    caption += [f"{kind.capitalize()} features. {NOT_REAL[kind]}" for kind in not_real(results.of(data))]
    several = any(len(row.entries) > 1 for row in board)
    caption.append("Bold: the best of a column.")
    if protocol == WHOLE_SPLIT:
        of_mean = ", of the mean of a row's seeds" if several else ""
        caption.append(f"Underlined: {NEAR} (p ≥ {ALPHA} in a paired permutation test over images{of_mean}).")
    caption += ["±: standard deviation over seeds."] if several else []
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escaped(' '.join(caption))}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines += [*_headings(columns), _line("method", [_escaped(column.heading) for column in columns]), r"\midrule"]
    measured = [{key: value.mean for key, value in row.values.items()} for row in board]
    best = {column.key: max(means.get(column.key, -math.inf) for means in measured) for column in columns}
    for row in board:
        label = (
            row.name
            + (f" ({row.elsewhere})" if row.elsewhere else "")
            + (f" ({row.collapsed})" if row.collapsed else "")
        )
        lines.append(_line(_escaped(label), [_cell(row, column, best[column.key]) for column in columns]))
        if row.published is not None:
            lines.append(f"% {' '.join(KINDS[row.published.kind].split())}: {' '.join(row.published.source.split())}")
            lines.append(_line(r"\quad published", [_escaped(row.published_cells(column)[0]) for column in columns]))
    if others := references(results, data, protocol):
        lines += [r"\midrule", rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\emph{{{HEADING}}}}} \\"]
        for other in others:
            lines.append(f"% {' '.join(other.source.split())}")
            lines.append(_line(_escaped(other.name), [_escaped(reference_cell(other, column)) for column in columns]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _headings(columns: Sequence[Column]) -> list[str]:
    """The line of the groups of columns, and the rules below them; `both` has neither."""
    heads, rules, last = [], [], 1
    for name, group in groupby(columns, lambda column: column.group):
        first, last = last + 1, last + len(list(group))
        alone = name == BOTH
        heads.append("" if alone else rf"\multicolumn{{{last - first + 1}}}{{c}}{{{_escaped(name)}}}")
        rules += [] if alone else [rf"\cmidrule(lr){{{first}-{last}}}"]
    return [_line("", heads), " ".join(rules)]


def _line(label: str, cells: Sequence[str]) -> str:
    return f"{' & '.join([label, *cells])} \\\\"


def _cell(row: Row, column: Column, best: float) -> str:
    value = row.values.get(column.key)
    if value is None:
        return _escaped(formats.NONE)
    figure = formats.recall(value.mean)
    if figure == formats.recall(best):
        figure = rf"\textbf{{{figure}}}"
    elif row.noise.near_best(column.key):
        figure = rf"\underline{{{figure}}}"
    return figure if value.std is None else rf"{figure} {{\scriptsize $\pm$ {value.std:.1f}}}"


def _escaped(text: str) -> str:
    r"""`text` as LaTeX on one line; the few characters beside letters that tables have become commands."""
    return " ".join(text.split()).translate(_ESCAPED)

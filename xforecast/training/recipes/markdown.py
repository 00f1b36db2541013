"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["markdown_table"]


def markdown_table(rows: Sequence[Sequence[str]], *, align_right: bool = False) -> str:
    """Rows as a table, the first of them as its head.

    Parameters
    ----------
    rows : sequence of sequence of str
        Cells; as many in each row.
    align_right : bool
        All columns but the first, which suits numbers.

    Examples
    --------
    >>> print(markdown_table([["lead", "1"], ["RMSE", "0.2"]], align_right=True))
    | lead | 1 |
    |---|---:|
    | RMSE | 0.2 |
    """
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    rule = "|---" + ("|---:" if align_right else "|---") * (len(rows[0]) - 1) + "|"
    return "\n".join([head, rule, *body])

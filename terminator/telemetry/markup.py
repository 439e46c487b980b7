"""Self-contained HTML pages: the frame, the style sheet and tables that the status page and the report share.

Everything that is not markup of our own passes through `text`. Pages need no script and load nothing; they follow the
reader's light or dark setting, and tables scroll by themselves on a narrow screen.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#59636e;--line:#d5dae0;--grid:#e6e9ed;
--c1:#0b62c4;--c2:#b3540a;--c3:#1a7f4b;--c4:#8a3ffc;--bad:#b3261e;--warn:#8a5a00;--good:#1a7f4b;--fill:#0b62c433}
@media(prefers-color-scheme:dark){:root{--ground:#14171b;--panel:#1d2127;--ink:#e6e9ed;--soft:#9aa4af;--line:#363d46;
--grid:#2a3038;--c1:#6cb0ff;--c2:#f0a35e;--c3:#5fd198;--c4:#c4a1ff;--bad:#ff8a80;--warn:#f2c14e;--good:#5fd198;
--fill:#6cb0ff33}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
header,main,footer{max-width:1120px;margin:0 auto;padding:0 16px}
header{padding-top:20px}h1{font-size:1.35rem;margin:0}h2{font-size:1.08rem;margin:0 0 8px}
h3{font-size:.95rem;margin:14px 0 4px}
p{margin:4px 0}.soft{color:var(--soft)}.bad{color:var(--bad)}.warn{color:var(--warn)}.good{color:var(--good)}
section{margin:18px 0;padding:14px 16px;background:var(--panel);border:1px solid var(--line);border-radius:8px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:10px;margin:16px 0}
.tile{padding:10px 12px;background:var(--panel);border:1px solid var(--line);border-radius:8px}
.tile b{display:block;font-size:1.3rem;font-weight:600;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
.scroll{overflow-x:auto;max-width:100%}
.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--c1);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px 4px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
th{color:var(--soft);font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;white-space:nowrap}
td.n+td:not(.n),th.n+th:not(.n){padding-left:14px}
td svg{display:block}
code,pre{font:0.86em/1.4 ui-monospace,monospace}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0}
td code{overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:14px}
figure{margin:0;min-width:0}figcaption{color:var(--soft);font-size:.85rem;margin-bottom:2px}
svg{max-width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 4px 0 10px}
.k1{background:var(--c1)}.k2{background:var(--c2)}.k3{background:var(--c3)}.k4{background:var(--c4)}.kb{background:var(--bad)}
.grid{stroke:var(--grid)}.axis{stroke:var(--line)}
.l1,.l2,.l3,.l4{fill:none;stroke-width:1.6;stroke-linejoin:round}
.l1{stroke:var(--c1)}.l2{stroke:var(--c2)}.l3{stroke:var(--c3)}.l4{stroke:var(--c4)}
.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.fb{fill:var(--bad)}.area{fill:var(--fill)}
details{margin:4px 0}summary{cursor:pointer}
footer{padding-bottom:28px;color:var(--soft);font-size:.85rem}
@media(max-width:560px){body{font-size:14px}section{padding:12px}svg text{font-size:17px}
.scroll table{width:max-content;min-width:100%}td code{white-space:nowrap}td pre,td summary{max-width:76vw}}
@media print{section,.tile{break-inside:avoid}}
"""


def digest(content: str) -> str:
    """What a Content-Security-Policy allows this very style sheet or script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def document(title: str, body: str, *, head: str = "") -> str:
    """A whole page. `head` and `body` are markup; `head` comes before what is not ours, for a policy's sake."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'{head}<meta name="referrer" content="no-referrer">\n<title>{text(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """Any value as text in markup or in a quoted attribute; control characters become visible."""
    plain = str(value)
    if not plain.isprintable():
        plain = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in plain)
    return html.escape(plain)


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns whose heading begins with `#` hold numbers; cells that are `Markup` stay as they are."""
    numeric = [title.startswith("#") for title in head]
    kinds = [' class="n"' if number else "" for number in numeric]
    titles = "".join(
        f'<th scope="col"{kind}>{text(title.removeprefix("#"))}</th>' for title, kind in zip(head, kinds, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}">\n'
        f"<table><thead><tr>{titles}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )


def section(title: str, *parts: str) -> str:
    name = "".join(c if c.isalnum() else "-" for c in title.lower())
    return f'<section aria-labelledby="{name}">\n<h2 id="{name}">{text(title)}</h2>\n{"".join(parts)}</section>\n'


def tiles(items: Iterable[tuple[str, str]]) -> str:
    """Figures that are to be seen first: (value, what it is)."""
    cells = "".join(f'<div class="tile"><b>{text(value)}</b><span>{text(name)}</span></div>' for value, name in items)
    return f'<div class="tiles">{cells}</div>\n'


def figure(caption: str, plot: str, keys: Sequence[tuple[str, str]] = ()) -> str:
    """A plot with its caption; keys: (class of the mark, name)."""
    legend = "".join(f'<span class="key {mark}"></span>{text(name)}' for mark, name in keys)
    return f"<figure><figcaption>{text(caption)}{legend}</figcaption>{plot}</figure>\n"


def _cell(cell: object) -> str:
    return cell if isinstance(cell, Markup) else text(cell)

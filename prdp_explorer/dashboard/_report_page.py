"""The HTML of a report. Whatever comes from a run passes through `text`; only what is written here is markup."""

import html
import secrets
from collections.abc import Sequence
from string import Template
from typing import Any

from ._theme import PRDP_COLOR


def text(value: Any) -> str:
    """A value as text that is no markup."""
    return html.escape(str(value))


def table(rows: Sequence[Sequence[str]], head: bool = False) -> str:
    """Rows of texts as a table, the first column naming the others, the first row too if `head`."""
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows[head:]
    )
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in rows[0]) if head else ""
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="scroll" tabindex="0"><table>{top}<tbody>{body}</tbody></table></div>'


def section(heading: str, markup: str, kind: str = "") -> str:
    """A part of the page under a heading; one of the kind "tall" scrolls by itself."""
    return f'<section class="card {kind}"><h2>{text(heading)}</h2>{markup}</section>'


def page(
    *,
    title: str,
    name: str,
    headline: str,
    status: str,
    note: str,
    plots: Sequence[str],
    above: Sequence[str],
    below: Sequence[str],
    scripts: Sequence[str],
) -> str:
    """The page. `plots`, and the sections above and below them, are markup, `scripts` JavaScript, all else texts."""
    body = _REPORT.substitute(
        title=text(title),
        name=text(name),
        headline=text(headline),
        status=text(status),
        note=f'<blockquote class="card">{text(note)}</blockquote>' if note else "",
        above="".join(above),
        plots="".join(f'<figure class="card">{plot}</figure>' for plot in plots),
        below="".join(below),
    )
    return document(f"{title}, {name}", body, scripts)


def document(title: str, body: str, scripts: Sequence[str], style: str = "") -> str:
    """A page by itself with the look of a report. `title` is text, `body` markup, `style` more of its style sheet.

    Only scripts that carry the number drawn here are run, and nothing may be asked from anywhere: a second fence,
    should a text ever get past `text`.
    """
    nonce = secrets.token_urlsafe(16)
    return _DOCUMENT.substitute(
        nonce=nonce,
        color=PRDP_COLOR,
        title=text(title),
        style=style,
        body=body,
        scripts="".join(f'<script nonce="{nonce}">{script}</script>' for script in scripts),
    )


_DOCUMENT = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'nonce-$nonce'; \
style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'">
<title>$title</title>
<style>
* { box-sizing: border-box }
body { margin: 0; background: #f4f5f7; color: #1c2126; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif }
main { max-width: 1280px; margin: 0 auto; padding: 28px 20px 48px }
h1 { font-size: 26px; line-height: 1.25; margin: 0 }
h2 { font-size: 15px; margin: 0 0 8px }
p { margin: 0 }
.name, .hint { color: #5a636e; font-size: 13px; overflow-wrap: anywhere }
.headline { font-size: 18px; margin: 14px 0 4px; padding-left: 12px; border-left: 3px solid $color; max-width: 62em }
.status { color: #3c444d; margin: 0 0 18px; padding-left: 15px; overflow-wrap: anywhere }
.hint { margin: 20px 0 8px }
.card { background: #fff; border: 1px solid #dfe3e8; border-radius: 8px; padding: 16px; margin: 0; min-width: 0 }
blockquote.card { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 16px; border-left: 3px solid #8a8a8a }
figure.card { padding: 10px 8px 6px }
.grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; align-items: start }
.plots + .grid { margin-top: 16px }
.grid > :last-child:nth-child(odd) { grid-column: 1 / -1 }
.scroll { overflow-x: auto }
.tall .scroll { max-height: 680px; overflow-y: auto }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums }
th, td { text-align: left; vertical-align: top; padding: 5px 14px 5px 0; border-top: 1px solid #eceff2;
  overflow-wrap: break-word }
tbody tr:first-child > * { border-top: 0 }
thead th { border-top: 0; border-bottom: 1px solid #c9cfd6; color: #5a636e; font-weight: 600; padding-top: 0 }
tbody th { font-weight: 500; color: #3c444d; min-width: 5em }
@media (max-width: 760px) {
  main { padding: 18px 12px 32px }
  .grid { grid-template-columns: minmax(0, 1fr) }
  .card { padding: 12px }
  h1 { font-size: 22px }
  .headline { font-size: 16px }
}
@media print {
  body { background: #fff }
  .hint { display: none }
  .card { break-inside: avoid }
  .tall .scroll { max-height: none }
}
$style
</style>
</head>
<body>
<main>
$body
</main>
$scripts
</body>
</html>
""")

_REPORT = Template("""<header>
<h1>$title</h1>
<p class="name">$name</p>
<p class="headline">$headline</p>
<p class="status">$status</p>
</header>
$note
<div class="grid">$above</div>
<p class="hint">Drag a plot to move it. Tools at its right, under the pointer, zoom by a box or the wheel, reset and \
save.</p>
<div class="grid plots">$plots</div>
<div class="grid">$below</div>""")

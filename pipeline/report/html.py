"""The same report as one HTML file that needs nothing else: pictures and settings files stand inside."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

import markdown

from pipeline.report.read import Results

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1, h2, h3 { line-height: 1.2; margin-top: 1.8em; } h2 { border-bottom: 1px solid #ddd; padding-bottom: .2em; }
img { max-width: 100%; } a { color: #0366d6; } code, pre { font-size: 85%; background: #f4f4f4; }
pre { padding: 1em; overflow-x: auto; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 85%; } th, td { border: 1px solid #ddd; padding: .3em .7em; }
td > a:only-child { white-space: nowrap; }
tr:nth-child(even) { background: #f8f8f8; }
thead:not(:has(th:not(:empty))) { display: none; }
p, li { overflow-wrap: anywhere; }
@media (max-width: 600px) {
  body { font-size: 14px; margin: 1em auto; padding: 0 .7em; } h1 { font-size: 1.5em; }
  th, td { min-width: 3em; padding: .3em .5em; } td:nth-child(2) { min-width: 8em; } td:last-child { min-width: 9em; }
}
"""


def to_html(text: str, results: Results) -> str:
    """Turn the report's markdown into a whole page."""
    body = markdown.markdown(text, extensions=["tables", "toc", "sane_lists"])
    body = body.replace(" ± ", "&nbsp;±&nbsp;")  # a number is not torn apart at the end of a line
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    body = re.sub(r'href="settings/([^"]+)\.yaml"', r'href="#settings-\1"', body)
    title = re.search(r"<h1[^>]*>(.*?)</h1>", body)
    body = inline_pictures(body, results.paths.figures)  # at the end: what follows would search through all of them
    head = f"<title>{title.group(1) if title else 'Report'}</title><style>{STYLE}</style>"
    start = '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    return f"{start}{head}</head><body>\n{body}\n{settings(results)}\n</body></html>\n"


def inline_pictures(body: str, figures: Path) -> str:
    """Put PNG files into the page, and let links to figures lead to them; SVG files stay outside."""

    def inline(match: re.Match[str]) -> str:
        name = match.group(1)
        content = base64.b64encode((figures / f"{name}.png").read_bytes()).decode()
        return f'id="figure-{name}" src="data:image/png;base64,{content}"'

    body = re.sub(r',? ?\(?<a href="figures/[^"]+\.svg">SVG</a>\)?', "", body)
    body = re.sub(r'href="figures/([^"]+)\.png"', r'href="#figure-\1"', body)
    return re.sub(r'src="figures/([^"]+)\.png"', inline, body)


def settings(results: Results) -> str:
    """Every row's settings file, folded."""
    lines = ["<h2>Settings of every row</h2>"]
    for name in (*results.rows, *results.swept):
        text = html.escape(results.paths.row_settings(name).read_text(encoding="utf-8"))
        lines.append(f'<details id="settings-{name}"><summary>{name}</summary><pre>{text}</pre></details>')
    return "\n".join(lines)

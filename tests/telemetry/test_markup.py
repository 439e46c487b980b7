"""Markup of pages: what is not ours is text, and the policy's hashes are those of what stands in the page."""

from __future__ import annotations

import base64
import hashlib
import re

from terminator.telemetry.markup import STYLE, Markup, digest, document, figure, section, table, text, tiles


def test_text_is_text_in_markup_and_in_attributes() -> None:
    assert text('<a href="x">&\'') == "&lt;a href=&quot;x&quot;&gt;&amp;&#x27;"
    assert text("a\x00b\x1bc\nd") == "a\\x00b\\x1bc\nd"
    assert text("\u202egnp.exe") == "\\x202egnp.exe", "no reversal of what follows"
    assert text(7) == "7"


def test_a_table_names_its_columns_and_scrolls_by_keyboard() -> None:
    html = table("things", ("name", "#count"), [("<b>", 1), (Markup("<b>x</b>"), 2)])
    assert '<th scope="col">name</th><th scope="col" class="n">count</th>' in html
    assert "<td>&lt;b&gt;</td>" in html
    assert '<td><b>x</b></td><td class="n">2</td>' in html
    assert 'tabindex="0" role="region" aria-label="things"' in html


def test_sections_are_named_by_their_headings() -> None:
    html = section("Failed handshakes", "<p>x</p>")
    assert 'aria-labelledby="failed-handshakes"' in html
    assert '<h2 id="failed-handshakes">Failed handshakes</h2>' in html


def test_a_document_is_whole_and_loads_nothing() -> None:
    html = document("<title>", tiles([("1 < 2", "a & b")]) + figure("plot", "<svg></svg>", [("k1", "one")]))
    assert html.startswith('<!doctype html>\n<html lang="en">')
    assert "<title>&lt;title&gt;</title>" in html
    assert "1 &lt; 2" in html
    assert '<span class="key k1"></span>one' in html
    assert 'name="viewport"' in html
    assert not re.search(r"url\(|@import|src=|href=", html)


def test_the_digest_is_that_of_the_style_sheet_in_the_page() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", document("x", ""), re.DOTALL)
    assert style == STYLE
    assert digest(style) == f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_of_text_has_enough_contrast_in_both_schemes() -> None:
    """WCAG 2.2 §1.4.3: 4.5 to 1, on the page and on its panels."""
    light, dark = re.findall(r":root\{(.*?)\}", STYLE, re.DOTALL)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--(\w+):(#\w{6}|#\w{3})\b", scheme))
        colours = {
            name: value if len(value) == 7 else "#" + "".join(c * 2 for c in value[1:])
            for name, value in colours.items()
        }
        for ground in ("ground", "panel"):
            for name in ("ink", "soft", "bad", "warn", "good", "c1", "c2"):
                low, high = sorted((luminance(colours[name]), luminance(colours[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.errors import BadRequest
from terminator.routing.paths import is_plain, readings, route_path, without_prefix


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a",
        "/a/",
        "/a/b",
        "/.well-known/x",
        "/...",
        "/a..b/..c",
        "/~me/x_y-z.html",
        "/a:b@c,d=e+f*g'(h)!$&",
        "/a[0]|{b}^`",
        "*",
    ],
)
def test_a_plain_path_says_one_thing(path: str) -> None:
    assert is_plain(path)
    assert readings(path) == (path,)


@pytest.mark.parametrize(
    ("path", "readings_expected"),
    [
        # decoded for matching, and nothing else
        ("/%61dmin", {"/admin"}),
        ("/%61%64%6D%69%6e/x", {"/admin/x"}),
        ("/v1/x%3Acancel", {"/v1/x:cancel"}),
        ("/a%5b0%5D", {"/a[0]"}),
        ("/caf%c3%a9", {"/caf%C3%A9"}),
        ("/a%20b", {"/a%20b"}),
        ("/100%25", {"/100%25"}),
        ("/%252e%252e/admin", {"/%252e%252e/admin"}),
        ("/a%3Fb%23c", {"/a%3Fb%23c"}),
        # slashes: as they are, merged, a host in front
        ("/a//b", {"/a//b", "/a/b"}),
        ("/a//", {"/a//", "/a/"}),
        ("//", {"//", "/"}),
        ("//a/b", {"//a/b", "/a/b", "/b"}),
        ("///a/b", {"///a/b", "/a/b", "/b"}),
        ("//a//b", {"//a//b", "/a/b", "//b", "/b"}),
        # encoded slashes: data, or slashes
        ("/a%2Fb", {"/a%2Fb", "/a/b"}),
        ("/a%2fb", {"/a%2Fb", "/a/b"}),
        ("/a%5cb", {"/a%5Cb", "/a/b"}),
        ("/%2Fa/b", {"/%2Fa/b", "//a/b", "/a/b", "/b"}),
        # parameters: as they are, or cut
        ("/a;x/b", {"/a;x/b", "/a/b"}),
        ("/a;x=1;y=2", {"/a;x=1;y=2", "/a"}),
        ("/a%3bx/b", {"/a%3Bx/b", "/a/b"}),
        ("/;x/b", {"/;x/b", "//b", "/b", "/"}),
        ("/a;x%2Fy/b", {"/a;x%2Fy/b", "/a/b", "/a;x/y/b", "/a/y/b"}),
    ],
)
def test_every_reading_is_given(path: str, readings_expected: set[str]) -> None:
    found = readings(path)
    assert set(found) == readings_expected
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    "path",
    [
        # dot segments, however they are spelled
        "/.",
        "/..",
        "/./a",
        "/../a",
        "/a/.",
        "/a/..",
        "/public/../admin",
        "/public/./admin",
        "/%2e%2e/admin",
        "/public/%2e%2E/admin",
        "/public/.%2e/admin",
        "/public/%2e/admin",
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/public/..%3b/admin",
        "/public/.;/admin",
        "/public/..%2fadmin",
        "/public%2f..%2fadmin",
        "/public%2f%2e%2e%2fadmin",
        "/public/..%5cadmin",
        "/public%5c..%5cadmin",
        "/public//../admin",
        # bytes that no path has
        "/a\\b",
        "/a b",
        "/a\tb",
        "/a\x00b",
        "/é",
        "/a?b",
        "/a#b",
        "/<a>",
        '/"',
        # what careless backends stop at
        "/a%00",
        "/a%0d%0aX:y",
        "/a%1f",
        "/a%7F",
        "/%c0%ae%c0%ae/admin",
        "/a%c1%9cb",
        # broken encoding
        "/%",
        "/%2",
        "/%zz",
        "/a%2gb",
        # no path at all
        "",
        "a",
        "**",
        "http://a/b",
    ],
)
def test_refused(path: str) -> None:
    assert not is_plain(path)
    with pytest.raises(BadRequest):
        readings(path)


def test_a_hostile_path_of_the_largest_head_stays_cheap() -> None:
    for path in (
        "/" * 32000,
        "//" + "a%2F;x%3B//" * 2900,
        "/" + "%61" * 10000,
        "/a" * 16000 + "%2F",
        "/" + "a" * 32000,
    ):
        assert len(readings(path)) <= 16


characters = st.sampled_from([*"/.;%abAB259efEFCc-_~", "%2e", "%2F", "%5C", "%3b", "//", "/../", "/./"])
paths = st.lists(characters, max_size=12).map(lambda parts: "/" + "".join(parts))


def model_readings(path: str) -> set[str]:
    """What a few imaginable backends make of a path, written down without regard to cost."""
    found = set()
    for slash in (False, True):
        for cut in (False, True):
            for merge in (False, True):
                for host in (False, True):
                    text, out = path, ""
                    while text:
                        if text[0] == "%":
                            character, raw = chr(int(text[1:3], 16)), text[:3].upper()
                            keep = character not in string.printable or character in string.whitespace + "/\\%;?#"
                            decoded = raw if keep else character
                            if character in "/\\" and slash:
                                decoded = "/"
                            if character == ";":
                                decoded = ";" if cut else raw
                            out, text = out + decoded, text[3:]
                        else:
                            out, text = out + text[0], text[1:]
                    if cut:
                        out = "/".join(segment.split(";")[0] for segment in out.split("/"))
                    if host and out.startswith("//"):
                        out = "/" + out.lstrip("/").partition("/")[2]
                    while merge and "//" in out:
                        out = out.replace("//", "/")
                    found.add(out)
    return found


@given(paths)
def test_readings_are_those_of_imaginable_backends(path: str) -> None:
    try:
        found = set(readings(path))
    except BadRequest:
        return
    assert found == model_readings(path)
    for reading in found:
        assert not {".", ".."} & set(reading.split("/"))


@given(paths)
def test_no_path_with_a_dot_segment_in_any_reading_passes(path: str) -> None:
    try:
        made = model_readings(path)
    except (ValueError, IndexError):
        made = {"/.."}
    if any({".", ".."} & set(reading.split("/")) for reading in made):
        with pytest.raises(BadRequest):
            readings(path)


@pytest.mark.parametrize(
    ("written", "compared"),
    [("/", "/"), ("/api/", "/api/"), ("/%61pi", "/api"), ("/caf%c3%a9", "/caf%C3%A9"), ("/a%20b", "/a%20b")],
)
def test_route_path(written: str, compared: str) -> None:
    assert route_path(written) == compared
    assert readings(written) == (compared,)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("api", "write /api"),
        ("", "write /"),
        ("/café", "write /caf%C3%A9"),
        ("/a b", "write /a%20b"),
        ("/100%", "write /100%25"),
        ("/a?b=c", "match_query"),
        ("/a#b", "'#'"),
        ("/a//b", "without"),
        ("/a/../b", "without"),
        ("/a/%2e%2e", "without"),
        ("/a;b", "different ways"),
        ("/a%2Fb", "different ways"),
        ("/a%5cb", "different ways"),
        ("/a%00", "control byte"),
        ("/api/*", "a prefix already"),
        ("/users/{id}", "a prefix already"),
    ],
)
def test_what_no_request_could_be_sure_to_match_is_refused(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        route_path(written)


@pytest.mark.parametrize(
    ("path", "prefix", "rest"),
    [
        ("/api/x", "/api", "/x"),
        ("/api/x", "/api/", "/x"),
        ("/api", "/api", "/"),
        ("/api/", "/api", "/"),
        ("/api//x", "/api", "/x"),  # never //x, which names a host
        ("/api/x//y", "/api", "/x//y"),
        ("/a/b/c", "/a/b", "/c"),
        ("/%61pi/x%2Fy", "/api", "/x%2Fy"),
        ("/api/a;b", "/api", "/a;b"),
        ("/x/y", "/", "/x/y"),
        ("/x/y", "", "/x/y"),
        ("/", "/", "/"),
    ],
)
def test_a_prefix_is_removed_and_the_rest_left_as_written(path: str, prefix: str, rest: str) -> None:
    assert without_prefix(path, prefix) == rest

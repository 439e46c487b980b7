from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme

from terminator.cli import main

CONFIG = """
version: 1
listeners: [{name: https, bind: "[::]:443"}]
hosts:
  - names: [shop.example]
    certificates: [{chain: chain.pem, key: key.pem}]
    tls: {client_auth: {mode: require, ca: ca.pem, allow: ["CN=alice"]}}
    routes:
      - {path: /, backend: web}
      - {path: /api, backend: api, headers: {remove: [cookie]}}
backends:
  web: {servers: ["127.0.0.1:8000"]}
  api:
    servers:
      - {address: "127.0.0.1:9000", weight: 3, max_connections: 5}
      - {address: "127.0.0.1:9001", backup: true}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("explain")
    authority = trustme.CA()
    issued = authority.issue_cert("shop.example")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "terminator.yaml").write_text(CONFIG)
    return str(folder / "terminator.yaml")


def test_text_for_people(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "https://shop.example/api/x", "--config", file, "--header", "Cookie: a"]) == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:2] == ["GET https://shop.example/api/x", "→ forwarded to backend api as GET /api/x"]
    for line in (
        "listener https ([::]:443)",
        "host shop.example, by its name shop.example; SNI shop.example",
        "versions TLS 1.2 to 1.3",
        "→ routes[1] path /api backend api the most specific of the routes that match",
        "routes[0] path / backend web shorter than /api/ of route 1",
        "backend api, round_robin",
        "127.0.0.1:9000, weight 3, at most 5 requests per worker",
        "127.0.0.1:9001, weight 1, backup",
        "header fields of the request",
        "+ X-Forwarded-Proto: https",
        "- Cookie: a",
    ):
        assert line in lines
    assert any(line.startswith("certificate ecdsa 256, serial ") and "days left" in line for line in lines)
    assert any(line.startswith("clients certificate required, by an authority in ") for line in lines)
    assert any("only CN=alice" in line for line in lines)


def test_json_for_programs(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "shop.example/", "--config", file, "--method", "POST", "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["url"], body["method"], body["host"], body["route"]) == (
        "https://shop.example/",
        "POST",
        "shop.example",
        0,
    )
    assert body["backend"]["name"] == "web"
    assert body["tls"]["versions"] == "TLS 1.2 to 1.3"
    assert [one["won"] for one in body["routes"]] == [False, True]
    assert "error" not in body  # absent is not null


def test_a_refusal_is_an_answer(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "https://nope.example/", "--config", file]) == 0
    assert "unrecognized_name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["https://bücher.example/"], "xn--bcher-kva.example"),
        (["https://shop.example/", "--client", "me"], "'me' does not appear to be"),
    ],
)
def test_what_cannot_be_asked(file: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *arguments, "--config", file]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_usage(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["explain"], ["explain", "a.example", "--header", "nonsense"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
    assert "write 'Name: value'" in capsys.readouterr().err


def test_an_invalid_configuration_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    assert main(["explain", "a.example", "--config", str(tmp_path / "bad.yaml")]) == 2
    assert "bad.yaml" in capsys.readouterr().err

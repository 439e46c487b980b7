"""The dashboard and the alerting rules under config/ name metrics and labels that exist; the rules fire when due."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from terminator.telemetry.series import FAMILIES
from terminator.tls.failures import FAILURES

CONFIG = Path(__file__).parent.parent / "config"
RULES = CONFIG / "prometheus-rules.yaml"
DASHBOARD = json.loads((CONFIG / "grafana-dashboard.json").read_text())
SELECTOR = re.compile(r"\b(terminator_\w+)(?:\{([^}]*)\})?")
SCRAPED = {"instance", "job", "le"}
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DASHBOARD["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        yield variable["name"], variable["definition"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def family_of(name: str) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if name != base and base in FAMILIES and FAMILIES[base].type == "histogram":
            return base
    return name


def test_every_metric_and_label_exists() -> None:
    wrong = []
    for place, expression in expressions():
        labels: set[str] = set()
        for name, selector in SELECTOR.findall(expression):
            if family_of(name) not in FAMILIES:
                wrong.append(f"{place}: there is no metric {name}")
                continue
            family = FAMILIES[family_of(name)]
            labels |= set(family.labels)
            for label in re.findall(r"(\w+)\s*[=!]~?\s*\"", selector):
                if label not in {*family.labels, *SCRAPED}:
                    wrong.append(f"{place}: {name} has no label {label}")
        for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
            for label in filter(None, map(str.strip, group.split(","))):
                if label not in labels | SCRAPED | {"class"} and "terminator:" not in expression:
                    wrong.append(f"{place}: nothing has a label {label}")
    assert not wrong, "\n".join(wrong)


def test_every_metric_is_shown_or_alerted_on() -> None:
    named = {family_of(name) for _, expression in expressions() for name, _ in SELECTOR.findall(expression)}
    assert set(FAMILIES) - named == set()


def test_failure_classes_and_phases_that_are_named_exist() -> None:
    for place, expression in expressions():
        for value in re.findall(r'reason[=!]~?"([^"]*)"', expression):
            assert set(value.split("|")) <= set(FAILURES), place


def test_labels_in_annotations_are_those_of_the_expression() -> None:
    for rule in rules():
        if "alert" not in rule:
            continue
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        by = [set(re.split(r",\s*", group)) for group in re.findall(r"by \(([^)]*)\)", rule["expr"])]
        names = SELECTOR.findall(rule["expr"])
        known = set.union(*by) if by else {label for name, _ in names for label in FAMILIES[family_of(name)].labels}
        if "terminator:" in rule["expr"]:
            known |= {"host", "route"}
        assert used <= known | SCRAPED, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["__inputs"][0]["name"] == "DS_PROMETHEUS"
    assert DASHBOARD["schemaVersion"] >= 38
    identifiers = [panel["id"] for panel in panels()]
    assert len(identifiers) == len(set(identifiers))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${DS_PROMETHEUS}"
            assert all("$instance" in target["expr"] for target in panel["targets"])


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run([str(PROMTOOL), "check", "rules", RULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


HANDSHAKES = 'terminator_tls_handshakes_total{host="a", version="1.3", resumed="no", outcome="%s", instance="i"}'
FAILURE = 'terminator_tls_handshake_failures_total{listener="l", reason="%s", instance="i"}'
LATENCY = 'terminator_tls_handshake_duration_seconds_bucket{listener="l", phase="flight", le="%s", instance="i"}'
REQUESTS = 'terminator_http_requests_total{host="a", route="/", method="GET", status="%s", instance="i"}'
SLOWNESS = 'terminator_http_request_duration_seconds_bucket{host="a", route="/", le="%s", instance="i"}'
UP = (("one", 1), ("other", 0))


@needs_promtool
def test_promtool_reads_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    found = [
        re.sub(r"\$(instance|host)\b", ".*", re.sub(r"\$__\w+", "5m", target["expr"]))
        for panel in panels()
        for target in panel.get("targets", [])
    ]
    assert len(found) > 20
    assert not re.search(r"\$[a-z_]", "".join(found)), "a variable that is not known here"
    file = tmp_path / "rules.yaml"
    read = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(found)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": read}]}))
    done = subprocess.run([str(PROMTOOL), "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


FIRING = [
    # alert, series that make it fire, when to look
    (
        "TerminatorCertificateExpiresSoon",
        'terminator_certificate_not_after_timestamp_seconds{host="a", serial="1", instance="i"}',
        "864000x300",
        "2h",
    ),
    ("TerminatorCertificateDrift", 'terminator_certificate_drift{host="a", instance="i"}', "1x60", "20m"),
    ("TerminatorReloadRefused", 'terminator_config_last_reload_successful{instance="i"}', "0x60", "6m"),
    ("TerminatorBackendDown", 'terminator_backend_up{backend="b", server="s", instance="i"}', "0x60", "2m"),
    ("TerminatorWorkersRestart", 'terminator_worker_restarts_total{instance="i"}', "0+1x60", "30m"),
    ("TerminatorLogLinesLost", 'terminator_log_lines_dropped_total{destination="d", instance="i"}', "0+5x60", "10m"),
    (
        "TerminatorCertificateExpired",
        'terminator_certificate_not_after_timestamp_seconds{host="a", serial="1", instance="i"}',
        "600x60",
        "11m",
    ),
    ("TerminatorClientsRejectCertificate", FAILURE % "client_rejected_cert", "0+12x60", "25m"),
    ("TerminatorRevocationListExpired", FAILURE % "client_crl_expired", "0x20 1x60", "25m"),
    ("TerminatorRevocationListExpired", FAILURE % "client_crl_expired", "_x20 1x60", "25m"),
    ("TerminatorBackendServerDown", 'terminator_backend_up{backend="b", server="s", instance="i"}', "0x60", "6m"),
    ("TerminatorEventLoopLags", 'terminator_event_loop_lag_seconds{worker="0", instance="i"}', "0.8x60", "6m"),
]
TOGETHER = {"TerminatorHandshakesFail", "TerminatorHandshakesSlow", "TerminatorServerErrors", "TerminatorRequestsSlow"}


def alerts(series: dict[str, str], at: str, tmp_path: Path) -> set[str]:
    """The alerts that fire at this moment."""
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": at, "alertname": rule["alert"], "exp_alerts": []}
                    for rule in rules()
                    if "alert" in rule
                ],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run([str(PROMTOOL), "test", "rules", file], capture_output=True, text=True)
    return set(re.findall(r"alertname: ?(\w+)", done.stdout + done.stderr))


def test_every_alert_is_seen_to_fire() -> None:
    assert {case[0] for case in FIRING} | TOGETHER == {rule["alert"] for rule in rules() if "alert" in rule}


@needs_promtool
@pytest.mark.parametrize(("alert", "series", "values", "at"), FIRING, ids=[case[0] for case in FIRING])
def test_an_alert_fires(alert: str, series: str, values: str, at: str, tmp_path: Path) -> None:
    assert alert in alerts({series: values}, at, tmp_path)


@needs_promtool
def test_failing_and_slow_handshakes_and_server_errors(tmp_path: Path) -> None:
    series = {
        HANDSHAKES % "established": "0+90x60",
        HANDSHAKES % "failed": "0+10x60",
        FAILURE % "no_shared_cipher": "0+10x60",
        LATENCY % "0.25": "0+0x60",
        LATENCY % "0.5": "0+90x60",
        LATENCY % "+Inf": "0+90x60",
        REQUESTS % "200": "0+90x60",
        REQUESTS % "502": "0+10x60",
        SLOWNESS % "5.0": "0+50x60",
        SLOWNESS % "10.0": "0+100x60",
        SLOWNESS % "+Inf": "0+100x60",
    }
    assert alerts(series, "40m", tmp_path) == TOGETHER


@needs_promtool
def test_one_server_down_is_not_the_backend_down(tmp_path: Path) -> None:
    series = {f'terminator_backend_up{{backend="b", server="{name}", instance="i"}}': f"{up}x60" for name, up in UP}
    assert alerts(series, "20m", tmp_path) == {"TerminatorBackendServerDown"}


@needs_promtool
def test_scanners_and_good_days_wake_nobody(tmp_path: Path) -> None:
    series = {
        HANDSHAKES % "established": "0+50x60",
        HANDSHAKES % "failed": "0+50x60",
        FAILURE % "not_tls": "0+30x60",
        FAILURE % "unrecognized_name": "0+20x60",
        LATENCY % "0.005": "0+50x60",
        LATENCY % "+Inf": "0+50x60",
        REQUESTS % "200": "0+500x60",
        'terminator_certificate_not_after_timestamp_seconds{host="a", serial="1", instance="i"}': "7776000x60",
        'terminator_certificate_drift{host="a", instance="i"}': "0x60",
        'terminator_backend_up{backend="b", server="s", instance="i"}': "1x60",
        'terminator_config_last_reload_successful{instance="i"}': "1x60",
        'terminator_worker_restarts_total{instance="i"}': "0x60",
        'terminator_log_lines_dropped_total{destination="d", instance="i"}': "7x60",
        'terminator_event_loop_lag_seconds{worker="0", instance="i"}': "0.01x60",
        FAILURE % "client_crl_expired": "3x60",
        SLOWNESS % "5.0": "0+500x60",
        SLOWNESS % "+Inf": "0+500x60",
    }
    assert alerts(series, "40m", tmp_path) == set()

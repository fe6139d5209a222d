"""The dashboard of ``deploy/grafana``: its rows and panels, from which `generated` writes Grafana's JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["LEFT_OUT", "ROWS", "Panel", "dashboard", "tried"]

LEFT_OUT = {"process_virtual_memory_bytes": "says nothing: most of it is never touched"}
"""Metrics that are on no panel, and why."""

_S = '{job=~"$job", namespace=~"$namespace", group=~"$group"}'
_RATE = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: its title, its expressions by legend, and what its numbers are."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    description: str = ""


def _by(label: str, metric: str, function: str = "rate") -> tuple[tuple[str, str], ...]:
    return ((f"{{{{{label}}}}}", f"sum by ({label}) ({function}({metric}{_S}{_RATE}))"),)


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    inner = f"sum by (le) (rate({metric}_bucket{_S}{_RATE}))"
    return tuple((f"p{share}", f"histogram_quantile(0.{share}, {inner})") for share in (50, 99))


def _each(metric: str, legend: str = "{{instance}}", by: str = "instance") -> tuple[tuple[str, str], ...]:
    return ((legend, f"max by ({by}) ({metric}{_S})"),)


ROWS: dict[str, tuple[Panel, ...]] = {
    "Is it right?": (
        Panel("Needs an operator", (("messages", f"sum(connector_operator_needed{_S})"),), kind="stat", width=4),
        Panel(
            "Replicas",
            (("replicas", f"count(connector_build_info{_S})"), ("ready", f"sum(connector_ready{_S})")),
            kind="stat",
            width=4,
        ),
        Panel(
            "Refresh token ends in",
            (("left", f"min(connector_refresh_token_expires_timestamp_seconds{_S}) - time()"),),
            "s",
            "stat",
            4,
        ),
        Panel(
            "Replicas and their pages",
            (("", f"max by (instance, version, revision, python, librdkafka, codec) (connector_build_info{_S})"),),
            kind="table",
            width=12,
            description="The link leads to a replica's page `/`, where its address can be reached.",
        ),
        Panel("Age of an event when Amazon acknowledges it", _quantiles("connector_event_to_ack_seconds"), "s"),
        Panel("Events by outcome", _by("outcome", "connector_events_total"), "eps"),
        Panel("Dead letters by reason", _by("reason", "connector_dead_letters_total", "increase")),
        Panel("Doubtful duplicates", _by("kind", "connector_doubtful_duplicates_total", "increase")),
        Panel("Inputs adjusted", _by("what", "connector_adjustments_total"), "eps"),
        Panel("No events, by mapping", _by("mapping", "connector_filtered_total"), "eps"),
    ),
    "Kafka": (
        Panel(
            "Lag by partition",
            (("{{topic}} {{partition}}", f"max by (topic, partition) (connector_lag{_S})"),),
        ),
        Panel(
            "Committed",
            (
                (
                    "{{topic}}",
                    f"sum by (topic) (clamp_min(deriv(connector_committed_offset{_S}{_RATE}), 0))",
                ),
            ),
            "eps",
        ),
        Panel("Partitions held up, by reason", (("{{reason}}", f"sum by (reason) (connector_paused{_S}) > 0"),)),
        Panel(
            "Records",
            (
                ("taken in", f"sum(rate(connector_records_total{_S}{_RATE}))"),
                ("given back", f"sum(rate(connector_released_total{_S}{_RATE}))"),
            ),
            "eps",
        ),
        Panel(
            "Events held",
            (
                ("buffered", f"sum(connector_buffered_events{_S})"),
                ("in flight", f"sum(connector_in_flight_events{_S})"),
            ),
        ),
        Panel("Bytes held", _each("connector_held_bytes"), "bytes"),
        Panel("Dedupe keys", _each("connector_window_keys")),
        Panel("Memory of the dedupe keys", _each("connector_window_bytes"), "bytes"),
        Panel(
            "Restores under way: part of the ledger that is read",
            _each("connector_ledger_restore_progress", "{{topic}} {{partition}}", "topic, partition"),
            "percentunit",
        ),
        Panel("Last restore of a partition", _each("connector_ledger_restore_seconds"), "s"),
        Panel("Refused commits", _by("code", "connector_commit_failures_total", "increase"), width=12),
        Panel("Errors of the consumer", _by("code", "connector_consumer_errors_total", "increase"), width=12),
    ),
    "Amazon": (
        Panel("Requests by status", _by("status", "connector_requests_total"), "reqps"),
        Panel("Duration of a request", _quantiles("connector_request_seconds"), "s"),
        Panel(
            "Requests at once",
            (
                ("limit {{instance}}", f"max by (instance) (connector_concurrency_limit{_S})"),
                ("in flight {{instance}}", f"max by (instance) (connector_in_flight_requests{_S})"),
            ),
        ),
        Panel("Most requests a second, while there is a limit", _each("connector_request_rate_limit"), "reqps"),
        Panel("Events sent again, by reason", _by("reason", "connector_retries_total"), "eps"),
        Panel("Anomalies in answers", _by("kind", "connector_response_anomalies_total", "increase")),
        Panel("Late answers", (("answers", f"sum(increase(connector_late_answers_total{_S}{_RATE}))"),)),
        Panel("Size that requests stay below", _each("connector_batch_bytes_limit"), "bytes"),
    ),
    "Process": (
        Panel("CPU", (("{{instance}}", f"sum by (instance) (rate(process_cpu_seconds_total{_S}{_RATE}))"),)),
        Panel("Memory", _each("process_resident_memory_bytes"), "bytes"),
        Panel("Running for", (("{{instance}}", f"time() - max by (instance) (process_start_time_seconds{_S})"),), "s"),
        Panel(
            "Descriptors",
            (("{{instance}}", f"max by (instance) (process_open_fds{_S} / process_max_fds{_S})"),),
            "percentunit",
        ),
        Panel("Records that native code left to Python", _by("reason", "connector_codec_declined_total"), "eps"),
        Panel("Native code given up", _by("reason", "connector_codec_distrusted_total", "increase")),
    ),
}


def tried(expression: str) -> str:
    """Return an expression as Grafana sends it when everything is chosen."""
    return re.sub(r"\$(job|namespace|group)\b", ".*", expression).replace("$__rate_interval", "5m")


def dashboard() -> dict[str, Any]:
    """Return Grafana's model of the dashboard."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": _place(0, top, 24, 1), "panels": []})
        top, left, height = top + 1, 0, 0
        for panel in row:
            if left + panel.width > 24:
                top, left, height = top + height, 0, 0
            high = 4 if panel.kind in {"stat", "table"} else 8
            panels.append({"id": len(panels) + 1, **_panel(panel), "gridPos": _place(left, top, panel.width, high)})
            left, height = left + panel.width, max(height, high)
        top += height
    return {
        "uid": "amazon-conversions",
        "title": "Amazon conversions connector",
        "description": "Made by python -m tests.deploy.generated.",
        "tags": ["kafka", "amazon-ads"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("job", "label_values(connector_records_total, job)"),
                _variable("namespace", 'label_values(connector_records_total{job=~"$job"}, namespace)'),
                _variable("group", 'label_values(connector_records_total{job=~"$job", namespace=~"$namespace"}, group)'),
            ]
        },
        "links": [],
        "panels": panels,
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",  # also where the scrape adds no such label
        "current": {"text": "All", "value": "$__all"},
    }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    table = panel.kind == "table"
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": _SOURCE,
            "expr": expression,
            "legendFormat": legend or "__auto",
            **({"format": "table", "instant": True} if table else {}),
        }
        for number, (legend, expression) in enumerate(panel.queries)
    ]
    page = [{"title": "The page of this replica", "url": "http://${__value.text}/", "targetBlank": True}]
    instance = {"matcher": {"id": "byName", "options": "instance"}, "properties": [{"id": "links", "value": page}]}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": [instance] if table else []},
        "options": {},
    }

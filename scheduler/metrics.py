"""`/metrics` for Prometheus, on a separate bind that recipients cannot reach; measured from the database per scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.actions.measure import Measures
from app.domain.retention import LATENESS_BUCKETS_SECONDS


class ServiceCollector(Collector):
    """Converts one measurement to Prometheus metrics."""

    def __init__(self, measure: Callable[[], Measures]) -> None:
        """`measure` is called at each scrape."""
        self._measure = measure

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. A failed measurement fails the scrape: no stale value is reported."""
        measures = self._measure()
        held = GaugeMetricFamily("caducee_transfers", "Transfers by state.", labels=["state"])
        for state, count in measures.transfers.items():
            held.add_metric([state], count)
        yield held
        for name, text, value in (
            ("oldest_object_age_seconds", "Age of the oldest transfer with keys or bytes.", measures.oldest_age_s),
            ("overdue_transfers", "Transfers that are due but not verified as deleted.", measures.overdue),
            ("failing_deletions", "Deletions that failed and are being retried.", measures.failing),
            ("deletion_assured", "1 while a sweep has succeeded recently enough.", measures.deletion_assured),
            ("clock_trusted", "1 while the host's clock is trusted.", measures.clock_trusted),
            ("vault_trusted", "1 unless the key vault is an older copy of itself.", measures.vault_trusted),
            ("log_trusted", "1 unless the signer refuses to sign the log as forged.", measures.log_trusted),
            ("separate_users", "1 if the scheduler has a user of its own.", measures.separate_users),
            ("locked_down", "1 during a lockdown.", measures.locked_down),
            ("intake_off", "1 while no new transfer is accepted.", measures.intake_off),
            ("tokens_ending_soon", "Access tokens that expire within 14 days.", measures.tokens_ending_soon),
            ("reserve_in_place", "1 unless the database's volume lacks its reserve.", measures.reserve_in_place),
        ):
            yield GaugeMetricFamily(f"caducee_{name}", text, value=float(value))
        since = float("inf") if measures.since_sweep_s is None else measures.since_sweep_s
        yield GaugeMetricFamily("caducee_seconds_since_sweep", "Seconds since the last successful sweep.", value=since)
        yield from _counters(measures.counters)


def _counters(counters: dict[str, int]) -> Iterator[Metric]:
    sweeps = CounterMetricFamily("caducee_sweeps", "Sweeps by outcome.", labels=["outcome"])
    sweeps.add_metric(["succeeded"], counters.get("sweeps", 0))
    sweeps.add_metric(["failed"], counters.get("sweeps_failed", 0))
    yield sweeps
    contradicted = counters.get("row_contradictions", 0)
    text = "Transfers ended by a sweep whose rows contradicted the log or the vault."
    yield CounterMetricFamily("caducee_row_contradictions", text, value=contradicted)
    count = counters.get("lateness_count", 0)
    buckets = [(str(float(le)), counters.get(f"lateness_le_{le}", 0)) for le in LATENESS_BUCKETS_SECONDS]
    yield HistogramMetricFamily(
        "caducee_deletion_lateness_seconds",
        "From the end of a transfer to its verified deletion.",
        buckets=[*buckets, ("+Inf", count)],
        sum_value=counters.get("lateness_sum_ms", 0) / 1000,
    )


def serve_metrics(bind: str, measure: Callable[[], Measures]) -> None:
    """Serve on `host:port` in a background thread."""
    host, _, port = bind.rpartition(":")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(measure))
    start_http_server(int(port), addr=host.strip("[]"), registry=registry)

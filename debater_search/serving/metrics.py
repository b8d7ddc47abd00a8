"""What a server counts, for Prometheus; each server has a registry of its own."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters and histograms under the prefix `debater_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("debater_requests", "Requests answered.", ("route", "code"), registry=self.registry)
        self.seconds = Histogram(
            "debater_request_seconds",
            "Seconds of requests: all of one, and its stages.",
            ("route", "stage"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "debater_batch_queries",
            "Queries that were encoded together.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.reloads = Counter(
            "debater_reloads", "Changes of indexes that were opened.", ("index",), registry=self.registry
        )
        self._generation = Gauge(
            "debater_index_generation", "Generation of an index.", ("index",), registry=self.registry
        )
        self._documents = Gauge("debater_index_documents", "Documents of an index.", ("index",), registry=self.registry)

    def watch_queue(self, depth: Callable[[], float]) -> None:
        """Show how many requests are waiting or at work."""
        gauge = Gauge("debater_queue_depth", "Requests that wait or are at work.", registry=self.registry)
        gauge.set_function(depth)

    def request(self, route: str, code: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(route, str(code)).inc()
        self.seconds.labels(route, "all").observe(seconds)

    def stages(self, route: str, milliseconds: Mapping[str, float]) -> None:
        """Note how long the stages of a search took."""
        for stage, taken in milliseconds.items():
            self.seconds.labels(route, stage).observe(taken / 1000)

    def index(self, name: str, generation: int, documents: int) -> None:
        """Note the state of an index."""
        self._generation.labels(name).set(generation)
        self._documents.labels(name).set(documents)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self.registry)

"""What a server counts, in the format of Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from omniformer.serving.work import Work

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters and histograms of one server, which may be one of several in a process.

    Example:
        >>> metrics = Metrics()
        >>> metrics.answered("/health", 200, 0.001)
        >>> "omniformer_requests_total" in metrics.text().decode()
        True
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "omniformer_requests", "Requests answered.", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "omniformer_request_seconds",
            "From request to the end of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._sizes = Histogram(
            "omniformer_batch_inputs", "Inputs of a batch.", ["work"], buckets=_SIZES, registry=self._registry
        )
        self._model = Histogram(
            "omniformer_batch_seconds",
            "What the model takes for a batch.",
            ["work"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._queue = Histogram(
            "omniformer_waiting_seconds", "What inputs wait for the model.", buckets=_SECONDS, registry=self._registry
        )
        self._tokens = Counter(
            "omniformer_written_tokens", "Tokens of texts that were written.", registry=self._registry
        )
        self.waiting = Gauge(
            "omniformer_waiting_inputs", "Inputs that wait for the model, and texts in work.", registry=self._registry
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Notes a request by the route that answered it, so that clients cannot make up names."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, work: Work, n: int, seconds: float, waited: Iterable[float]) -> None:
        """Notes a batch: what was done, with how many inputs, for how long, and how long each of them waited."""
        name = type(work).__name__.lower()
        self._sizes.labels(name).observe(n)
        self._model.labels(name).observe(seconds)
        for each in waited:
            self._queue.observe(each)

    def wrote(self, tokens: int) -> None:
        """Notes tokens of a text that was written."""
        self._tokens.inc(tokens)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

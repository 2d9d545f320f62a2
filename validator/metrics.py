"""What a validator counts, for Prometheus."""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from curiosity.protocol.reward_messages import EpochStanding
from curiosity.protocol.verdict import Verdict


class Metrics:
    """The validator's counters, one registry an instance."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._decisions = Counter(
            "curiosity_decisions_total", "Pairs decided", ["outcome", "reason"], registry=self.registry
        )
        self._decisions_of = lru_cache(maxsize=None)(self._decisions.labels)
        self._refusals = Counter(
            "curiosity_refusals_total", "Requests refused before a decision", ["code"], registry=self.registry
        )
        self._cuts = Counter(
            "curiosity_connections_cut_total", "Connections refused or cut", ["code"], registry=self.registry
        )
        self._seconds = Histogram(
            "curiosity_request_seconds", "Time to answer a request", ["route"], registry=self.registry
        )
        self._seconds_of = lru_cache(maxsize=None)(self._seconds.labels)  # routes are few, looking one up is slow
        self.ledger_size = Gauge("curiosity_ledger_entries", "Entries in the ledger", registry=self.registry)
        self.queued = Gauge("curiosity_queued_pairs", "Pairs admitted and not yet decided", registry=self.registry)
        self.held = Gauge("curiosity_held_pairs", "Held pairs to be judged again", registry=self.registry)
        self.work = Gauge("curiosity_work_units", "Units of work done since the start", registry=self.registry)
        self.bodies = Gauge("curiosity_body_bytes", "Bytes of bodies that are held", registry=self.registry)
        self.answers = Gauge(
            "curiosity_answer_bytes", "Bytes of answers that wait to be fetched", registry=self.registry
        )
        self.epoch = Gauge("curiosity_open_epoch", "The open epoch", registry=self.registry)
        self._epochs = Gauge(
            "curiosity_epochs",
            "Newest epoch that is closed, posted, active, settled",
            ["state"],
            registry=self.registry,
        )
        self._blocks = Gauge(
            "curiosity_chain_block", "Newest block, newest final one", ["kind"], registry=self.registry
        )
        self._trouble = Gauge(
            "curiosity_chain_trouble", "1 if the last look at the chain failed", registry=self.registry
        )

        self._signatures = Gauge(
            "curiosity_epoch_signatures",
            "Signatures that the next epoch has, and wants",
            ["kind"],
            registry=self.registry,
        )

    def show_standing(self, standing: EpochStanding | None) -> None:
        """Show how far the epochs are on the chain; nothing without one."""
        if standing is None:
            return
        for state in ("closed", "posted", "active", "settled"):
            self._epochs.labels(state).set(getattr(standing, state))
        self._blocks.labels("latest").set(standing.block)
        self._blocks.labels("final").set(standing.final_block)
        self._trouble.set(standing.trouble is not None)
        self._signatures.labels("has").set(standing.signatures)
        self._signatures.labels("wants").set(standing.threshold)

    def count_decision(self, verdict: Verdict) -> None:
        """Count one decided pair."""
        self._decisions_of(verdict.outcome.value, verdict.reason.value).inc()

    def count_refusal(self, code: str) -> None:
        """Count one refused request."""
        self._refusals.labels(code).inc()

    def count_cut(self, code: str) -> None:
        """Count one connection that was refused or cut."""
        self._cuts.labels(code).inc()

    def time_request(self, route: str, seconds: float) -> None:
        """Record how long a request took, in seconds."""
        self._seconds_of(route).observe(seconds)

    def text(self) -> bytes:
        """Return the Prometheus exposition."""
        return generate_latest(self.registry)

"""What is simulated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Streams begin over `ramp_s`; until `for_s` each is followed by another. `elsewhere` is the share of
    those that are read in another worker. `cores`: on which everything runs together; None: each process has
    one to itself, and readers take none. `taken` is the share of every core that others on the machine have:
    everything takes longer by that."""

    streams: int
    workers: int
    shards: int = 1
    tokens: int = 300
    rate: float = 30.0
    ramp_s: float = 5.0
    for_s: float = 0.0
    elsewhere: float = 0.0
    cores: int | None = None
    taken: float = 0.0
    limit_s: float = 120.0
    seed: int = 1

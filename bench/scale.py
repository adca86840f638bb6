"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """The numbers of a whole run; what is measured `runs` times is told as the median."""

    name: str = "full"
    runs: int = 3
    streams: tuple[int, int, int] = (1, 50, 1000)
    """One, some, a crowd."""
    questions: int = 60
    """Asked one after the other by one client, unpaced."""
    tokens: int = 200
    """Of an unpaced answer, at a crowd's half of that."""
    for_s: float = 1.5
    """Some clients go on asking for so long, unpaced."""
    paced_questions: int = 5
    """Asked one after the other by one client, paced."""
    paced_tokens: tuple[int, int, int] = (6, 60, 100)
    """Of an answer at RATE tokens a second, for one, some, a crowd."""
    ramp_s: float = 5.0
    ramp_tokens: int = 300
    growth: tuple[int, ...] = (100, 500, 1000, 2000)
    growth_tokens: int = 60
    lengths: tuple[int, ...] = (100, 1_000, 10_000, 50_000)
    length_tokens: int = 100_000
    """At least so many for each length."""
    followers: int = 100
    followed_tokens: int = 50_000
    followed_s: float = 2.0
    """How long the answer takes whose followers' time between tokens is looked at."""
    redis_lengths: tuple[int, int] = (1_000, 4_000)
    """Of answers whose bytes to Redis are compared."""
    redis_loads: tuple[int, ...] = (50, 200, 400, 600)
    redis_load_tokens: int = 120
    redis_ramp_s: float = 2.0
    elsewhere: int = 50
    """Answers that are read in another process."""
    elsewhere_tokens: int = 120
    sockets: int = 1000
    sessions: int = 300
    live: int = 500
    repeats: int = 100
    """Of what takes a moment, such as a resume."""
    stops: int = 20
    ahead_s: float = 1.0
    """Followers are there so long before an answer's first token."""
    expired_s: float = 2.5
    """So long after an answer with a STREAM_TTL of 0.05 nothing is left of its stream."""


RATE = 30
"""Tokens a second of a paced answer."""

SCALES = {
    scale.name: scale
    for scale in (
        Scale(),
        Scale(
            name="quick", runs=1, questions=30, for_s=0.7, paced_tokens=(6, 20, 40), ramp_s=2.0,
            ramp_tokens=60, paced_questions=5, growth=(250, 1000), growth_tokens=30, length_tokens=10_000,
            sessions=150, repeats=40, stops=5, redis_lengths=(250, 1_000), redis_loads=(50, 400),
            redis_load_tokens=60, redis_ramp_s=1.0, elsewhere=20, elsewhere_tokens=60,
        ),
        Scale(
            name="tiny", runs=1, streams=(1, 2, 4), questions=2, tokens=8, for_s=0.02, paced_tokens=(3, 3, 3),
            ramp_s=0.05, ramp_tokens=3, growth=(2,), growth_tokens=3, lengths=(10, 100), length_tokens=100,
            followers=3, followed_tokens=300, sockets=5, sessions=3, live=3, repeats=2, stops=1, ahead_s=0.2,
            expired_s=0.0, paced_questions=1, followed_s=0.05, redis_lengths=(10, 40), redis_loads=(2,),
            redis_load_tokens=3, redis_ramp_s=0.02, elsewhere=2, elsewhere_tokens=3,
        ),
    )
}  # fmt: skip

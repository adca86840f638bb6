"""What every scenario has at hand."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bench.cores import Cores
from bench.load import Load
from bench.scale import Scale
from bench.servers import Server
from bench.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Bench:
    scale: Scale
    cores: Cores
    load: Load
    upstream: Upstream

    def start(self, name: str, **env: str) -> Server:
        """A server that knows the upstream, unless `env` names another one; end it."""
        return Server(name, self.cores, **{"OPENAI_BASE_URL": self.upstream.url, **env})


def tell(line: str) -> None:
    """Progress, beside the results."""
    print(line, file=sys.stderr, flush=True)

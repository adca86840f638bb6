"""What is spent: jobs and their calls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from backend.chat.ports import Runtime
from backend.ledger import calls, checks, jobs, repeats
from backend.ledger.database import Database
from backend.ledger.records import Call, Job, JobLimits, NewCall, NewJob, Once, Outcome, Swept

logger = logging.getLogger(__name__)

AT_ONCE = 200
"""Of what is overdue, a sweep takes so many at most."""
EXPIRED = "The job was not ended within its time"


class Ledger:
    """Each method is one transaction, and may be called again with the same ids, by any process, whatever
    became of the first time. All raise Unavailable."""

    def __init__(self, database: Database, runtime: Runtime, limits: JobLimits) -> None:
        self._database = database
        self._runtime = runtime
        self._limits = limits

    def open_job(self, job: NewJob, once: Once | None = None) -> Job:
        """As `jobs.open_`; asked for again by the same request it is the job that there is. Raises
        IdempotencyMismatch, and InvalidRequest for too much metadata, as do the others that take some."""
        checks.metadata(job.metadata, self._limits.metadata_bytes)
        now = self._runtime.now()
        expires_at = later(now, self._limits.job_ttl_s)

        def work(tx: Connection) -> Job:
            if known := repeats.known(tx, once):
                return jobs.find(tx, job.team_id, known)
            opened = jobs.open_(tx, job, now, expires_at)
            repeats.note(tx, once, opened.job_id)
            return opened

        return self._database.write(work)

    def begin_call(self, call: NewCall, job: NewJob | None = None) -> Call:
        """As `calls.begin`, the `job` being opened first if it is given: the two are one transaction. Raises
        NotFound."""
        for each in (call, job) if job is not None else (call,):
            checks.metadata(each.metadata, self._limits.metadata_bytes)
        now = self._runtime.now()
        expires_at = later(now, self._limits.job_ttl_s)
        leased_until = later(now, self._limits.lease_s)

        def work(tx: Connection) -> Call:
            if job is not None:
                begun_under = jobs.open_(tx, job, now, expires_at)
            else:
                begun_under = jobs.find(tx, call.team_id, call.job_id, locked=True)
            return calls.begin(tx, call, begun_under, now, leased_until)

        return self._database.write(work)

    def settle(self, outcome: Outcome, job_status: str | None = None) -> Call:
        """As `calls.settle`: the call as it is settled, by whoever was first."""
        now = self._runtime.now()
        return self._database.write(lambda tx: calls.settle(tx, outcome, now, job_status))

    def renew(self, stream_ids: Sequence[str]) -> int:
        """Begin the lease of running calls anew; how many of these run."""
        leased_until = later(self._runtime.now(), self._limits.lease_s)
        return self._database.write(lambda tx: calls.renew(tx, stream_ids, leased_until))

    def end_job(
        self,
        team_id: str,
        job_id: str,
        status: str,
        metadata: Mapping[str, Any] | None = None,
        error_message: str | None = None,
        once: Once | None = None,
    ) -> Job:
        """As `jobs.end`. Its `bill` is None as long as a call runs that it must pay for. Raises NotFound, and
        IdempotencyMismatch."""
        now = self._runtime.now()

        def work(tx: Connection) -> Job:
            job = jobs.find(tx, team_id, job_id, locked=True)
            if not repeats.known(tx, once):
                repeats.note(tx, once, job_id)
            if metadata and not job.ended:
                job = jobs.add_metadata(tx, job, metadata, self._limits.metadata_bytes)
            return jobs.end(tx, job, status, now, error_message)

        return self._database.write(work)

    def add_metadata(self, team_id: str, job_id: str, more: Mapping[str, Any]) -> Job:
        """As `jobs.add_metadata`. Raises NotFound."""

        def work(tx: Connection) -> Job:
            job = jobs.find(tx, team_id, job_id, locked=True)
            return jobs.add_metadata(tx, job, more, self._limits.metadata_bytes)

        return self._database.write(work)

    def job(self, team_id: str, job_id: str) -> Job:
        """Raises NotFound."""
        return self._database.read(lambda tx: jobs.find(tx, team_id, job_id))

    def jobs(self, team_id: str, limit: int, offset: int = 0, status: str | None = None) -> list[Job]:
        """A team's, the newest first."""
        return self._database.read(lambda tx: jobs.page(tx, team_id, limit, offset, status))

    def calls(self, team_id: str, job_id: str) -> list[Call]:
        """A job's, in their order, without those that never began. Raises NotFound."""

        def query(tx: Connection) -> list[Call]:
            made = jobs.calls_of(tx, jobs.find(tx, team_id, job_id).job_id)
            return [call for call in made if call.state != "withdrawn"]

        return self._database.read(query)

    def call(self, stream_id: str) -> Call:
        """Raises NotFound."""
        return self._database.read(lambda tx: calls.find(tx, stream_id))

    def sweep(self) -> Swept:
        """Fail the jobs whose time is over, which lets go of what they hold, and find the calls that somebody
        must settle, from what there is of their streams. Any process may do it at any time."""
        now = self._runtime.now()
        late = self._database.read(lambda tx: jobs.overdue(tx, now, AT_ONCE))
        failed = [job_id for team_id, job_id in late if self._expire(team_id, job_id)]
        for job_id in failed:
            logger.info("job %s was not ended within its time, and has failed", job_id)
        return Swept(failed, self._database.read(lambda tx: calls.overdue(tx, now, AT_ONCE)))

    def _expire(self, team_id: str, job_id: str) -> bool:
        job = self.end_job(team_id, job_id, "failed", error_message=EXPIRED)
        return job.error_message == EXPIRED


def later(moment: str, seconds: float) -> str:
    return (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")

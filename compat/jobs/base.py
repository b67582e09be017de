"""Jobs: asynchronous requests, and the store that holds them.

A job is ``starting`` until a worker claims it, ``running`` while the claim's lease lasts, and
then ``complete`` or ``failed``. A lease that ends without a word from its holder makes the job
``starting`` again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from geobento.schemas.errors import GeoBentoError, NotFound

JobState = Literal["starting", "running", "complete", "failed"]

MAX_CLAIMS = 3
"""A job that was claimed so many times and never finished is given up."""
GIVEN_UP_MESSAGE = (
    f"the service ended {MAX_CLAIMS} times while it worked on this job; it is not tried again"
)


JOB_NOT_FOUND_MESSAGE = "there is no such job; results are deleted after a while"


class JobNotFound(NotFound):
    """There is no such job, or its result has expired."""

    type = "job_not_found"


class JobStoreError(GeoBentoError):
    """The job store cannot be reached or written."""

    type: ClassVar[str] = "job_store_error"
    status: ClassVar[int] = 503


@dataclass(frozen=True)
class Job:
    """What can be known about a job.

    Attributes:
        id: Its name.
        task: What is to be done.
        model: Id of the model that does it.
        batched: Whether it has a list of inputs.
        state: How far it is.
        result: JSON text; None unless complete.
        detail: Why it failed; None unless failed.
    """

    id: str
    task: str
    model: str
    batched: bool
    state: JobState
    result: bytes | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Claim:
    """The right to work on a job until the lease ends.

    Attributes:
        job: The job, running.
        request: What was asked for, as it was added.
        token: Tells this claim from all others.
        attempt: How often the job was claimed with this one, without those given back.
    """

    job: Job
    request: bytes
    token: str
    attempt: int


class JobStore(Protocol):
    """Where jobs are kept. What a method has done when it returns survives the process.

    Every method raises JobStoreError where the store cannot be reached or written.
    """

    async def open(self) -> None:
        """Make ready for use; called once, before all others."""

    async def close(self) -> None:
        """Let go of files and connections."""

    async def add(self, task: str, model: str, batched: bool, request: bytes) -> Job:
        """Accept a job.

        Raises:
            Overloaded: As many jobs wait as may wait.
        """

    async def get(self, job_id: str) -> Job:
        """A job.

        Raises:
            JobNotFound: There is none of this id, or its result has expired.
        """

    async def list_unfinished(self, model: str) -> list[Job]:
        """The jobs of a model that wait or run, oldest first."""

    async def claim(self, lease_s: float) -> Claim | None:
        """Begin work on the oldest waiting job; None: nothing waits.

        A job that was claimed `MAX_CLAIMS` times already becomes failed instead.
        """

    async def renew(self, claim: Claim, lease_s: float) -> bool:
        """Prolong a lease; False: it has ended, and the job is no longer this claim's."""

    async def release(self, claim: Claim) -> None:
        """Let the job wait again, as if it had not been claimed."""

    async def finish(
        self, claim: Claim, *, result: bytes | None = None, detail: str | None = None
    ) -> None:
        """Store the result, or why there is none; forget the request.

        Without effect where the lease has ended.
        """

    async def stop_model(self, model: str) -> None:
        """Remember that a model is stopped."""

    async def start_model(self, model: str) -> None:
        """Forget that a model was stopped."""

    async def is_stopped(self, model: str) -> bool:
        """Whether a model is stopped."""

    async def delete_expired(self) -> None:
        """Delete results that have expired."""

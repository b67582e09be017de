"""The HTTP API of vitrivr's feature extraction server: models, tasks and jobs.

Paths, fields and states follow its OpenAPI document. Names of models and tasks are written with
hyphens; underscores are accepted, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from compat.jobs import worker
from compat.jobs.backpressure import Backpressure
from compat.jobs.base import Job, JobNotFound, JobState, JobStore
from compat.jobs.worker import JobWorker
from compat.vitrivr.tasks import TASKS, Task, TaskBody, TaskNotFound, check_job, run_task
from geobento.config.settings import Settings
from geobento.schemas.cards import ServedModel
from geobento.schemas.errors import GeoBentoError, InvalidRequest, ModelNotFound
from pipeline.async_engine import AsyncEngine
from pipeline.model_registry import ModelHandle
from server.responses import ErrorFormat, respond

API_PREFIX = "/api"

Result = TypeVar("Result")
Endpoint = Callable[[Request], Awaitable[bytes]]


class _ResponseModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobStatus(_ResponseModel):
    """A job and its state."""

    id: str
    status: JobState


class ModelStatus(_ResponseModel):
    """Whether a model accepts jobs, and its unfinished jobs."""

    status: Literal["running", "stopped"]
    jobs: list[JobStatus]


def _omit_when_absent(schema: dict[str, Any]) -> None:
    """Declare a field optional but not nullable: it is omitted instead of null."""
    del schema["default"]


class JobResponse(_ResponseModel, Generic[Result]):
    """The state of a job, with its result or the reason of its failure."""

    status: JobState
    result: Result | SkipJsonSchema[None] = Field(None, json_schema_extra=_omit_when_absent)
    detail: str | SkipJsonSchema[None] = Field(None, json_schema_extra=_omit_when_absent)


class BodyProblem(_ResponseModel):
    """A validation problem of one field of a body."""

    loc: list[str]
    msg: str
    type: str


class VitrivrErrorBody(_ResponseModel):
    """Body of every error: a message, or the validation problems of the body."""

    detail: str | list[BodyProblem]


class ModelStopped(GeoBentoError):
    """The model is stopped."""

    type = "model_stopped"
    status = 409


class InvalidBody(GeoBentoError):
    """The body does not validate; `detail` lists every problem."""

    type = "invalid_body"
    status = 422


def make_job_worker(
    get_engine: Callable[[], AsyncEngine],
    settings: Settings,
    is_ready: Callable[[], Awaitable[bool]],
) -> JobWorker:
    """The worker of the API's jobs, on the job store of the settings.

    Args:
        get_engine: The engine, once the service has built it.
        settings: The job store, its limits and the time to live of results.
        is_ready: Whether the models are ready; jobs start once they are.

    Raises:
        SettingsError: The job store cannot be used.
    """
    backpressure = Backpressure()

    async def run_job(job: Job, request: bytes) -> bytes:
        task = TASKS[job.task]
        body = task.select_body_type(job.batched).model_validate_json(request)
        return await run_task(get_engine(), task, job.model, body, backpressure.run)

    return worker.make_worker(settings, run_job, is_ready)


class VitrivrApi:
    """The endpoints of the API.

    Args:
        get_engine: The engine, once the service has built it.
        get_job_worker: The job worker, made by `make_job_worker`.
        timeout_s: Timeout of a request, seconds.
        max_items: Maximum number of inputs of a job.
    """

    def __init__(
        self,
        get_engine: Callable[[], AsyncEngine],
        get_job_worker: Callable[[], JobWorker],
        timeout_s: float,
        max_items: int,
    ) -> None:
        self._get_engine = get_engine
        self._get_job_worker = get_job_worker
        self._timeout_s = timeout_s
        self._max_items = max_items

    def routes(self) -> list[Route]:
        """One route per row of the table of endpoints."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/tasks", self.list_tasks),
            ("GET", "/tasks/{task}/models", self.list_models_of_task),
            ("GET", "/models", self.list_models),
            ("GET", "/models/{model}/tasks", self.list_tasks_of_model),
            ("POST", "/models/{model}/start", self.start_model),
            ("POST", "/models/{model}/stop", self.stop_model),
            ("GET", "/models/{model}/status", self.model_status),
            ("POST", "/tasks/{task}/{model}/jobs", partial(self.create_job, batched=False)),
            ("GET", "/tasks/{task}/jobs/{job}", partial(self.job_status, batched=False)),
            ("POST", "/tasks/{task}/batched/{model}/jobs", partial(self.create_job, batched=True)),
            ("GET", "/tasks/{task}/batched/jobs/{job}", partial(self.job_status, batched=True)),
            ("POST", "/legacy/tasks/{task}/{model}/jobs", self.run_sync),
        ]
        return [self._route(*row) for row in table]

    async def list_tasks(self, _: Request) -> bytes:
        """Names of all tasks."""
        return orjson.dumps(list(TASKS))

    async def list_models(self, _: Request) -> bytes:
        """Names of all served models."""
        return orjson.dumps([_hyphenated_name(model) for model in self._served_models()])

    async def list_models_of_task(self, request: Request) -> bytes:
        """Names of the models that support a task."""
        task = _find_task(request)
        models = [model for model in self._served_models() if task.is_supported_by(model)]
        return orjson.dumps([_hyphenated_name(model) for model in models])

    async def list_tasks_of_model(self, request: Request) -> bytes:
        """Names of the tasks that a model supports."""
        return orjson.dumps(_supported_tasks(self._find_model(request).served))

    async def start_model(self, request: Request) -> bytes:
        """Let a model accept jobs."""
        served = self._find_model(request).served
        await self._store.start_model(served.card.id)
        return await self._model_status(served)

    async def stop_model(self, request: Request) -> bytes:
        """Let a model refuse new jobs."""
        served = self._find_model(request).served
        await self._store.stop_model(served.card.id)
        return await self._model_status(served)

    async def model_status(self, request: Request) -> bytes:
        """Whether a model accepts jobs, and its unfinished jobs."""
        return await self._model_status(self._find_model(request).served)

    async def run_sync(self, request: Request) -> bytes:
        """The output of one input, without a job."""
        task, served, body = await self._read_job_request(request, batched=False)
        return await run_task(self._get_engine(), task, served.card.id, body)

    async def create_job(self, request: Request, *, batched: bool) -> bytes:
        """Accept a job."""
        task, served, body = await self._read_job_request(request, batched=batched)
        job = await self._get_job_worker().add(
            task.name, served.card.id, batched, body.model_dump_json().encode()
        )
        return _to_json(JobStatus(id=job.id, status=job.state))

    async def job_status(self, request: Request, *, batched: bool) -> bytes:
        """The state of a job, with its result once it is complete."""
        task = _find_task(request)
        job = await self._store.get(request.path_params["job"])
        if (job.task, job.batched) != (task.name, batched):
            segment = "/batched/jobs/" if job.batched else "/jobs/"
            raise JobNotFound(f"this job is at {API_PREFIX}/tasks/{job.task}{segment}{job.id}")
        return _job_result(job)

    @property
    def _store(self) -> JobStore:
        return self._get_job_worker().store

    def _served_models(self) -> list[ServedModel]:
        return self._get_engine().registry.default_variants()

    def _route(self, method: str, path: str, endpoint: Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            return await respond(endpoint(request), self._timeout_s, ERROR_FORMAT)

        return Route(API_PREFIX + path, handle, methods=[method])

    def _find_model(self, request: Request) -> ModelHandle:
        name = request.path_params["model"]
        for spelling in (name.replace("-", "_"), name):
            try:
                return self._get_engine().registry.find(spelling)
            except ModelNotFound:
                continue
        available = ", ".join(_hyphenated_name(model) for model in self._served_models())
        raise ModelNotFound(f"there is no model {name!r}; available: {available}")

    async def _read_job_request(
        self, request: Request, *, batched: bool
    ) -> tuple[Task, ServedModel, TaskBody]:
        """The task, the model and the body of a new job.

        Raises:
            GeoBentoError: The job cannot be accepted.
        """
        task, handle = _find_task(request), self._find_model(request)
        served = handle.served
        name = _hyphenated_name(served)
        if not task.is_supported_by(served):
            supported = ", ".join(_supported_tasks(served)) or "none"
            raise TaskNotFound(f"{name} does not support {task.name}; its tasks: {supported}")
        if await self._store.is_stopped(served.card.id):
            raise ModelStopped(
                f"{name} is stopped; POST {API_PREFIX}/models/{name}/start starts it"
            )
        body = await _read_body(request, task.select_body_type(batched))
        await check_job(handle, task, body, self._max_items)
        return task, served, body

    async def _model_status(self, served: ServedModel) -> bytes:
        stopped = await self._store.is_stopped(served.card.id)
        unfinished = await self._store.list_unfinished(served.card.id)
        jobs = [JobStatus(id=job.id, status=job.state) for job in unfinished]
        return _to_json(ModelStatus(status="stopped" if stopped else "running", jobs=jobs))


def _supported_tasks(served: ServedModel) -> list[str]:
    return [task.name for task in TASKS.values() if task.is_supported_by(served)]


def _find_task(request: Request) -> Task:
    name = request.path_params["task"]
    task = TASKS.get(name.replace("_", "-"))
    if task is None:
        raise TaskNotFound(f"there is no task {name!r}; available: {', '.join(TASKS)}")
    return task


def _hyphenated_name(served: ServedModel) -> str:
    """The name of a model in the API."""
    return served.card.id.replace("_", "-")


async def _read_body(request: Request, body_type: type[TaskBody]) -> TaskBody:
    try:
        return body_type.model_validate_json(await request.body())
    except ValidationError as error:
        problems = [
            BodyProblem(
                loc=["body", *map(str, problem["loc"])], msg=problem["msg"], type=problem["type"]
            ).model_dump()
            for problem in error.errors(include_url=False, include_context=False)
        ]
        raise InvalidBody("the body does not validate", detail=problems) from None
    except ClientDisconnect:
        raise InvalidRequest("the connection was closed before the body was complete") from None


def _job_result(job: Job) -> bytes:
    """The state of a job as JSON.

    `result` is omitted until the job is complete: the document declares it as not nullable, and
    generated clients fail on null.
    """
    if job.result is not None:
        return b'{"status":"complete","result":%b}' % job.result
    return _to_json(JobResponse[Any](status=job.state, detail=job.detail))


def _to_json(response: BaseModel) -> bytes:
    return response.model_dump_json(exclude_none=True).encode()


def _error_body(error: GeoBentoError) -> tuple[Any, int]:
    detail = error.detail if isinstance(error, InvalidBody) else error.message
    return {"detail": detail}, error.status


ERROR_FORMAT = ErrorFormat(
    _error_body,
    lambda body: isinstance(body, dict) and isinstance(body.get("detail"), str | list),
    VitrivrErrorBody,
)
"""``{"detail": "..."}``; for a body that does not validate, FastAPI's list of problems."""

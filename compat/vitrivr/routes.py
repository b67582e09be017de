"""The HTTP API of vitrivr's feature extraction server: jobs, models, and answers at once.

Paths, fields and states are those of its OpenAPI document. Models and tasks have hyphens in
their names there; underscores are understood, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from compat.jobs import worker
from compat.jobs.backpressure import Backpressure
from compat.jobs.base import Job, JobNotFound, JobState
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


class _ResponseModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobStatus(_ResponseModel):
    """A job and how far it is."""

    id: str
    status: JobState


class ModelStatus(_ResponseModel):
    """Whether a model takes jobs, and those that it has not finished."""

    status: Literal["running", "stopped"]
    jobs: list[JobStatus]


def _omit_when_absent(schema: dict[str, Any]) -> None:
    """A field that is left out where there is nothing to say, and never null."""
    del schema["default"]


class JobResponse(_ResponseModel, Generic[Result]):
    """How far a job is, what came of it, or why it failed."""

    status: JobState
    result: Result | SkipJsonSchema[None] = Field(None, json_schema_extra=_omit_when_absent)
    detail: str | SkipJsonSchema[None] = Field(None, json_schema_extra=_omit_when_absent)


class BodyProblem(_ResponseModel):
    """What is wrong with one field of a body."""

    loc: list[str]
    msg: str
    type: str


class VitrivrErrorBody(_ResponseModel):
    """Body of every failing answer: a sentence, or what is wrong with the body."""

    detail: str | list[BodyProblem]


class ModelStopped(GeoBentoError):
    """The model was stopped, and has not been started since."""

    type = "model_stopped"
    status = 409


class InvalidBody(GeoBentoError):
    """The body is not what the route takes; `detail` lists every problem."""

    type = "invalid_body"
    status = 422


def make_job_worker(
    get_engine: Callable[[], AsyncEngine],
    settings: Settings,
    is_ready: Callable[[], Awaitable[bool]],
) -> JobWorker:
    """The jobs of the API, kept where the settings say.

    Args:
        get_engine: What answers.
        settings: Where jobs are kept, how many, and for how long.
        is_ready: Whether the models can be asked; work begins when they can.

    Raises:
        SettingsError: The job store cannot be used.
    """
    pace = Backpressure()

    async def work(job: Job, request: bytes) -> bytes:
        task = TASKS[job.task]
        body = task.select_body_type(job.batched).model_validate_json(request)
        return await run_task(get_engine(), task, job.model, body, pace.run)

    return worker.make_worker(settings, work, is_ready)


def routes(
    get_engine: Callable[[], AsyncEngine],
    get_job_worker: Callable[[], JobWorker],
    timeout_s: float,
    max_items: int,
) -> list[Route]:
    """The routes of the API.

    Args:
        get_engine: What answers.
        get_job_worker: The jobs, made by `get_job_worker`.
        timeout_s: Longest time for a request.
        max_items: Most inputs in one job.
    """

    def route(path: str, method: str, answer: Callable[[Request], Awaitable[bytes]]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await respond(answer(request), timeout_s, ERROR_SHAPE)

        return Route(API_PREFIX + path, endpoint, methods=[method])

    async def asked(request: Request, *, batched: bool) -> tuple[Task, ServedModel, TaskBody]:
        task, opened = _find_task(request), _find_model(get_engine(), request)
        served = opened.served
        if not task.is_supported_by(served):
            listed = ", ".join(
                other.name for other in TASKS.values() if other.is_supported_by(served)
            )
            name = _hyphenated_name(served)
            raise TaskNotFound(f"{name} does not do {task.name}; its tasks: {listed or 'none'}")
        if await get_job_worker().store.is_stopped(served.card.id):
            start = f"{API_PREFIX}/models/{_hyphenated_name(served)}/start"
            raise ModelStopped(f"{_hyphenated_name(served)} is stopped; POST {start} starts it")
        body = await _read_body(request, task.select_body_type(batched))
        await check_job(opened, task, body, max_items)
        return task, served, body

    async def tasks(_: Request) -> bytes:
        return orjson.dumps(list(TASKS))

    async def models(_: Request) -> bytes:
        return orjson.dumps(
            [_hyphenated_name(served) for served in get_engine().registry.default_variants()]
        )

    async def models_of_task(request: Request) -> bytes:
        task = _find_task(request)
        return orjson.dumps(
            [
                _hyphenated_name(served)
                for served in get_engine().registry.default_variants()
                if task.is_supported_by(served)
            ]
        )

    async def tasks_of_model(request: Request) -> bytes:
        served = _find_model(get_engine(), request).served
        return orjson.dumps([task.name for task in TASKS.values() if task.is_supported_by(served)])

    async def start_model(request: Request) -> bytes:
        served = _find_model(get_engine(), request).served
        await get_job_worker().store.start_model(served.card.id)
        return await _model_status(get_job_worker(), served)

    async def stop_model(request: Request) -> bytes:
        served = _find_model(get_engine(), request).served
        await get_job_worker().store.stop_model(served.card.id)
        return await _model_status(get_job_worker(), served)

    async def model_status(request: Request) -> bytes:
        return await _model_status(get_job_worker(), _find_model(get_engine(), request).served)

    async def at_once(request: Request) -> bytes:
        task, served, body = await asked(request, batched=False)
        return await run_task(get_engine(), task, served.card.id, body)

    def new_job(*, batched: bool) -> Callable[[Request], Awaitable[bytes]]:
        async def answer(request: Request) -> bytes:
            task, served, body = await asked(request, batched=batched)
            text = body.model_dump_json().encode()
            job = await get_job_worker().add(task.name, served.card.id, batched, text)
            return _to_json(JobStatus(id=job.id, status=job.state))

        return answer

    def result(*, batched: bool) -> Callable[[Request], Awaitable[bytes]]:
        async def answer(request: Request) -> bytes:
            task = _find_task(request)
            job = await get_job_worker().store.get(request.path_params["job"])
            if (job.task, job.batched) != (task.name, batched):
                way = "/batched/jobs/" if job.batched else "/jobs/"
                raise JobNotFound(f"this job is at {API_PREFIX}/tasks/{job.task}{way}{job.id}")
            return _job_result(job)

        return answer

    return [
        route("/tasks", "GET", tasks),
        route("/tasks/{task}/models", "GET", models_of_task),
        route("/models", "GET", models),
        route("/models/{model}/tasks", "GET", tasks_of_model),
        route("/models/{model}/start", "POST", start_model),
        route("/models/{model}/stop", "POST", stop_model),
        route("/models/{model}/status", "GET", model_status),
        route("/tasks/{task}/{model}/jobs", "POST", new_job(batched=False)),
        route("/tasks/{task}/jobs/{job}", "GET", result(batched=False)),
        route("/tasks/{task}/batched/{model}/jobs", "POST", new_job(batched=True)),
        route("/tasks/{task}/batched/jobs/{job}", "GET", result(batched=True)),
        route("/legacy/tasks/{task}/{model}/jobs", "POST", at_once),
    ]


def _find_task(request: Request) -> Task:
    name = request.path_params["task"]
    task = TASKS.get(name.replace("_", "-"))
    if task is None:
        raise TaskNotFound(f"there is no task {name!r}; available: {', '.join(TASKS)}")
    return task


def _find_model(engine: AsyncEngine, request: Request) -> ModelHandle:
    name = request.path_params["model"]
    for spelling in (name.replace("-", "_"), name):
        try:
            return engine.registry.find(spelling)
        except ModelNotFound:
            continue
    listed = ", ".join(_hyphenated_name(served) for served in engine.registry.default_variants())
    raise ModelNotFound(f"there is no model {name!r}; available: {listed}")


def _hyphenated_name(served: ServedModel) -> str:
    """A model's name as the API has it."""
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
        raise InvalidBody("the body is not what this route takes", detail=problems) from None
    except ClientDisconnect:
        raise InvalidRequest("the connection was closed before the body was complete") from None


async def _model_status(job_worker: JobWorker, served: ServedModel) -> bytes:
    stopped = await job_worker.store.is_stopped(served.card.id)
    unfinished = await job_worker.store.list_unfinished(served.card.id)
    jobs_left = [JobStatus(id=job.id, status=job.state) for job in unfinished]
    return _to_json(ModelStatus(status="stopped" if stopped else "running", jobs=jobs_left))


def _job_result(job: Job) -> bytes:
    """The answer about a job.

    `result` is left out until there is one, as the document has it: it is not nullable there,
    and generated clients fail on null.
    """
    if job.result is not None:
        return b'{"status":"complete","result":%b}' % job.result
    return _to_json(JobResponse[Any](status=job.state, detail=job.detail))


def _to_json(response: BaseModel) -> bytes:
    return response.model_dump_json(exclude_none=True).encode()


def _error_body(error: GeoBentoError) -> tuple[Any, int]:
    listed = isinstance(error, InvalidBody)
    return {"detail": error.detail if listed else error.message}, error.status


ERROR_SHAPE = ErrorFormat(
    _error_body,
    lambda body: isinstance(body, dict) and isinstance(body.get("detail"), str | list),
    VitrivrErrorBody,
)
"""``{"detail": "..."}``, and FastAPI's list of problems for a body that does not validate."""

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
from compat.jobs.backpressure import Pace
from compat.jobs.base import Job, JobNotFound, State
from compat.jobs.worker import Jobs
from compat.vitrivr.tasks import TASKS, Body, Task, TaskNotFound, check, output
from geobento.config.settings import Settings
from geobento.schemas.cards import ServedModel
from geobento.schemas.errors import GeoBentoError, InvalidRequest, ModelNotFound
from pipeline.async_engine import Serving
from pipeline.registry import OpenModel
from server.responses import ErrorShape, answered

PREFIX = "/api"

Result = TypeVar("Result")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobStatus(_Answer):
    """A job and how far it is."""

    id: str
    status: State


class ModelStatus(_Answer):
    """Whether a model takes jobs, and those that it has not finished."""

    status: Literal["running", "stopped"]
    jobs: list[JobStatus]


def _absent(schema: dict[str, Any]) -> None:
    """A field that is left out where there is nothing to say, and never null."""
    del schema["default"]


class JobResponse(_Answer, Generic[Result]):
    """How far a job is, what came of it, or why it failed."""

    status: State
    result: Result | SkipJsonSchema[None] = Field(None, json_schema_extra=_absent)
    detail: str | SkipJsonSchema[None] = Field(None, json_schema_extra=_absent)


class BodyProblem(_Answer):
    """What is wrong with one field of a body."""

    loc: list[str]
    msg: str
    type: str


class VitrivrProblem(_Answer):
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


def jobs(
    serving: Callable[[], Serving],
    settings: Settings,
    ready: Callable[[], Awaitable[bool]],
) -> Jobs:
    """The jobs of the API, kept where the settings say.

    Args:
        serving: What answers.
        settings: Where jobs are kept, how many, and for how long.
        ready: Whether the models can be asked; work begins when they can.

    Raises:
        SettingsError: The job store cannot be used.
    """
    pace = Pace()

    async def work(job: Job, request: bytes) -> bytes:
        task = TASKS[job.task]
        body = task.body(job.batched).model_validate_json(request)
        return await output(serving(), task, job.model, body, pace.ask)

    return worker.configured(settings, work, ready)


def routes(
    serving: Callable[[], Serving], jobs: Callable[[], Jobs], timeout_s: float, max_items: int
) -> list[Route]:
    """The routes of the API.

    Args:
        serving: What answers.
        jobs: The jobs, made by `jobs`.
        timeout_s: Longest time for a request.
        max_items: Most inputs in one job.
    """

    def route(path: str, method: str, answer: Callable[[Request], Awaitable[bytes]]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await answered(answer(request), timeout_s, SHAPE)

        return Route(PREFIX + path, endpoint, methods=[method])

    async def asked(request: Request, *, batched: bool) -> tuple[Task, ServedModel, Body]:
        task, opened = _task(request), _model(serving(), request)
        served = opened.served
        if not task.offered_by(served):
            listed = ", ".join(other.name for other in TASKS.values() if other.offered_by(served))
            name = _shown(served)
            raise TaskNotFound(f"{name} does not do {task.name}; its tasks: {listed or 'none'}")
        if await jobs().store.is_stopped(served.card.id):
            start = f"{PREFIX}/models/{_shown(served)}/start"
            raise ModelStopped(f"{_shown(served)} is stopped; POST {start} starts it")
        body = await _body(request, task.body(batched))
        await check(opened, task, body, max_items)
        return task, served, body

    async def tasks(_: Request) -> bytes:
        return orjson.dumps(list(TASKS))

    async def models(_: Request) -> bytes:
        return orjson.dumps([_shown(served) for served in serving().registry.by_id()])

    async def models_of_task(request: Request) -> bytes:
        task = _task(request)
        return orjson.dumps(
            [_shown(served) for served in serving().registry.by_id() if task.offered_by(served)]
        )

    async def tasks_of_model(request: Request) -> bytes:
        served = _model(serving(), request).served
        return orjson.dumps([task.name for task in TASKS.values() if task.offered_by(served)])

    async def start_model(request: Request) -> bytes:
        served = _model(serving(), request).served
        await jobs().store.start_model(served.card.id)
        return await _status(jobs(), served)

    async def stop_model(request: Request) -> bytes:
        served = _model(serving(), request).served
        await jobs().store.stop_model(served.card.id)
        return await _status(jobs(), served)

    async def model_status(request: Request) -> bytes:
        return await _status(jobs(), _model(serving(), request).served)

    async def at_once(request: Request) -> bytes:
        task, served, body = await asked(request, batched=False)
        return await output(serving(), task, served.card.id, body)

    def new_job(*, batched: bool) -> Callable[[Request], Awaitable[bytes]]:
        async def answer(request: Request) -> bytes:
            task, served, body = await asked(request, batched=batched)
            text = body.model_dump_json().encode()
            job = await jobs().add(task.name, served.card.id, batched, text)
            return _dumped(JobStatus(id=job.id, status=job.state))

        return answer

    def result(*, batched: bool) -> Callable[[Request], Awaitable[bytes]]:
        async def answer(request: Request) -> bytes:
            task = _task(request)
            job = await jobs().store.get(request.path_params["job"])
            if (job.task, job.batched) != (task.name, batched):
                way = "/batched/jobs/" if job.batched else "/jobs/"
                raise JobNotFound(f"this job is at {PREFIX}/tasks/{job.task}{way}{job.id}")
            return _result(job)

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


def _task(request: Request) -> Task:
    name = request.path_params["task"]
    task = TASKS.get(name.replace("_", "-"))
    if task is None:
        raise TaskNotFound(f"there is no task {name!r}; available: {', '.join(TASKS)}")
    return task


def _model(serving: Serving, request: Request) -> OpenModel:
    name = request.path_params["model"]
    for spelling in (name.replace("-", "_"), name):
        try:
            return serving.registry.find(spelling)
        except ModelNotFound:
            continue
    listed = ", ".join(_shown(served) for served in serving.registry.by_id())
    raise ModelNotFound(f"there is no model {name!r}; available: {listed}")


def _shown(served: ServedModel) -> str:
    """A model's name as the API has it."""
    return served.card.id.replace("_", "-")


async def _body(request: Request, cls: type[Body]) -> Body:
    try:
        return cls.model_validate_json(await request.body())
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


async def _status(jobs: Jobs, served: ServedModel) -> bytes:
    stopped = await jobs.store.is_stopped(served.card.id)
    unfinished = await jobs.store.unfinished(served.card.id)
    jobs_left = [JobStatus(id=job.id, status=job.state) for job in unfinished]
    return _dumped(ModelStatus(status="stopped" if stopped else "running", jobs=jobs_left))


def _result(job: Job) -> bytes:
    """The answer about a job.

    `result` is left out until there is one, as the document has it: it is not nullable there,
    and generated clients fail on null.
    """
    if job.result is not None:
        return b'{"status":"complete","result":%b}' % job.result
    return _dumped(JobResponse[Any](status=job.state, detail=job.detail))


def _dumped(answer: BaseModel) -> bytes:
    return answer.model_dump_json(exclude_none=True).encode()


def _error(error: GeoBentoError) -> tuple[Any, int]:
    listed = isinstance(error, InvalidBody)
    return {"detail": error.detail if listed else error.message}, error.status


SHAPE = ErrorShape(
    _error,
    lambda body: isinstance(body, dict) and isinstance(body.get("detail"), str | list),
    VitrivrProblem,
)
"""``{"detail": "..."}``, and FastAPI's list of problems for a body that does not validate."""

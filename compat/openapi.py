"""What the OpenAPI document says of the routes of other servers' APIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, create_model

from compat.jobs.base import JobNotFound, JobStoreError
from compat.openai import routes as openai_routes
from compat.openai import schemas as openai
from compat.vitrivr import routes
from compat.vitrivr.routes import InvalidBody, JobResponse, JobStatus, ModelStatus, ModelStopped
from compat.vitrivr.tasks import TASKS, Task, TaskNotFound
from geobento.schemas.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    PayloadTooLarge,
    SourceError,
    UnsupportedMediaType,
)
from server.openapi.operations import ErrorOrType, Operation, Parameter, Tag

OPENAI_TAG = Tag("OpenAI", "OpenAI's embeddings API.")
VITRIVR_TAG = Tag(
    "vitrivr", "The API of vitrivr's feature extraction server: its models and tasks."
)

_COMMON_ERRORS: tuple[ErrorOrType, ...] = (InternalError, Overloaded, DeadlineExceeded)
_BODY_ERRORS: tuple[ErrorOrType, ...] = (
    InvalidRequest,
    PayloadTooLarge,
    ModelNotFound,
    TaskNotFound,
    ModelStopped,
    InvalidBody(
        "The body is not what the route takes; every problem is listed.",
        detail=[
            {"loc": ["body", "config"], "msg": "Input should be an object", "type": "dict_type"}
        ],
    ),
    *_COMMON_ERRORS,
    JobStoreError,
)
_MODEL_PARAMETER = Parameter(
    "Id or alias of a served model, with hyphens or underscores.", "mosaiks"
)
_PARAMETERS = {
    "model": _MODEL_PARAMETER,
    "task": Parameter("Name of a task.", "image-embedding", tuple(TASKS)),
    "job": Parameter("Id of a job.", "7f8d2c1e4a5b4c6d8e9f0a1b2c3d4e5f"),
}


def operations() -> list[Operation]:
    """All of them."""
    result = [*_openai_operations(), *_vitrivr_operations()]
    for task in TASKS.values():
        result += _task_operations(task)
    return result


def _openai_operations() -> list[Operation]:
    embedded = openai.OpenAIEmbeddings(
        object="list",
        data=[openai.OpenAIEmbedding(object="embedding", index=0, embedding=[0.0123, -0.0456])],
        model="clip_vit_large_patch14",
        usage=openai.OpenAIUsage(prompt_tokens=5, total_tokens=5),
    )
    return [
        Operation(
            "openai_create_embeddings",
            "post",
            "/v1/embeddings",
            OPENAI_TAG,
            "Texts and images into vectors",
            openai.OpenAIEmbeddings,
            (
                InvalidRequest,
                ModelNotFound,
                PayloadTooLarge,
                UnsupportedMediaType,
                *_COMMON_ERRORS,
                SourceError,
            ),
            openai.EmbeddingsRequest,
            response_description="One vector per input, in order",
            response_example=embedded.model_dump(mode="json"),
            error_format=openai_routes.ERROR_FORMAT,
        ),
        Operation(
            "openai_list_models",
            "get",
            "/v1/models",
            OPENAI_TAG,
            "The models that are served",
            openai.OpenAIModels,
            (Overloaded,),
            error_format=openai_routes.ERROR_FORMAT,
        ),
        Operation(
            "openai_retrieve_model",
            "get",
            "/v1/models/{model}",
            OPENAI_TAG,
            "One model",
            openai.OpenAIModel,
            (ModelNotFound, Overloaded),
            parameters={"model": Parameter("Id or alias.", "mosaiks")},
            error_format=openai_routes.ERROR_FORMAT,
        ),
    ]


def _vitrivr_operations() -> list[Operation]:
    names, status = list[str], ModelStatus
    missing = (ModelNotFound, *_COMMON_ERRORS)
    stored = (*missing, JobStoreError)
    return [
        _vitrivr_operation(
            "list_tasks", "get", "/tasks", "Names of the tasks", names, _COMMON_ERRORS
        ),
        _vitrivr_operation(
            "list_models_of_task",
            "get",
            "/tasks/{task}/models",
            "Names of the models that do a task",
            names,
            (TaskNotFound, *_COMMON_ERRORS),
        ),
        _vitrivr_operation(
            "list_models", "get", "/models", "Names of the models", names, _COMMON_ERRORS
        ),
        _vitrivr_operation(
            "list_tasks_of_model",
            "get",
            "/models/{model}/tasks",
            "Names of the tasks that a model does",
            names,
            missing,
        ),
        _vitrivr_operation(
            "start_model", "post", "/models/{model}/start", "Let a model take jobs", status, stored
        ),
        _vitrivr_operation(
            "stop_model", "post", "/models/{model}/stop", "Let a model take no jobs", status, stored
        ),
        _vitrivr_operation(
            "model_status",
            "get",
            "/models/{model}/status",
            "Whether a model takes jobs, and those that it has",
            status,
            stored,
        ),
    ]


def _task_operations(task: Task) -> list[Operation]:
    name = task.name.replace("-", "_")
    reads_texts = "text" in task.required_inputs
    model = (
        replace(_MODEL_PARAMETER, example="clip-vit-large-patch14")
        if reads_texts
        else _MODEL_PARAMETER
    )
    common: dict[str, Any] = {
        "tag": Tag(task.name, f"Jobs of vitrivr's task {task.name}."),
        "parameters": {**_PARAMETERS, "model": model},
    }
    result = [
        _vitrivr_operation(
            f"{name}_at_once",
            "post",
            f"/legacy/tasks/{task.name}/{{model}}/jobs",
            "The output of an input, at once",
            task.output_type,
            (*_BODY_ERRORS, SourceError),
            task.body_type,
            **common,
        )
    ]
    for batched in (False, True):
        way, which = ("batched/", "batched_") if batched else ("", "")
        result += [
            _vitrivr_operation(
                f"{name}_new_{which}job",
                "post",
                f"/tasks/{task.name}/{way}{{model}}/jobs",
                "A new job with several inputs" if batched else "A new job",
                JobStatus,
                _BODY_ERRORS,
                task.select_body_type(batched),
                **common,
            ),
            _vitrivr_operation(
                f"{name}_{which}job",
                "get",
                f"/tasks/{task.name}/{way}jobs/{{job}}",
                "How far a job with several inputs is" if batched else "How far a job is",
                _job_response_model(task, batched=batched),
                (JobNotFound, *_COMMON_ERRORS, JobStoreError),
                **common,
            ),
        ]
    return result


def _job_response_model(task: Task, *, batched: bool) -> type[BaseModel]:
    output: Any = task.output_type
    base: Any = JobResponse[list[output]] if batched else JobResponse[output]
    name = f"{'Batched' if batched else ''}JobResponse{task.output_type.__name__}"
    model_type: type[BaseModel] = create_model(name, __base__=base, __doc__=JobResponse.__doc__)
    return model_type


def _vitrivr_operation(
    name: str,
    method: str,
    path: str,
    summary: str,
    response: Any,
    errors: Sequence[ErrorOrType],
    request: type[BaseModel] | None = None,
    *,
    tag: Tag = VITRIVR_TAG,
    parameters: Mapping[str, Parameter] = _PARAMETERS,
) -> Operation:
    return Operation(
        f"vitrivr_{name}",
        method,
        routes.API_PREFIX + path,
        tag,
        summary,
        response,
        tuple(errors),
        request,
        parameters=parameters,
        error_format=routes.ERROR_FORMAT,
    )

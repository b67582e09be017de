"""Errors with their HTTP status.

    GeoBentoError
    ├── InvalidRequest         400  a value is missing, misspelt or out of range
    │   ├── InvalidImage       400  bytes that are not an image this service reads
    │   ├── SpecError          400  a region, window, sensor or output that is not valid
    │   └── ModelError         400  the model does not support what was requested
    │       └── ModelNotFound  404  no such model is served
    ├── Unauthorized           401  no API key, or an unknown one
    ├── NotFound               404  no such route
    ├── MethodNotAllowed       405  the route does not accept this HTTP method
    ├── PayloadTooLarge        413  the body, or an image in it, is over a limit
    ├── UnsupportedMediaType   415  the body is in a format that the route does not read
    ├── RateLimited            429  the API key is at its limit; try again later
    ├── InternalError          500  a defect of the service; see its log
    ├── SourceError            502  an imagery source failed, or its response is not valid
    │   ├── NoImageryError     422  the source has no usable pixel for region and window
    │   ├── QuotaError         429  the quota of the source is used up; try again later
    │   └── SourceUnavailable  503  the source cannot be reached, or does not work
    ├── Overloaded             503  a limit of the service is reached; try again later
    └── DeadlineExceeded       504  the work took longer than the service allows

    ModelStoreError            the model store lacks a model, or an entry is damaged
    MissingExtra               a feature needs an extra such as geobento[serve]
    SettingsError              a GEOBENTO_* variable is not valid; raised at start

For regions, catch ``SpecError`` (the request is not valid), ``ModelError`` (the model does not
support it) and ``SourceError`` (there is no imagery).

Every ``GeoBentoError`` can be sent to a client unchanged: ``message`` says what was wrong and what
is accepted, and never holds a path or a secret of the server.
"""

from __future__ import annotations

from typing import Any, ClassVar


class GeoBentoError(Exception):
    """Base of all errors that become HTTP responses.

    Args:
        message: One or two sentences: what was wrong, what is accepted.
        field: Dotted path of the request field at fault, such as ``spatials.1.lat``.
        detail: Machine-readable details; plain JSON values only.
        retry_after: Seconds after which the same request may succeed.
    """

    type: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        detail: Any = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.detail = detail
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """JSON body of the response."""
        return {
            "error": {
                "type": self.type,
                "message": self.message,
                "field": self.field,
                "detail": self.detail,
            }
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            _restore_error,
            (type(self), self.message, self.field, self.detail, self.retry_after),
        )


def _restore_error(
    cls: type[GeoBentoError],
    message: str,
    field: str | None,
    detail: Any,
    retry_after: float | None,
) -> GeoBentoError:
    return cls(message, field=field, detail=detail, retry_after=retry_after)


class InvalidRequest(GeoBentoError):
    """A value of the request is missing, misspelt or out of range."""

    type = "invalid_request"
    status = 400


class InvalidImage(InvalidRequest):
    """The bytes given as an image cannot be decoded, or the image is too small."""

    type = "invalid_image"


class SpecError(InvalidRequest):
    """A region, time window, sensor, output or input preparation is not valid."""

    type = "spec_error"


class ModelError(InvalidRequest):
    """The model does not support the request."""

    type = "model_error"


class ModelNotFound(ModelError):
    """No model with this id or alias is served."""

    type = "model_not_found"
    status = 404


class Unauthorized(GeoBentoError):
    """The service requires an API key, and the request has none or an unknown one."""

    type = "unauthorized"
    status = 401


class NotFound(GeoBentoError):
    """No such route."""

    type = "not_found"
    status = 404


class MethodNotAllowed(GeoBentoError):
    """The route does not accept this HTTP method."""

    type = "method_not_allowed"
    status = 405


class PayloadTooLarge(GeoBentoError):
    """The body, or an image or a region in it, exceeds a limit of the service."""

    type = "payload_too_large"
    status = 413


class UnsupportedMediaType(GeoBentoError):
    """The route does not read bodies of this content type."""

    type = "unsupported_media_type"
    status = 415


class RateLimited(GeoBentoError):
    """The API key has reached its limit of requests."""

    type = "rate_limited"
    status = 429


class InternalError(GeoBentoError):
    """A defect of the service. The message is constant; the log has the cause."""

    type = "internal_error"
    status = 500


class SourceError(GeoBentoError):
    """An imagery source failed, or its response is not valid."""

    type = "source_error"
    status = 502


class NoImageryError(SourceError):
    """The source has no usable pixel for this region and time window."""

    type = "no_imagery"
    status = 422


class QuotaError(SourceError):
    """The quota of the source is used up; `retry_after` says for how long."""

    type = "quota_error"
    status = 429


class SourceUnavailable(SourceError):
    """The source cannot be reached, does not work, or did not respond in time."""

    type = "source_unavailable"
    status = 503


class Overloaded(GeoBentoError):
    """A limit of the service on concurrent work is reached."""

    type = "overloaded"
    status = 503


class DeadlineExceeded(GeoBentoError):
    """The request was not done before its deadline."""

    type = "deadline_exceeded"
    status = 504


class ModelStoreError(Exception):
    """The model store lacks a model, or the digest of an entry does not match."""


class MissingExtra(ImportError):
    """A feature needs an extra of the package, such as ``geobento[serve]``."""


class SettingsError(Exception):
    """A ``GEOBENTO_*`` variable has a value that is not valid."""


def _all_errors(cls: type[GeoBentoError]) -> list[type[GeoBentoError]]:
    return [cls, *(error for child in cls.__subclasses__() for error in _all_errors(child))]


def error_from_body(
    body: Any, status: int = 500, retry_after: float | None = None
) -> GeoBentoError:
    """The error of a failed response.

    Args:
        body: The decoded JSON body, ``{"error": {...}}``.
        status: HTTP status, used if the type in the body is unknown.
        retry_after: Value of the header of that name, seconds.
    """
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {"message": str(body)[:500]}
    kind = error.get("type")
    known = {c.type: c for c in _all_errors(GeoBentoError)}
    cls = (
        known.get(kind, error_class_for_status(status))
        if isinstance(kind, str)
        else error_class_for_status(status)
    )
    return cls(
        str(error.get("message", "")),
        field=error.get("field"),
        detail=error.get("detail"),
        retry_after=retry_after,
    )


def error_class_for_status(status: int) -> type[GeoBentoError]:
    """The error class for an HTTP status that another layer chose."""
    # Subclasses in other packages are private to them.
    ours = [cls for cls in _all_errors(GeoBentoError)[1:] if cls.__module__ == __name__]
    general_last = sorted(ours, key=lambda cls: -len(cls.__mro__))
    exact = {cls.status: cls for cls in general_last}
    return exact.get(status, InvalidRequest if 400 <= status < 500 else InternalError)

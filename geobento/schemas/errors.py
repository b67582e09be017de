"""Everything that can go wrong on purpose, with its HTTP status.

    GeoBentoError
    ├── InvalidRequest         400  a value is missing, misspelt or out of range
    │   ├── InvalidImage       400  bytes that are not a picture this service reads
    │   ├── SpecError          400  a place, window, sensor or output that cannot be
    │   └── ModelError         400  the model does not offer what was asked of it
    │       └── ModelNotFound  404  no such model is served
    ├── Unauthorized           401  no API key, or one that the service does not know
    ├── NotFound               404  no such route
    ├── MethodNotAllowed       405  the route exists, the verb does not
    ├── PayloadTooLarge        413  the body, or a picture in it, is over a limit
    ├── UnsupportedMediaType   415  the body is in a format that the route does not read
    ├── RateLimited            429  the API key is at its limit; try again later
    ├── InternalError          500  a defect of the service; the log has the cause
    ├── SourceError            502  an imagery source failed or answered nonsense
    │   ├── NoImageryError     422  the source holds no usable pixel for place and window
    │   ├── QuotaError         429  the source's quota is used up; try again later
    │   └── SourceUnavailable  503  the source cannot be reached, or is out of order
    ├── Overloaded             503  accepted work is at its bound; try again later
    └── DeadlineExceeded       504  the work took longer than the service allows

    ModelStoreError            the model store lacks a model, or what it holds is damaged
    MissingExtra               a feature needs an extra such as geobento[serve]
    SettingsError              a GEOBENTO_* variable is not usable; raised at start

Who asks for places catches three: ``SpecError`` (what was asked is not a place, a window ...),
``ModelError`` (the model does not do that) and ``SourceError`` (no imagery for it).

Every ``GeoBentoError`` can be answered to a client as it stands: ``message`` says what was
wrong and what is accepted, and never holds a path or a secret of the server.
"""

from __future__ import annotations

from typing import Any, ClassVar


class GeoBentoError(Exception):
    """Base of all errors that have an answer of their own.

    Args:
        message: One or two sentences: what was wrong, what is accepted.
        field: Dotted path of the request field at fault, such as ``spatials.1.lat``.
        detail: Machine-readable extras; plain JSON values only.
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
        """The JSON body that every failing answer carries."""
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
    """The bytes given as a picture cannot be decoded, or the picture is too small."""

    type = "invalid_image"


class SpecError(InvalidRequest):
    """A place, time window, sensor, output or input preparation that cannot be."""

    type = "spec_error"


class ModelError(InvalidRequest):
    """The model does not offer what the request asks of it."""

    type = "model_error"


class ModelNotFound(ModelError):
    """No model of that id or alias is served."""

    type = "model_not_found"
    status = 404


class Unauthorized(GeoBentoError):
    """The service wants an API key, and the request has none that it knows."""

    type = "unauthorized"
    status = 401


class NotFound(GeoBentoError):
    """No such route."""

    type = "not_found"
    status = 404


class MethodNotAllowed(GeoBentoError):
    """The route does not answer this HTTP method."""

    type = "method_not_allowed"
    status = 405


class PayloadTooLarge(GeoBentoError):
    """The body, a picture or a place in it is over a limit of the service."""

    type = "payload_too_large"
    status = 413


class UnsupportedMediaType(GeoBentoError):
    """The content type of the body is not one that the route reads."""

    type = "unsupported_media_type"
    status = 415


class RateLimited(GeoBentoError):
    """The API key has as many requests as it may."""

    type = "rate_limited"
    status = 429


class InternalError(GeoBentoError):
    """A defect of the service. The message is fixed; the log has the cause."""

    type = "internal_error"
    status = 500


class SourceError(GeoBentoError):
    """An imagery source could not be reached, or answered something unusable."""

    type = "source_error"
    status = 502


class NoImageryError(SourceError):
    """The source has no usable pixel for this place and time window."""

    type = "no_imagery"
    status = 422


class QuotaError(SourceError):
    """The quota that the source grants is used up; `retry_after` says for how long."""

    type = "quota_error"
    status = 429


class SourceUnavailable(SourceError):
    """The source cannot be reached, is out of order, or did not answer in time."""

    type = "source_unavailable"
    status = 503


class Overloaded(GeoBentoError):
    """The service has as much accepted work as it allows itself."""

    type = "overloaded"
    status = 503


class DeadlineExceeded(GeoBentoError):
    """The work was not done within the time that the service allows a request."""

    type = "deadline_exceeded"
    status = 504


class ModelStoreError(Exception):
    """The model store lacks what was asked for, or what it holds fails its digest."""


class MissingExtra(Exception):
    """A feature needs an extra of the distribution, such as ``geobento[serve]``."""


class SettingsError(Exception):
    """A ``GEOBENTO_*`` variable has a value that the service cannot use."""


def _all_errors(cls: type[GeoBentoError]) -> list[type[GeoBentoError]]:
    found = [cls]
    for child in cls.__subclasses__():
        found.extend(_all_errors(child))
    return found


def error_from_body(
    body: Any, status: int = 500, retry_after: float | None = None
) -> GeoBentoError:
    """Rebuild the error that a server answered with.

    Args:
        body: The decoded JSON body, ``{"error": {...}}``.
        status: The HTTP status, used where the body names a type that is not known here.
        retry_after: What the answer's header of that name says, seconds.
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
    """The error class that stands for an HTTP status which another layer chose."""
    # Errors that other rooms have for themselves stand for nothing outside them.
    ours = [cls for cls in _all_errors(GeoBentoError)[1:] if cls.__module__ == __name__]
    general_last = sorted(ours, key=lambda cls: -len(cls.__mro__))
    exact = {cls.status: cls for cls in general_last}
    return exact.get(status, InvalidRequest if 400 <= status < 500 else InternalError)

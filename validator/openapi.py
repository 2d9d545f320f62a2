"""The OpenAPI document, made from the same types that the routes read and write."""

from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from curiosity.protocol.messages import ErrorMessage
from curiosity.protocol.wire import adapter

JSON = "application/json"
PAIR_MEDIA_TYPE = "application/vnd.curiosity.pair"


@dataclass(frozen=True)
class Operation:
    """One route as the document shows it. ``answer`` is a message type, or the media type of a plain body."""

    method: str
    path: str
    summary: str
    answer: Any
    query: tuple[str, ...] = ()
    takes: Any = None  # a message type, or a media type
    admin: bool = False
    pattern: str = ""  # of the router, where it is not the path


def describe(operations: tuple[Operation, ...], version: str) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document of the operations."""
    types = {
        value for operation in operations for value in (operation.answer, operation.takes) if isinstance(value, type)
    } | {ErrorMessage}
    ordered = sorted(types, key=lambda type_: type_.__name__)
    mode: JsonSchemaMode = "serialization"
    references, definitions = GenerateJsonSchema(ref_template="#/components/schemas/{model}").generate_definitions(
        [(type_, mode, adapter(type_).core_schema) for type_ in ordered]
    )
    schema = {type_: references[(type_, mode)] for type_ in ordered}
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Curiosity validator", "version": version},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
        },
    }


def _content(value: Any, schema: dict[Any, Any]) -> dict[str, Any]:
    if isinstance(value, str):
        return {value: {"schema": {"type": "string", "format": "binary"}}}
    return {JSON: {"schema": schema[value]}}


def _operation(operation: Operation, schema: dict[Any, Any]) -> dict[str, Any]:
    in_path = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path] + [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in operation.query
    ]
    error = {"description": "Refused", "content": _content(ErrorMessage, schema)}
    document: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": operation.summary, "content": _content(operation.answer, schema)},
            "4XX": error,
            "503": error,
        },
    }
    if operation.takes is not None:
        document["requestBody"] = {"required": True, "content": _content(operation.takes, schema)}
    if operation.admin:
        document["security"] = [{"admin": []}]
    return document

"""One JSON value for any protocol dataclass, made from its schema: seeds that follow the messages as they change."""

from typing import Any

from curiosity.protocol.wire import adapter, canonical_json


def samples(type_: Any) -> list[bytes]:
    """Return canonical JSON for a protocol type: with all that is optional, without it, and each kind of a union."""
    schema = adapter(type_).json_schema()
    definitions = schema.get("$defs", {})
    kinds = schema.get("oneOf") or schema.get("anyOf") or [schema]
    made = [_value(kind, definitions, full) for kind in kinds for full in (True, False)]
    return list(dict.fromkeys(map(canonical_json, made)))


def _value(schema: dict[str, Any], definitions: dict[str, Any], full: bool) -> Any:
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions, full)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return _value(schema[union][0 if full else -1], definitions, full)
    kind = schema.get("type")
    if kind == "object":
        wanted = schema.get("properties", {})
        required = schema.get("required", [])
        return {
            name: _value(part, definitions, full)
            for name, part in wanted.items()
            if full or name in required or "const" in part
        }
    if kind == "array":
        fixed = schema.get("prefixItems")
        if fixed is not None:
            return [_value(part, definitions, full) for part in fixed]
        count = max(schema.get("minItems", 0), 2 if full else 0)
        return [_value(schema.get("items", {}), definitions, full)] * count
    if kind == "string":
        return _text(schema.get("pattern", ""), schema.get("minLength", 0))
    if kind == "integer":
        return max(schema.get("minimum", 0), 7 if full else 0)
    return {"boolean": full, "null": None}.get(str(kind), "")


def _text(pattern: str, least: int) -> str:
    if pattern.startswith("^0x[0-9a-f]{"):
        return "0x" + "5a" * (int(pattern.split("{")[1].split("}")[0]) // 2)
    return "1000" if "[1-9]" in pattern else "text".ljust(least, "x")

"""Fits a tool's arguments to its schema: converts where nothing is lost, else says what is wrong."""

import json
import math
import re
from collections.abc import Callable
from typing import Any


class Mismatch(ValueError):
    """An argument that does not fit, in words for the model that gave it."""


def fit(value: Any, schema: Any, path: str = "") -> Any:
    """The value as the schema wants it."""
    if not isinstance(schema, dict):
        return value
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list) and options:
        return _first(value, options, path)
    value = _typed(value, schema.get("type"), path)
    if "enum" in schema and value not in schema["enum"]:
        raise Mismatch(f"{_at(path)} must be one of {_list(schema['enum'])}, not {_show(value)}")
    if "const" in schema and value != schema["const"]:
        raise Mismatch(f"{_at(path)} must be {_show(schema['const'])}, not {_show(value)}")
    if isinstance(value, dict):
        return _object(value, schema, path)
    if isinstance(value, list):
        return _array(value, schema, path)
    if isinstance(value, str):
        _text(value, schema, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _number(value, schema, path)
    return value


def _first(value: Any, options: list[Any], path: str) -> Any:
    # What fits as it is goes before what would have to be converted.
    mismatches = []
    fitting = []
    for option in options:
        try:
            fitted = fit(value, option, path)
        except Mismatch as mismatch:
            mismatches.append(str(mismatch))
            continue
        if type(fitted) is type(value) and fitted == value:
            return fitted
        fitting.append(fitted)
    if fitting:
        return fitting[0]
    raise Mismatch("; or ".join(dict.fromkeys(mismatches)))


def _typed(value: Any, kind: Any, path: str) -> Any:
    kinds = [kind] if isinstance(kind, str) else kind if isinstance(kind, list) else []
    if not kinds or any(_is(value, one) for one in kinds):
        return int(value) if kinds == ["integer"] and isinstance(value, float) else value
    for one in kinds:
        convert = _CONVERT.get(one)
        if convert is not None:
            converted = convert(value)
            if converted is not None:
                return converted
    raise Mismatch(f"{_at(path)} must be {' or '.join(_NAMES.get(one, str(one)) for one in kinds)}, not {_show(value)}")


def _is(value: Any, kind: Any) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer":
            return (isinstance(value, int) and not isinstance(value, bool)) or (
                isinstance(value, float) and value.is_integer()
            )
        case "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "null":
            return value is None
        case _:
            return True


def _to_string(value: Any) -> str | None:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _to_integer(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,400}\s*", value) else None


def _to_number(value: Any) -> float | int | None:
    if not isinstance(value, str):
        return None
    whole = _to_integer(value)
    if whole is not None:
        return whole
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _to_boolean(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def _parsed(kind: type) -> Callable[[Any], Any]:
    # Models like to write a list or an object as JSON inside of a string.
    def parse(value: Any) -> Any:
        if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
            return None
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, kind) else None

    return parse


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "string": _to_string,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "array": _parsed(list),
    "object": _parsed(dict),
}

_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _object(value: dict[str, Any], schema: dict[str, Any], path: str) -> dict[str, Any]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    rest = schema.get("additionalProperties", True)
    required = schema.get("required")
    fitted: dict[str, Any] = {}
    for key, inner in value.items():
        here = f"{path}.{key}" if path else key
        if key in properties:
            if inner is None and key not in (required or ()) and not _takes_null(properties[key]):
                continue
            fitted[key] = fit(inner, properties[key], here)
        elif rest is False:
            known = f"; known are {_list(properties)}" if properties else ""
            raise Mismatch(f"There is no argument {here}{known}")
        else:
            fitted[key] = fit(inner, rest, here)
    for key, property in properties.items():
        if key not in fitted and isinstance(property, dict) and "default" in property:
            fitted[key] = property["default"]
    missing = [key for key in required if key not in fitted] if isinstance(required, list) else []
    if missing:
        raise Mismatch(f"{_list(f'{path}.{key}' if path else key for key in missing)} is required")
    return fitted


def _takes_null(schema: Any) -> bool:
    try:
        fit(None, schema)
    except Mismatch:
        return False
    return True


def _array(value: list[Any], schema: dict[str, Any], path: str) -> list[Any]:
    if len(value) < schema.get("minItems", 0):
        raise Mismatch(f"{_at(path)} must have at least {schema['minItems']} items")
    if len(value) > schema.get("maxItems", math.inf):
        raise Mismatch(f"{_at(path)} must have at most {schema['maxItems']} items")
    items = schema.get("items")
    return [fit(item, items, f"{path}[{index}]") for index, item in enumerate(value)]


def _text(value: str, schema: dict[str, Any], path: str) -> None:
    if len(value) < schema.get("minLength", 0):
        raise Mismatch(f"{_at(path)} must have at least {schema['minLength']} characters")
    if len(value) > schema.get("maxLength", math.inf):
        raise Mismatch(f"{_at(path)} must have at most {schema['maxLength']} characters")


def _number(value: float, schema: dict[str, Any], path: str) -> None:
    if value < schema.get("minimum", -math.inf) or value <= schema.get("exclusiveMinimum", -math.inf):
        raise Mismatch(f"{_at(path)} is too small: {_show(value)}")
    if value > schema.get("maximum", math.inf) or value >= schema.get("exclusiveMaximum", math.inf):
        raise Mismatch(f"{_at(path)} is too large: {_show(value)}")


def _at(path: str) -> str:
    return path or "The arguments"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _list(values: Any) -> str:
    return ", ".join(value if isinstance(value, str) else _show(value) for value in values)

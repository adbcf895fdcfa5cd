"""A folder's FastAPI router: as a list for the description, and as an application that answers."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

# Names that code which checks its caller uses.
_CHECKS = re.compile(r"verif|signature|hmac|compare_digest|authori[sz]|authenticat|api_key|secret|token", re.IGNORECASE)


def application(router: Any, id: str) -> Any:
    """The router as the server reaches it, below `/integrations/<id>`."""
    from fastapi import FastAPI

    # The documents of a folder's routes would be one more route that nobody wrote.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(router, prefix=f"/integrations/{id}")
    return app


def describe(router: Any) -> list[dict[str, Any]]:
    """Methods and path of each route, and whether something checks who calls."""
    return list(_routes(router, "", bool(getattr(router, "dependencies", None)))) if router is not None else []


def _routes(router: Any, prefix: str, guarded: bool) -> Iterator[dict[str, Any]]:
    for route in getattr(router, "routes", ()):
        inner = getattr(route, "original_router", None)
        if inner is not None:
            context = getattr(route, "include_context", None)
            below = (
                guarded or bool(getattr(inner, "dependencies", None)) or bool(getattr(context, "dependencies", None))
            )
            yield from _routes(inner, prefix + (getattr(context, "prefix", None) or ""), below)
        elif getattr(route, "methods", None):
            yield {
                "methods": sorted(set(route.methods) - {"HEAD"} or route.methods),
                "path": prefix + route.path,
                "guarded": guarded or _is_guarded(route),
            }


def _is_guarded(route: Any) -> bool:
    dependencies = getattr(getattr(route, "dependant", None), "dependencies", ())
    functions = [dependency.call for dependency in dependencies if dependency.call is not None]
    return any(_checks(function, set()) for function in (route.endpoint, *functions))


def _checks(function: Callable[..., Any], seen: set[Any]) -> bool:
    """The function, or one of its module that it calls, uses a name that checks have."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        # A security scheme of FastAPI's is an object.
        return type(function).__module__.startswith("fastapi.security")
    if code in seen:
        return False
    seen.add(code)
    if _CHECKS.search(function.__name__) or any(_CHECKS.search(name) for name in code.co_names):
        return True
    module = getattr(function, "__globals__", {})
    called = [module[name] for name in code.co_names if name in module]
    return any(
        inspect.isfunction(inner) and inner.__module__ == function.__module__ and _checks(inner, seen)
        for inner in called
    )

"""
Hold requests and answers against the contracts in `tests/contracts`.

The contracts describe requests strictly and answers leniently. openapi-core checks path, method,
headers, query, body and security; three things it lets pass are checked here, because vendors'
servers do not let them pass: query parameters nobody declared, a query parameter sent twice, and
a body where none is declared.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import yaml
from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from werkzeug.datastructures import Headers, ImmutableMultiDict

CONTRACTS = Path(__file__).parent / "contracts"

type Json = dict[str, Any]


@dataclass
class _Request:
    """An httpx request as openapi-core's `Request` protocol wants it."""

    host_url: str
    path: str
    method: str
    content_type: str
    body: bytes | None
    parameters: RequestParameters
    full_url_pattern: str = ""


@dataclass
class _Response:
    status_code: int
    content_type: str
    data: bytes
    headers: Headers


def contract(slug: str) -> Json:
    """The contract as it stands in the file."""
    text = (CONTRACTS / f"{slug}.openapi.yaml").read_text(encoding="utf-8")
    read: Json = yaml.safe_load(text)
    return read


def server_url(slug: str) -> str:
    """The base URL that the contract names first: the one a connection is given."""
    return str(_contract(slug)["servers"][0]["url"])


def example(slug: str, line: str, status: int, name: str) -> Any:
    """
    The answer that the contract shows under *name*, as in
    `example("meetergo", "GET /v4/appointment/{id}", 200, "confirmed")`.
    """
    method, path = line.split(" ", 1)
    answer = _contract(slug)["paths"][path][method.lower()]["responses"][str(status)]
    shown = _resolved(slug, answer)["content"]["application/json"]["examples"][name]
    return _resolved(slug, shown)["value"]


def violations(
    slug: str,
    request: httpx.Request,
    *,
    base_url: str | None = None,
    forbidden: Collection[str] = (),
) -> list[str]:
    """
    What *request* does that the contract of *slug* does not allow; empty when all is well.

    *base_url* is where the account really points (a sandbox, say), if not at the contract's own
    server. *forbidden* names declared parameters which this kind of account must not send although
    the contract asks for them: OpenAPI cannot say so (`ActingUser` with a token of meetergo).
    """
    path = _path_below(request.url, base_url or server_url(slug))
    if path is None:
        return [f"{request.url} does not lie under the base URL"]
    found = _errors(slug, request, path, frozenset(forbidden))
    return [*found, *_overlooked(slug, request, path, forbidden)]


def answer_violations(
    slug: str,
    request: httpx.Request,
    response: httpx.Response,
    *,
    base_url: str | None = None,
) -> list[str]:
    """What an answer (of the sandbox) does that the contract does not describe."""
    path = _path_below(request.url, base_url or server_url(slug))
    if path is None:
        return [f"{request.url} does not lie under the base URL"]
    answered = _Response(
        status_code=response.status_code,
        content_type=response.headers.get("content-type", ""),
        data=response.content,
        headers=Headers(list(response.headers.multi_items())),
    )
    spec = _openapi(slug, frozenset())
    try:
        errors = list(spec.iter_response_errors(_request(slug, request, path), answered))
    except OpenAPIError as error:
        errors = [error]
    return [_described(error) for error in errors]


# --- under the hood ---------------------------------------------------------------------------


@cache
def _contract(slug: str) -> Json:
    return contract(slug)


@cache
def _openapi(slug: str, forbidden: frozenset[str]) -> OpenAPI:
    read = contract(slug)
    for name in forbidden:
        read["components"]["parameters"][name]["required"] = False
    return OpenAPI.from_dict(read)


def _errors(slug: str, request: httpx.Request, path: str, forbidden: frozenset[str]) -> list[str]:
    spec = _openapi(slug, forbidden)
    try:
        errors = list(spec.iter_request_errors(_request(slug, request, path)))
    except OpenAPIError as error:
        errors = [error]
    return [_described(error) for error in errors]


def _described(error: BaseException) -> str:
    """The error with its causes: openapi-core hides the field that is wrong in them."""
    own = f"{type(error).__name__}: {error}"
    return own if error.__cause__ is None else f"{own}; {_described(error.__cause__)}"


def _request(slug: str, request: httpx.Request, path: str) -> _Request:
    server = httpx.URL(server_url(slug))
    return _Request(
        host_url=f"{server.scheme}://{server.host}",
        path=server.path.rstrip("/") + path,
        method=request.method.lower(),
        content_type=request.headers.get("content-type", ""),
        body=request.content or None,
        parameters=RequestParameters(
            query=ImmutableMultiDict(request.url.params.multi_items()),
            header=Headers(list(request.headers.multi_items())),
        ),
    )


def _path_below(url: httpx.URL, base_url: str) -> str | None:
    """The path of *url*, still percent-encoded, below *base_url*; None if it lies elsewhere."""
    base = httpx.URL(base_url)
    if (url.scheme, url.host, url.port) != (base.scheme, base.host, base.port):
        return None
    path, root = url.raw_path.decode().partition("?")[0], base.path.rstrip("/")
    return path.removeprefix(root) if path.startswith(root + "/") else None


def _overlooked(
    slug: str, request: httpx.Request, path: str, forbidden: Collection[str]
) -> list[str]:
    """What openapi-core lets pass."""
    found = []
    operation, parameters = _operation(slug, request.method, path)
    declared = {one["name"]: one for one in parameters if one["in"] == "query"}
    sent = [name for name, _ in request.url.params.multi_items()]
    for name in dict.fromkeys(sent):
        if name not in declared:
            found.append(f"query parameter {name} is not declared")
        elif sent.count(name) > 1 and declared[name]["schema"].get("type") != "array":
            found.append(f"query parameter {name} is sent twice")
    if "requestBody" not in operation:
        if request.content:
            found.append("a body is sent, and none is declared")
        if "content-type" in request.headers:
            found.append("a content type is sent without a body being declared")
    for name in forbidden:
        header = _contract(slug)["components"]["parameters"][name]["name"]
        if header in request.headers:
            found.append(f"{header} must not be sent by this kind of account")
    return found


def _operation(slug: str, method: str, path: str) -> tuple[Json, list[Json]]:
    """The operation that *path* belongs to, and its parameters; empty when there is none."""
    for pattern, item in _contract(slug)["paths"].items():
        if _fits(pattern, path) and method.lower() in item:
            operation = item[method.lower()]
            both = [*item.get("parameters", []), *operation.get("parameters", [])]
            return operation, [_resolved(slug, one) for one in both]
    return {}, []


def _fits(pattern: str, path: str) -> bool:
    wanted, given = pattern.split("/"), [unquote(part) for part in path.split("/")]
    return len(wanted) == len(given) and all(
        want == part or (want.startswith("{") and part)
        for want, part in zip(wanted, given, strict=True)
    )


def _resolved(slug: str, item: Json) -> Json:
    """*item*, or what its `$ref` points at."""
    if "$ref" not in item:
        return item
    found: Json = _contract(slug)
    for part in item["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found

"""Many requests from a file of JSON lines, their results to another, and where to go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TextIO, cast

import click

from stepout.client import Gateway, Request, Response
from stepout.client.gateway import build

__all__ = ["Batch"]

Json = Any

_MEMBERS: Final = ("id", "url", "method", "headers", "params", "body", "json")

_KINDS: Final = (
    ("method", str | None, "a text"),
    ("params", dict | str | None, "an object or a text"),
    ("body", str | None, "a text"),
)
"""Member → what it may be."""

AHEAD: Final = 2
"""Requests read ahead for each one at work, so that a file of any size takes little memory."""


class Batch:
    """One run over a file. Lines are counted from 1; a result says which one it is of."""

    def __init__(self, gateway: Gateway, source: Path, output: Path, concurrency: int) -> None:
        self._gateway = gateway
        self._source = source
        self._output = output
        self._concurrency = concurrency
        self._failures = 0

    def run(self) -> int:
        """Do what is not done yet; answers the exit status: 1 where a line has an error."""
        try:
            done = _done(self._output)
            total = sum(1 for _ in _lines(self._source))
            with self._output.open("a", encoding="utf-8") as target:
                self._work(done, total, target)
        except (OSError, UnicodeDecodeError) as error:
            raise click.ClickException(f"The files cannot be used: {error}.") from None
        click.echo(f"Lines: {total}, done before: {len(done)}, errors: {self._failures}.", err=True)
        return 1 if self._failures else 0

    def _work(self, done: set[int], total: int, target: TextIO) -> None:
        ahead = ((number, text) for number, text in _lines(self._source) if number not in done)
        open_calls: set[Future[Json]] = set()
        with (
            _bar(total - len(done)) as bar,
            ThreadPoolExecutor(self._concurrency) as pool,
        ):
            try:
                for number, text in ahead:
                    open_calls.add(pool.submit(self._call, number, text))
                    if len(open_calls) >= AHEAD * self._concurrency:
                        open_calls = self._write(open_calls, target, bar)
            except KeyboardInterrupt:
                # What is on its way is not called back: its results are written.
                for future in open_calls:
                    future.cancel()
                click.echo("\nFinishing what is in flight; once more leaves at once.", err=True)
                self._finish(open_calls, target, bar)
                raise
            self._finish(open_calls, target, bar)

    def _finish(self, open_calls: set[Future[Json]], target: TextIO, bar: Any) -> None:
        while open_calls:
            open_calls = self._write(open_calls, target, bar)

    def _write(self, open_calls: set[Future[Json]], target: TextIO, bar: Any) -> set[Future[Json]]:
        """Write what is finished, at least one, each line whole; answers what is still open."""
        ready, still_open = wait(open_calls, return_when=FIRST_COMPLETED)
        for future in ready:
            if not future.cancelled():
                result = future.result()
                self._failures += "error" in result
                target.write(_line(result))
                target.flush()
                bar.update(1)
        return still_open

    def _call(self, number: int, text: str) -> Json:
        """The result of a line, or its error."""
        told: dict[str, Json] = {"line": number}
        try:
            request, given_id = _parsed(text)
            told |= (
                {"url": request.url} if given_id is None else {"id": given_id, "url": request.url}
            )
            return {**told, **_shown(self._gateway.send(request))}
        except Exception as error:  # noqa: BLE001 — told in the result; the other lines go on
            return {**told, "error": type(error).__name__, "message": str(error)}


def _line(result: Json) -> str:
    """A result on one line; halves of characters, which UTF-8 does not have, as escapes."""
    text = json.dumps(result, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(result)
    return f"{text}\n"


def _bar(length: int) -> AbstractContextManager[Any]:
    """The progress, on standard error."""
    bar: Any = click.progressbar(length=length, file=sys.stderr)
    return cast("AbstractContextManager[Any]", bar)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            if line.strip():
                yield number, line


def _parsed(text: str) -> tuple[Request, Json]:
    try:
        line = json.loads(text)
    except RecursionError:
        raise ValueError("Expected a URL or an object, found JSON of too many levels.") from None
    if isinstance(line, str):
        line = {"url": line}
    url = line.get("url") if isinstance(line, dict) else None
    if url is None or not isinstance(url, str):
        told = text.strip()[:80]
        raise ValueError(f"Expected a URL, or an object with one as url, found {told}.")
    unknown = [name for name in line if name not in _MEMBERS]
    if unknown:
        raise ValueError(f"Expected {', '.join(_MEMBERS)}, found '{unknown[0]}'.")
    headers = line.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise ValueError(f"Expected headers to be an object of texts, found {headers!r}.")
    for name, kinds, what in _KINDS:
        if not isinstance(line.get(name), kinds):
            text = f"Expected {name} to be {what}, found {line[name]!r}."
            raise ValueError(text)  # noqa: TRY004 — a wrong line is one kind of error
    request = build(
        line.get("method") or "GET",
        url,
        params=line.get("params"),
        headers=headers,
        json=line.get("json"),
        data=line.get("body"),
    )
    return request, line.get("id")


def _shown(response: Response) -> dict[str, Json]:
    grouped: dict[str, list[str]] = {}
    for name, value in response.headers.pairs:
        grouped.setdefault(name, []).append(value)
    shown = {"status": response.status_code, "reason": response.reason, "headers": grouped}
    return {**shown, "body": response.text if response.is_body_carried else None}


def _done(output: Path) -> set[int]:
    """The lines that have a result; one that was cut off by an interruption is taken away."""
    if not output.exists():
        return set()
    done: set[int] = set()
    whole = 0
    with output.open("rb") as results:
        for line in results:
            if not line.endswith(b"\n"):
                break
            try:
                done.add(json.loads(line)["line"])
            except (ValueError, KeyError, TypeError):
                raise click.ClickException(
                    f"{output} holds a line that is no result of this command: {line[:80]!r}. Name "
                    "another file, or remove it."
                ) from None
            whole += len(line)
    if whole < output.stat().st_size:
        with output.open("r+b") as results:
            results.truncate(whole)
    return done

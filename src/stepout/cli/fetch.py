"""`stepout fetch`: one URL as curl has it, or a file of requests, out through the gateway."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from stepout.cli.batch import Batch
from stepout.cli.client_options import client_options, read_settings
from stepout.client import Gateway, Headers, Request, Response
from stepout.gateway.messages import header_bytes

__all__ = ["command"]


@click.command("fetch")
@click.argument("url", required=False)
@click.option("-X", "--request", "method", metavar="METHOD", help="The method [GET, with -d POST].")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME: VALUE", help="A header.")
@click.option("-d", "--data", metavar="TEXT|@FILE", help="The body.")
@click.option("-i", "--include", is_flag=True, help="Print status and headers before the body.")
@click.option("-f", "--fail", is_flag=True, help="Exit with 1 for a status of 400 or more.")
@click.option("--input", "source", type=click.Path(path_type=Path), help="Requests, one a line.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write here.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=8, help="Requests at once [8].")
@client_options
def command(
    *,
    url: str | None,
    method: str | None,
    headers: tuple[str, ...],
    data: str | None,
    include: bool,
    fail: bool,
    source: Path | None,
    output: Path | None,
    concurrency: int,
    file: Path | None,
    **flags: Any,
) -> None:
    """Call URL, or with --input every request of a file of JSON lines.

    A line is a URL as a JSON text, or an object: url, method, headers, and body (a text) or json.
    Each result, or error, is a line of the output; a run that was interrupted goes on where it
    stopped. Exit status: 0 answered, 1 failed, 2 wrongly called.
    """
    if (url is None) == (source is None):
        raise click.UsageError("Expected a URL or --input, and not both.")
    settings = read_settings(flags, file)
    if source is not None:
        if output is None:
            raise click.UsageError("--input needs --output, the file of the results.")
        with Gateway.of(settings) as gateway:
            sys.exit(Batch(gateway, source, output, concurrency).run())
    request = _request(url or "", method, headers, data)
    with Gateway.of(settings) as gateway:
        response = gateway.send(request)
    with _opened(output) as target:
        _print(response, target, is_whole=include)
    sys.exit(fail and not response.ok)


def _request(url: str, method: str | None, headers: tuple[str, ...], data: str | None) -> Request:
    pairs = [_header(text) for text in headers]
    body = b"" if data is None else _data(data)
    if data is not None and all(name.lower() != "content-type" for name, _ in pairs):
        # As curl has it.
        pairs.append(("Content-Type", "application/x-www-form-urlencoded"))
    return Request(method or ("GET" if data is None else "POST"), url, Headers(pairs), body)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"Expected NAME: VALUE, found {text!r}.", param_hint="-H")
    return name.strip(), value.strip()


def _data(text: str) -> bytes:
    if not text.startswith("@"):
        return os.fsencode(text)  # the bytes that were given, text or not
    try:
        return sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"The body cannot be read: {error}.", param_hint="-d") from None


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    if output is None or str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with output.open("wb") as target:
            yield target
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error}.") from None


def _print(response: Response, target: BinaryIO, *, is_whole: bool) -> None:
    if is_whole:
        lines = [f"HTTP/1.1 {response.status_code} {response.reason}".rstrip()]
        lines += [f"{name}: {value}" for name, value in response.headers.pairs]
        target.write(b"".join(header_bytes(line) + b"\r\n" for line in [*lines, ""]))
    target.write(response.content)
    if not response.is_body_carried:
        click.echo(
            f"{response.status_code} {response.reason}: the body was not carried; an HTTP Task "
            "drops those of answers that are not 2xx.",
            err=True,
        )

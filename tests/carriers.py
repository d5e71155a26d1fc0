"""Transports of hosts: some send as httpx does, some repeat, hedge, buffer or follow redirects."""

import asyncio
import contextlib
from typing import Final

import httpcore
import httpx

HEAD: Final = "http11.send_request_headers.started"
BODY: Final = "http11.send_request_body.started"


async def leave_with(request: httpx.Request) -> bytes:
    """Send a request as httpx's own transport does, to nowhere; give the body that left."""
    trace = request.extensions.get("trace")
    if trace is not None:
        about = {"request": httpcore.Request(request.method, str(request.url))}
        await trace(HEAD, about)
        await trace(BODY, about)
    assert isinstance(request.stream, httpx.AsyncByteStream)
    return b"".join([part async for part in request.stream])


class Fake(httpx.AsyncBaseTransport):
    """Sends as httpx's own transport does, keeps what has left, and answers or raises."""

    def __init__(self, answer: httpx.Response | Exception | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.is_closed = False
        self._answer = answer or httpx.Response(200, content=b"x")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to nowhere."""
        body = await leave_with(request)
        self.requests.append(
            httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=body,
                extensions=request.extensions,
            )
        )
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def aclose(self) -> None:
        """Note it."""
        self.is_closed = True


class Wrapper(httpx.AsyncBaseTransport):
    """Passes each request on to httpx's own transport, or to another one."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.attempts = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on."""
        return await self.attempt(request)

    async def attempt(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, and count that."""
        self.attempts += 1
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close what sends."""
        await self.inner.aclose()


class RepeatsErrors(Wrapper):
    """Sends up to four times while sending fails."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send until something is answered."""
        for _ in range(3):
            with contextlib.suppress(Exception):
                return await self.attempt(request)
        return await self.attempt(request)


class RepeatsAnswers(Wrapper):
    """Sends four times, whatever is answered."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send until nothing is left to try."""
        for _ in range(3):
            await (await self.attempt(request)).aclose()
        return await self.attempt(request)


class RepeatsAlways(Wrapper):
    """Sends four times whatever comes of it, and gives the first answer if there was one."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send four times."""
        ends: list[httpx.Response | BaseException] = []
        for _ in range(4):
            try:
                answer = await self.attempt(request)
                body = await answer.aread()
                ends.append(
                    httpx.Response(answer.status_code, headers=answer.headers, content=body)
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                ends.append(error)
        return _first(ends)


class Gathers(Wrapper):
    """Sends four copies at once and waits for all of them."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send copies; the first error is told when the first copy has failed."""
        answers = await asyncio.gather(*(self.attempt(request) for _ in range(4)))
        return answers[0]


class GathersAll(Wrapper):
    """Sends four copies at once and gives an answer if one of them has brought it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send copies."""
        return _first(
            await asyncio.gather(*(self.attempt(request) for _ in range(4)), return_exceptions=True)
        )


class Hedges(Wrapper):
    """Sends four copies at once, takes what comes first, and cancels the rest."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send copies."""
        copies = [asyncio.ensure_future(self.attempt(request)) for _ in range(4)]
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        first = next(copy for copy in copies if copy.done())
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        return first.result()


class Retrying(httpx.AsyncHTTPTransport):
    """A subclass of httpx's own transport that tries four times."""

    attempts = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send until something is answered."""
        for _ in range(3):
            self.attempts += 1
            with contextlib.suppress(Exception):
                await (await super().handle_async_request(request)).aclose()
        return await super().handle_async_request(request)


class FollowsRedirects(Wrapper):
    """Sends a request again to where an answer points."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and follow."""
        answer = await self.attempt(request)
        while answer.is_redirect:
            await answer.aclose()
            answer = await self.attempt(
                httpx.Request(
                    request.method,
                    request.url.join(answer.headers["Location"]),
                    headers=request.headers,
                    stream=request.stream,
                    extensions=request.extensions,
                )
            )
        return answer


class ReadsFirst(Wrapper):
    """Reads a request before it sends it, and may build it anew, with or without extensions."""

    def __init__(self, inner: httpx.AsyncBaseTransport, way: str) -> None:
        super().__init__(inner)
        self._way = way

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Read, then send up to four times."""
        for _ in range(3):
            with contextlib.suppress(Exception):
                return await self.attempt(await self._read(request))
        return await self.attempt(await self._read(request))

    async def _read(self, request: httpx.Request) -> httpx.Request:
        extensions = {} if self._way == "without extensions" else request.extensions
        match self._way:
            case "aread":
                await request.aread()
                return request
            case "read":
                request.read()
                return request
            case "content":
                body = request.content
            case "stream":
                assert isinstance(request.stream, httpx.AsyncByteStream)
                body = b"".join([part async for part in request.stream])
            case _:
                body = await request.aread()
        return httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            content=body,
            extensions=extensions,
        )


READS = ("aread", "read", "content", "stream", "with extensions", "without extensions")


class FallsBack(Wrapper):
    """Sends over httpx's own transport, and when that fails reads the body for another way."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and send otherwise."""
        try:
            return await self.attempt(request)
        except Exception:  # noqa: BLE001 - whatever it is
            body = await request.aread()
        again = httpx.Request(request.method, request.url, headers=request.headers, content=body)
        return await self.attempt(again)


class Untraced(Wrapper):
    """Lets a trace of its own stand in the place of whatever trace a request has."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send."""
        request.extensions = {**request.extensions, "trace": _note_nothing}
        return await self.attempt(request)


class Answers(httpx.AsyncBaseTransport):
    """Answers by itself, and sends nothing."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        return httpx.Response(200, content=b"type=async-response")


class Hasty(Wrapper):
    """Gives each request up after one turn of the loop, or as soon as it is told."""

    def __init__(self, inner: httpx.AsyncBaseTransport, told: asyncio.Event) -> None:
        super().__init__(inner)
        self._told = told

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send until it is told, and let the cancellation out that it has made itself."""
        attempt = asyncio.ensure_future(self.attempt(request))
        telling = asyncio.ensure_future(self._told.wait())
        await asyncio.wait([attempt, telling], return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        attempt.cancel()
        return await attempt


async def _note_nothing(name: str, info: object) -> None:
    """Hear a trace."""


def _first(ends: list[httpx.Response | BaseException]) -> httpx.Response:
    for end in ends:
        if isinstance(end, httpx.Response):
            return end
    raise ends[0]  # type: ignore[misc]  # what is no answer is an error

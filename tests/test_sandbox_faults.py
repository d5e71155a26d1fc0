"""What can go wrong at the sandbox goes wrong as it was set, and seen from a real client."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from merchants import FIRST, LOGIN, REQUEST, SECRET, Caller, is_denied, until
from rsa_keys import PEM_2048

from billblend_async.errors import ConfigurationError
from billblend_async.gateway.wire import read_reply
from billblend_async.sandbox.faults import FAULTS, FaultKind, Faults, Strike, Switch, read_switch
from billblend_async.sandbox.server import Sandbox

COMMANDS = ("payout-check", "payout-pay", "payout", "status")


def never() -> float:
    raise AssertionError("chance must not be asked")


class TestSwitches:
    def test_nothing_is_set(self) -> None:
        """Without a switch nothing goes wrong, and chance is not asked."""
        faults = Faults(never)

        assert [Strike()] * 5 == [faults.draw(command) for command in FAULTS]
        assert [] == faults.switches()

    def test_always(self) -> None:
        """A fault that is simply set strikes each request of its command and no other."""
        faults = Faults(never)
        faults.set("payout-pay", "drop_after")

        assert [Strike(FaultKind.DROP_AFTER)] * 3 == [faults.draw("payout-pay") for _ in range(3)]
        assert Strike() == faults.draw("payout")

    def test_next_three(self) -> None:
        """A count is used up by what strikes, and then the switch is gone."""
        faults = Faults(never)
        faults.set("status", "error_500", count=3)

        struck = [faults.draw("status").fault for _ in range(5)]
        assert [FaultKind.ERROR_500] * 3 + [None] * 2 == struck
        assert [] == faults.switches()

    def test_share(self) -> None:
        """A share strikes about that many, and the same seed strikes the same ones."""
        runs = []
        for _ in range(2):
            faults = Faults(random.Random(7).random)
            faults.set("status", "garbage", share=0.1)
            runs.append([faults.draw("status").fault for _ in range(10_000)])

        assert runs[0] == runs[1]
        assert 850 < Counter(runs[0])[FaultKind.GARBAGE] < 1150

    def test_share_and_count(self) -> None:
        """With both, the count goes down only when the share strikes."""
        chances = iter([0.9, 0.1, 0.5, 0.1, 0.1])
        faults = Faults(lambda: next(chances))
        faults.set("status", "html", share=0.5, count=2)

        struck = [bool(faults.draw("status").fault) for _ in range(5)]
        assert [False, True, False, True, False] == struck

    def test_delay_goes_with_another(self) -> None:
        """A delay comes on top of another fault; of two others only the first strikes."""
        faults = Faults(never)
        faults.set("payout", "html", count=1)
        faults.set("payout", "delay", seconds=0.5)
        faults.set("payout", "garbage", count=1)

        assert Strike(FaultKind.HTML, 0.5) == faults.draw("payout")
        assert Strike(FaultKind.GARBAGE, 0.5) == faults.draw("payout")
        assert Strike(None, 0.5) == faults.draw("payout")

    def test_again(self) -> None:
        """Set again, a fault is replaced; with share 0 it is gone, and clear ends the others."""
        faults = Faults(never)
        faults.set("status", "delay")
        faults.set("status", "delay", seconds=9)
        faults.set("payout", "html", count=2)
        assert [("payout", None), ("status", 9)] == [
            (each.command, each.seconds) for each in faults.switches()
        ]
        faults.set("status", "delay", share=0)
        assert ["payout"] == [each.command for each in faults.switches()]

        faults.set("status", "html")
        faults.clear("payout")
        assert ["status"] == [each.command for each in faults.switches()]
        faults.clear()
        assert [] == faults.switches()

    def test_delay_is_a_second(self) -> None:
        """A delay without a number is one second."""
        faults = Faults(never)
        faults.set("callback", "delay")

        assert Strike(None, 1.0) == faults.draw("callback")

    @pytest.mark.parametrize(
        ("command", "fault", "numbers", "said"),
        [
            ("pay", "html", {}, "command: must be payout-check, payout-pay, payout, status or"),
            ("payout", "htlm", {}, "fault: must be drop_before, "),
            ("payout", "lost", {}, "fault: payout knows drop_before, "),
            ("callback", "html", {}, "fault: callback knows delay, duplicate or lost, not html"),
            ("payout", "html", {"share": 1.1}, "share"),
            ("payout", "html", {"share": float("nan")}, "share"),
            ("payout", "html", {"count": 0}, "count"),
            ("payout", "delay", {"seconds": -1}, "seconds"),
            ("payout", "delay", {"seconds": float("inf")}, "seconds"),
            ("payout", "html", {"seconds": 1}, "seconds: html takes none"),
        ],
    )
    def test_wrong_words(
        self, command: str, fault: str, numbers: dict[str, Any], said: str
    ) -> None:
        """A word or number that cannot be right is named with what can be, and nothing is set."""
        faults = Faults(never)

        with pytest.raises(ConfigurationError, match=f"^{said}"):
            faults.set(command, fault, **numbers)
        assert [] == faults.switches()

    @pytest.mark.parametrize(
        ("text", "switch"),
        [
            ("payout-pay:drop_after", Switch("payout-pay", FaultKind.DROP_AFTER)),
            ("payout-pay:drop_after:0.1", Switch("payout-pay", FaultKind.DROP_AFTER, 0.1)),
            ("status:delay:0.5:2", Switch("status", FaultKind.DELAY, 0.5, None, 2.0)),
            ("status:delay::0.25", Switch("status", FaultKind.DELAY, 1.0, None, 0.25)),
            ("callback:lost:x3", Switch("callback", FaultKind.LOST, 1.0, 3)),
            ("callback:delay:0.5x3:1", Switch("callback", FaultKind.DELAY, 0.5, 3, 1.0)),
        ],
    )
    def test_command_line(self, text: str, switch: Switch) -> None:
        """A switch can be written in one word: command, fault, how often, seconds."""
        assert switch == read_switch(text)

    @pytest.mark.parametrize(
        "text",
        [
            *["", "payout", "payout:", ":html", "payout:html:x", "payout:html:x0"],
            *["payout:html:often", "payout:html:-1", "payout:html:2", "payout:html:1:1"],
            *["payout:delay:1:", "payout:delay:1:soon", "payout:delay:1:1:1", "payout:html:nan"],
        ],
    )
    def test_wrong_command_line(self, text: str) -> None:
        """Anything else on the command line is refused with a sentence."""
        with pytest.raises(ConfigurationError):
            read_switch(text)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """Call a sandbox over a real socket."""
    async with (
        httpx.AsyncClient(trust_env=False, verify=False) as http,
        Sandbox(
            private_key=PEM_2048, merchant_control=SECRET, validation=0, processing=0
        ) as sandbox,
    ):
        yield Caller(http, sandbox)


def faults_of(caller: Caller) -> Faults:
    assert isinstance(caller.sandbox, Sandbox)
    return caller.sandbox.faults


async def paid_order(caller: Caller) -> dict[str, str]:
    """Check a payout, and give what is to be sent to pay it."""
    await caller.post("payout-check", REQUEST)
    return {"client_orderid": "po-1", "orderid": FIRST, "login": LOGIN}


class TestOverHttp:
    @pytest.mark.parametrize("command", COMMANDS)
    @pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
    async def test_dropped(self, caller: Caller, command: str, fault: str) -> None:
        """A dropped connection is closed without one byte; only drop_after has acted."""
        fields = REQUEST
        if command in ("payout-pay", "status"):
            fields = await paid_order(caller)
        seen = len(caller.sandbox.gateway.requests)
        faults_of(caller).set(command, fault, count=1)

        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await caller.post(command, fields)
        assert len(caller.sandbox.gateway.requests) - seen == (fault == "drop_after")
        assert (await caller.post(command, fields)).status_code == 200

    async def test_dropped_on_the_wire(self, caller: Caller) -> None:
        """What a bare socket sees of a dropped answer is the end of the stream and nothing else."""
        faults_of(caller).set("status", "drop_before")
        url = httpx.URL(caller.sandbox.base_url)
        prepared = caller.http.build_request("POST", f"{url}/api/v2/status/39915")
        fields = {"client_orderid": "po-1", "login": LOGIN}
        recorded: list[httpx.Request] = []

        async def record(request: httpx.Request) -> None:
            recorded.append(request)

        caller.http.event_hooks["request"].append(record)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await caller.status(fields)
        (sent,) = recorded
        lines = [f"{name}: {value}" for name, value in sent.headers.items()]
        head = "\r\n".join([f"POST {prepared.url.path} HTTP/1.1", *lines, "", ""])
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(head.encode() + sent.content)

        with contextlib.suppress(ConnectionResetError):  # the other way to close
            assert b"" == await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()

    @pytest.mark.parametrize("fault", ["error_500", "garbage", "html"])
    async def test_spoilt_answer(self, caller: Caller, fault: str) -> None:
        """A spoilt answer says nothing about the payout, which was paid all the same."""
        order = await paid_order(caller)
        faults_of(caller).set("payout-pay", fault, count=1)

        response = await caller.post("payout-pay", order)
        assert (500 if fault == "error_500" else 200) == response.status_code
        assert b"async-response" not in response.content
        assert response.content.startswith(b"<!DOCTYPE") is (fault != "garbage")
        assert 1 == caller.sandbox.gateway.paid("po-1")

    async def test_denied(self, caller: Caller) -> None:
        """A denial is the documented page, and nothing was done."""
        faults_of(caller).set("payout", "denied_403", count=1)

        assert is_denied(await caller.post("payout", REQUEST))
        assert [] == caller.sandbox.gateway.ledger

    async def test_delay(self, caller: Caller) -> None:
        """A delayed pay takes effect after its client has given up."""
        order = await paid_order(caller)
        faults_of(caller).set("payout-pay", "delay", seconds=0.5, count=1)

        sent = asyncio.create_task(caller.post("payout-pay", order))
        await until(lambda: not faults_of(caller).switches())
        sent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sent
        assert [] == caller.sandbox.gateway.ledger
        await until(lambda: caller.sandbox.gateway.ledger)

    async def test_v2(self, caller: Caller) -> None:
        """A fault of status strikes both versions of it."""
        faults_of(caller).set("status", "denied_403")

        assert is_denied(await caller.status({"client_orderid": "po-1"}))

    async def test_strangers_use_nothing_up(self, caller: Caller) -> None:
        """A request that is refused anyway does not use up the count of a fault."""
        faults_of(caller).set("payout", "html", count=1)

        assert is_denied(await caller.post("payout", REQUEST, login="nobody"))
        assert (await caller.post("payout", REQUEST)).text.startswith("<!DOCTYPE")

    async def test_closing_does_not_wait(self) -> None:
        """A sandbox that closes does not wait for the end of a delay, and finishes what it took."""
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            async with Sandbox(private_key=PEM_2048) as sandbox:
                sandbox.faults.set("payout", "delay", seconds=3600, count=1)
                caller = Caller(http, sandbox)
                sent = asyncio.create_task(caller.post("payout", REQUEST))
                await until(lambda: not sandbox.faults.switches())
                assert [] == sandbox.gateway.ledger
            answer = await asyncio.gather(sent, return_exceptions=True)
        assert len(sandbox.gateway.ledger) == 1
        if isinstance(answer[0], httpx.Response):
            assert "async-response" == read_reply(answer[0].content)["type"]

"""Each link is handed over once it is durable, at least once, and hurts nobody who takes it."""

import asyncio
import logging
from itertools import pairwise
from typing import Any

import attrs
import pytest
from fakes import FakeClient, Fault, MemoryJournal
from house import House, house, virtually
from payouts import request
from virtual_time import run_virtual

from billblend_async.core.models import Deadlines, Doubt, OpenReason, Outcome, State
from billblend_async.core.responses import Status, StatusReport
from billblend_async.gateway.wire import RequestKind
from billblend_async.sandbox import Gateway

ACCOUNT = "2000000001"
ORDER = "6982864"


@attrs.define
class Host:
    """A host that takes links; it may fail or hang at first."""

    fails: list[BaseException | float] = attrs.field(factory=list)
    taken: list[str | None] = attrs.field(factory=list)
    cancelled: int = 0

    async def take(self, outcome: Outcome) -> None:
        """Take a link."""
        self.taken.append(outcome.redirect_to)
        trouble = self.fails.pop(0) if self.fails else None
        if isinstance(trouble, BaseException):
            raise trouble
        if trouble:
            try:
                await asyncio.sleep(trouble)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise


def wanted(**fields: Any) -> Any:
    """Make a request whose receiver must fill in a form."""
    return request(account_number=ACCOUNT, **fields)


async def reach(h: House, state: State) -> None:
    """Wait until po-1 is in a state."""
    while h.journal.events.get("po-1") is None:
        await asyncio.sleep(0.01)
    while (await h.payouts.status("po-1")).state is not state:
        await asyncio.sleep(0.01)


def submit(h: House, *, is_confirmed: bool = True) -> None:
    """Let the receiver fill in the form."""
    gateway = h.client.gateway
    token = gateway.orders[ORDER].token
    assert token is not None
    assert gateway.submit(token, h.client.wall_clock(), is_confirmed=is_confirmed)


def report(link: str | None, *, stage: str = "payout_processing") -> Fault:
    """Make a status answer with a link or none."""
    return Fault(
        answer=StatusReport(
            type="status-response",
            status=Status.PROCESSING,
            order_stage=stage,
            paynet_order_id=ORDER,
            merchant_order_id="po-1",
            redirect_to=link,
        )
    )


class TestHandedOver:
    @virtually
    async def test_once(self) -> None:
        """A link is handed over once, when it is durable, however often the status tells it."""
        host = Host()
        seen: list[list[str]] = []

        async with house() as h:

            async def take(outcome: Outcome) -> None:
                seen.append(h.names())
                await host.take(outcome)

            h.payouts._means.redirects.on_redirect = take
            running = asyncio.create_task(h.payouts.run(wanted()))
            await reach(h, State.AWAITING_RECEIVER)
            link = (await h.payouts.status("po-1")).redirect_to
            questions = len(h.client.asked["po-1"])
            await asyncio.sleep(120)
            assert questions + 3 <= len(h.client.asked["po-1"])
            submit(h)
            assert (await running).is_approved
            assert [link] == host.taken
            assert link is not None
            assert link.startswith("http")
            assert "RedirectRequired" in seen[0]

    @virtually
    async def test_each_new_link(self) -> None:
        """Another link is handed over too, also while the hook still hangs over the first."""
        host = Host(fails=[1e6])
        async with house(on_redirect=host.take) as h:
            running = asyncio.create_task(h.payouts.run(wanted()))
            await reach(h, State.AWAITING_RECEIVER)
            first = (await h.payouts.status("po-1")).redirect_to
            h.client.faults[RequestKind.STATUS] = [report("https://other.example/form")]
            await asyncio.sleep(30)
            # Then the gateway tells the first one again.
            assert [first, "https://other.example/form"] == host.taken[:2]
            submit(h)
            assert (await running).is_approved

    @virtually
    async def test_again_when_it_raises(self) -> None:
        """A hook that raises, or is cancelled from within, is called again at the next question."""
        host = Host(fails=[ValueError("zq-secret"), asyncio.CancelledError()])
        async with house(on_redirect=host.take) as h:
            running = asyncio.create_task(h.payouts.run(wanted()))
            await reach(h, State.AWAITING_RECEIVER)
            await asyncio.sleep(100)
            assert 3 == len(host.taken)
            assert 1 == len(set(host.taken))
            submit(h)
            assert (await running).is_approved
            assert 3 == len(host.taken)

    @virtually
    async def test_after_a_restart(self) -> None:
        """After a restart a link is handed over again, while the receiver is waited for."""
        hosts = [Host(), Host(), Host()]
        client, journal = FakeClient(), MemoryJournal()
        async with house(client, journal, on_redirect=hosts[0].take) as h:
            running = asyncio.create_task(h.payouts.run(wanted()))
            await reach(h, State.AWAITING_RECEIVER)
            await asyncio.sleep(1)
            running.cancel()
        async with house(client, journal.twin(), on_redirect=hosts[1].take) as h:
            resuming = asyncio.create_task(anext(h.payouts.resume()))
            await asyncio.sleep(30)
            submit(h)
            assert (await resuming).is_approved
        async with house(client, journal.twin(), on_redirect=hosts[2].take) as h:
            assert [] == [told async for told in h.payouts.resume()]
            assert (await h.payouts.run(wanted())).is_approved
        assert [1, 1, 0] == [len(host.taken) for host in hosts]
        assert hosts[0].taken == hosts[1].taken

    @virtually
    async def test_not_again_in_one_process(self) -> None:
        """Who runs a payout again after its deadline is not handed the same link again."""
        host = Host()
        async with house(on_redirect=host.take, deadlines=Deadlines(receiver=20.0)) as h:
            for _ in range(3):
                told = await h.payouts.run(wanted())
                assert OpenReason.AWAITING_RECEIVER == told.open_reason
                assert told.redirect_to is not None
            assert 1 == len(host.taken)

    @virtually
    async def test_hung_hook(self) -> None:
        """A hook that hangs stops no question, and closing cancels it and does not wait."""
        host = Host(fails=[1e9])
        async with house(on_redirect=host.take) as h:
            running = asyncio.create_task(h.payouts.run(wanted()))
            await reach(h, State.AWAITING_RECEIVER)
            await asyncio.sleep(60)
            submit(h)
            assert (await running).is_approved
            began = asyncio.get_running_loop().time()
        assert 1 > asyncio.get_running_loop().time() - began
        assert (1, 1) == (len(host.taken), host.cancelled)

    def test_its_error_is_not_repeated(self, caplog: pytest.LogCaptureFixture) -> None:
        """What a hook raises is told by its class: its text may hold the link."""
        caplog.set_level(logging.DEBUG)
        host = Host(fails=[ValueError("zq-secret")])

        async def run() -> None:
            async with house(on_redirect=host.take) as h:
                running = asyncio.create_task(h.payouts.run(wanted()))
                await reach(h, State.AWAITING_RECEIVER)
                await asyncio.sleep(60)
                running.cancel()

        run_virtual(run())
        assert "on_redirect failed: ValueError" in caplog.text
        assert "zq-secret" not in caplog.text
        assert host.taken[0] is not None
        assert all(str(host.taken[0]) not in repr(r.__dict__) for r in caplog.records)


class TestLinks:
    @pytest.mark.parametrize(
        "link",
        [
            "http://shop.example/form",
            "https://user@shop.example/form",
            "javascript:alert(1)",
            "https:///form",
            "https://shop.example/a\nb",
            "https://shop.example\\@evil.example/",
        ],
    )
    def test_bad(self, link: str) -> None:
        """A link that is not safe is handed to nobody: a person must look."""
        host = Host()

        async def run() -> None:
            async with house(on_redirect=host.take) as h:
                events = h.payouts.events()
                running = asyncio.create_task(h.payouts.run(wanted()))
                await reach(h, State.AWAITING_FINAL)
                h.client.faults[RequestKind.STATUS] = [report(link)] * 3
                told = await running
                assert (State.ATTENTION, Doubt.BAD_REDIRECT) == (told.state, told.doubt)
                assert told.redirect_to is None
                events.close()
                assert all([each.outcome.redirect_to is None async for each in events])

        run_virtual(run())
        assert [] == host.taken

    @virtually
    async def test_before_pay(self) -> None:
        """A link that comes before pay was sent is nothing that a receiver should follow."""
        host = Host()
        async with house(on_redirect=host.take) as h:
            link = "https://shop.example/form"
            h.client.faults[RequestKind.STATUS] = [
                report(link, stage="payout_check_validating")
            ] * 3
            assert OpenReason.AWAITING_RECEIVER == (await h.payouts.run(wanted())).open_reason
            assert link not in host.taken

    @virtually
    async def test_cleared(self) -> None:
        """A link that the gateway asks for no more is no longer told."""
        async with house(on_redirect=Host().take) as h:
            running = asyncio.create_task(h.payouts.run(wanted()))
            await reach(h, State.AWAITING_RECEIVER)
            h.client.faults[RequestKind.STATUS] = [report(None)]
            await reach(h, State.AWAITING_FINAL)
            assert (await h.payouts.status("po-1")).redirect_to is None
            submit(h)
            assert (await running).is_approved


class TestWaiting:
    @virtually
    async def test_slower(self) -> None:
        """A payout that waits for its receiver is asked about three times as slowly."""
        async with house() as h:
            running = asyncio.create_task(h.payouts.run(wanted()))
            await reach(h, State.AWAITING_RECEIVER)
            begun = len(h.client.asked["po-1"]) - 1
            await asyncio.sleep(200)
            gaps = [b - a for a, b in pairwise(h.client.asked["po-1"][begun:])]
            assert len(gaps) >= 10
            assert 9.0 <= min(gaps) <= max(gaps) <= 15.5
            submit(h)
            assert (await running).is_approved

    @virtually
    async def test_deadline_of_its_own(self) -> None:
        """Only the receiver's deadline ends the wait for a receiver; a later run learns the end."""
        limits = Deadlines(receiver=100.0, final=7.0, validation=7.0)
        async with house(FakeClient(Gateway(validation=1.0)), deadlines=limits) as h:
            told = await h.payouts.run(wanted())
            now = asyncio.get_running_loop().time()
            assert OpenReason.AWAITING_RECEIVER == told.open_reason
            assert 100 <= now <= 130
            assert "redirect_to" in (told.explanation or "")
            submit(h)
            await asyncio.sleep(5)
            assert (await h.payouts.run(wanted())).is_approved

    @virtually
    async def test_cancelled_by_the_receiver(self) -> None:
        """A receiver who cancels the form ends the payout as declined, and nobody is paid."""
        async with house() as h:
            running = asyncio.create_task(h.payouts.run(wanted()))
            await reach(h, State.AWAITING_RECEIVER)
            submit(h, is_confirmed=False)
            assert Status.DECLINED == (await running).status
            assert 0 == h.client.paid("po-1")

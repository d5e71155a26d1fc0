"""Whoever tests a service of their own finds a gateway beside the test, and no trace after it."""

import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from merchants import until
from rsa_keys import PEM_2048
from servers import Connection, Server, http_answer

from billblend_async import Outcome, PayoutRequest
from billblend_async.core.responses import Accepted
from billblend_async.errors import ClosedError, ConfigurationError, InvalidInput
from billblend_async.gateway.settings import read_settings
from billblend_async.sandbox.orders import Scenario
from billblend_async.testing import BrowserPost, RunningSandbox

ASKS_RECEIVER = "2000000001"
BACK = "http://127.0.0.1:8080/back"


def payout(client_orderid: str = "po-1", **changes: Any) -> PayoutRequest:
    fields = {"amount": Decimal("10.42"), "currency": "USD", "account_number": "1234567890"}
    return PayoutRequest(**{"client_orderid": client_orderid, **fields, **changes})


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "billblend-sandbox"]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    """A sandbox as the plugin starts it."""
    with RunningSandbox(tmp_path, private_key=PEM_2048) as running:
        yield running


class TestMoney:
    async def test_paid_once(self, sandbox: RunningSandbox) -> None:
        """A ready orchestrator pays, and the ledger says so."""
        async with sandbox.orchestrator() as payouts:
            outcome = await payouts.run(payout())

        assert outcome.is_approved
        sandbox.assert_paid_once("po-1")
        assert (1, 0) == (sandbox.paid("po-1"), sandbox.paid("po-2"))
        assert {
            "po-1": {
                "orders": ["6982864"],
                "checks": 1,
                "pays": 1,
                "paid": 1,
                "amount": "10.42",
                "currency": "USD",
                "status": "approved",
            }
        } == sandbox.ledger
        assert ["po-1"] == [order.client_orderid for order in sandbox.orders.values()]

    async def test_paid_twice(self, sandbox: RunningSandbox) -> None:
        """Who pays twice reads which orders were paid and how that came."""
        async with sandbox.client() as client:
            for _ in range(2):
                made = await client.payout(payout())
                assert isinstance(made, Accepted)

        with pytest.raises(AssertionError) as failed:
            sandbox.assert_paid_once("po-1")
        first, *orders = str(failed.value).splitlines()
        assert "'po-1' was paid 2 times, not once:" == first
        assert [
            f"  order {order} of 10.42 USD: made, paid" for order in ("6982864", "6982865")
        ] == [line.partition(";")[0].partition(", final")[0] for line in orders]

    def test_not_paid(self, sandbox: RunningSandbox) -> None:
        """Who has paid nobody, or somebody else, reads that too."""
        with pytest.raises(AssertionError, match=r"paid 0 times.*\n.*nothing has reached it"):
            sandbox.assert_paid_once("po-1")
        with pytest.raises(AssertionError, match="name the payouts"):
            sandbox.assert_paid_once()

    async def test_paid_somebody_else(self, sandbox: RunningSandbox) -> None:
        """All the named payouts must have been paid; the message names those that were not."""
        async with sandbox.client() as client:
            await client.check(payout("po-2"))
            await client.payout(payout("po-3"))

        with pytest.raises(AssertionError) as failed:
            sandbox.assert_paid_once("po-1", "po-2", "po-3")
        said = str(failed.value)
        assert "'po-1' was paid 0 times" in said
        assert "it knows 'po-2', 'po-3'" in said
        assert "'po-2' was paid 0 times" in said
        assert "order 6982864 of 10.42 USD: made" in said
        assert "'po-3' was" not in said

    async def test_reversal(self, sandbox: RunningSandbox) -> None:
        """Money comes back when a test wants it to; the ledger goes on saying what left."""
        async with sandbox.orchestrator() as payouts:
            outcome = await payouts.run(payout())
        sandbox.reverse(outcome.paynet_order_id or "", "chargeback")

        assert "chargeback" == sandbox.callback("po-1")["type"]
        sandbox.assert_paid_once("po-1")
        with pytest.raises(InvalidInput, match="approved"):
            sandbox.reverse("7")


class TestPlay:
    async def test_faults(self, sandbox: RunningSandbox) -> None:
        """A fault strikes as often as it was set to, and its payout is paid once all the same."""
        sandbox.faults.set("payout-pay", "drop_after", count=1)
        sandbox.faults.set("status", "delay", seconds=0.01)
        assert ["payout-pay", "status"] == [each.command for each in sandbox.faults.switches()]
        async with sandbox.orchestrator() as payouts:
            assert (await payouts.run(payout())).is_approved

        sandbox.assert_paid_once("po-1")
        assert ["status"] == [each.command for each in sandbox.faults.switches()]
        sandbox.faults.clear()
        assert [] == sandbox.faults.switches()
        with pytest.raises(ConfigurationError, match="command"):
            sandbox.faults.set("pay", "drop_after")

    async def test_receiver(self, sandbox: RunningSandbox) -> None:
        """The receiver's form can be submitted by the link, once, and gives the final redirect."""
        posts: list[BrowserPost | None] = []

        async def follow(outcome: Outcome) -> None:
            link = outcome.redirect_to or ""
            if not posts:
                posts.append(sandbox.submit_form(link))
                with pytest.raises(InvalidInput, match="nobody has used"):
                    sandbox.submit_form(link)

        async with sandbox.orchestrator(on_redirect=follow) as payouts:
            request = payout(account_number=ASKS_RECEIVER, redirect_url=BACK)
            assert (await payouts.run(request)).is_approved

        [post] = posts
        assert post is not None
        assert (BACK, "approved") == (post.url, post.fields["status"])

    async def test_receiver_cancels(self, sandbox: RunningSandbox) -> None:
        """A receiver who cancels ends the payout as declined, without a place to go back to."""

        async def follow(outcome: Outcome) -> None:
            assert sandbox.submit_form(outcome.redirect_to or "", "cancel") is None

        async with sandbox.orchestrator(on_redirect=follow) as payouts:
            outcome = await payouts.run(payout(account_number=ASKS_RECEIVER))

        assert ("declined", 0) == (outcome.status, sandbox.paid("po-1"))

    def test_wrong_decision(self, sandbox: RunningSandbox) -> None:
        """A receiver confirms or cancels, and follows links of this sandbox only."""
        decision: Any = "maybe"
        with pytest.raises(InvalidInput, match="confirm or cancel"):
            sandbox.submit_form(sandbox.base_url, decision)
        with pytest.raises(InvalidInput, match="redirect_to of this sandbox"):
            sandbox.submit_form("https://sandbox.billblend.com/form/SECRETLINK")

    async def test_callback(self, sandbox: RunningSandbox) -> None:
        """A callback can be had for a service without a socket, once the gateway would send it."""
        async with sandbox.client() as client, sandbox.orchestrator(client=client) as payouts:
            with pytest.raises(InvalidInput, match="at its end"):
                sandbox.callback("po-1")
            await payouts.accept(payout())
            await payouts.run(payout())
            query = "&".join(f"{name}={text}" for name, text in sandbox.callback("po-1").items())
            callback = client.verify_callback(query)

        assert ("po-1", "approved") == (callback.client_orderid, callback.status)

    async def test_deliveries(self, sandbox: RunningSandbox) -> None:
        """The sandbox calls the service under test back, again until it says 200."""
        answers = iter((503, 200))

        async def serve(connection: Connection) -> None:
            while True:
                await connection.read_request()
                await connection.write(http_answer(b"", next(answers)))

        async with (
            Server(serve) as merchant,
            sandbox.orchestrator(server_callback_url=f"{merchant.origin}/callback") as payouts,
        ):
            await payouts.run(payout())
            await until(lambda: sandbox.deliveries and sandbox.deliveries[0].is_over)

        [delivery] = sandbox.deliveries
        assert (2, "200", True) == (delivery.tries, delivery.answer, delivery.is_delivered)
        delivery.log.clear()
        assert sandbox.deliveries[0].log

    async def test_speeds(self, sandbox: RunningSandbox) -> None:
        """Both waits can be set while it runs, for payouts made from then on."""
        assert (0.05, 0.05) == (sandbox.validation, sandbox.processing)
        sandbox.validation, sandbox.processing = 0.0, 3600.0
        async with sandbox.client() as client:
            made = await client.check(payout())
            assert isinstance(made, Accepted)
            await client.pay("po-1", made.paynet_order_id)

        assert "processing" == sandbox.ledger["po-1"]["status"]
        with pytest.raises(ValueError, match="processing"):
            sandbox.processing = -1.0


class TestSettings:
    def test_environ(self, sandbox: RunningSandbox) -> None:
        """A service's own settings lead to the sandbox; nobody else can read the key's file."""
        settings = read_settings(sandbox.environ)

        assert sandbox.base_url == settings.endpoint.base_url
        assert sandbox.endpoint_id == settings.endpoint.endpoint_id
        assert sandbox.login == settings.credentials.login
        assert sandbox.merchant_control == settings.credentials.merchant_control
        key = Path(sandbox.environ["BILLBLEND_PRIVATE_KEY"])
        assert (sandbox.private_key, 0o600) == (key.read_text(), stat.S_IMODE(key.stat().st_mode))

    def test_repr(self, sandbox: RunningSandbox) -> None:
        """A report of a failed test shows where the sandbox listens, and neither key nor secret."""
        shown = repr(sandbox)

        assert f"<RunningSandbox at {sandbox.base_url}>" == shown
        assert sandbox.page_url.endswith("/sandbox/")

    async def test_journal_file(self, sandbox: RunningSandbox, tmp_path: Path) -> None:
        """An orchestrator can be closed and opened again over its journal."""
        path = tmp_path / "payouts.db"
        async with sandbox.orchestrator(path) as payouts:
            await payouts.accept(payout())
        async with sandbox.orchestrator(path) as payouts:
            assert (await payouts.run(payout())).is_approved

        sandbox.assert_paid_once("po-1")

    async def test_options(self, tmp_path: Path) -> None:
        """The settings of the sandbox, of the client and of the orchestrator are all in reach."""
        scenarios = {"777": Scenario("Never.", validation=3600.0)}
        with RunningSandbox(tmp_path, private_key=PEM_2048, scenarios=scenarios) as sandbox:
            changes: list[str] = []
            client = sandbox.client(endpoint_id=None, endpoint_group_id=39915, status_version=4)

            def hear(_: object, event: object) -> None:
                changes.append(type(event).__name__)

            async with client, sandbox.orchestrator(client=client, observer=hear) as payouts:
                assert (await payouts.run(payout())).is_approved
                made = await client.check(payout("po-2", account_number="777"))

            assert isinstance(made, Accepted)
            assert "Checked" in changes
            assert 3600.0 * 0.05 == pytest.approx(
                sandbox.orders[made.paynet_order_id].validated_at
                - sandbox.orders[made.paynet_order_id].made_at
            )


class TestThread:
    def test_end(self, tmp_path: Path) -> None:
        """At the end the thread is gone and the port is free; what is asked then is refused."""
        with RunningSandbox(tmp_path, private_key=PEM_2048) as sandbox:
            port = int(sandbox.page_url.split(":")[2].partition("/")[0])
            assert ["billblend-sandbox"] == threads()

        assert [] == threads()
        socket.create_server(("127.0.0.1", port)).close()
        with pytest.raises(ClosedError):
            sandbox.paid("po-1")

    def test_not_opened(self, tmp_path: Path) -> None:
        """A sandbox that cannot be opened says why and leaves no thread."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            running = RunningSandbox(tmp_path, private_key=PEM_2048, port=port)
            with pytest.raises(ConfigurationError, match="port"):
                running.__enter__()

        assert [] == threads()
        with pytest.raises(ClosedError):
            running.paid("po-1")

    async def test_failure(self, tmp_path: Path) -> None:
        """What breaks in the thread is raised at the end, and no thread is left."""

        def chance() -> float:
            raise ZeroDivisionError

        running = RunningSandbox(tmp_path, private_key=PEM_2048, chance=chance)
        running.__enter__()
        running.faults.set("callback", "lost", share=0.5)
        async with running.orchestrator(server_callback_url=BACK) as payouts:
            await payouts.run(payout())
        await until(lambda: running.deliveries)
        with pytest.raises(ExceptionGroup) as failed:
            running.__exit__(None, None, None)

        assert failed.group_contains(ZeroDivisionError)
        assert [] == threads()

    async def test_many_threads(self, sandbox: RunningSandbox) -> None:
        """Any number of threads may look and switch while payouts run."""

        def play(number: int) -> None:
            for _ in range(50):
                sandbox.faults.set("status", "delay", seconds=number / 1000)
                sandbox.faults.clear("status")
                before = sandbox.ledger.keys()
                assert before <= sandbox.ledger.keys()

        with ThreadPoolExecutor(8) as pool:
            played = [pool.submit(play, number) for number in range(8)]
            async with sandbox.orchestrator() as payouts:
                requests = [payout(f"po-{number}") for number in range(20)]
                outcomes = [outcome async for outcome in payouts.run_many(requests)]
            for each in played:
                each.result()

        assert all(outcome.is_approved for outcome in outcomes)
        sandbox.assert_paid_once(*(request.client_orderid for request in requests))

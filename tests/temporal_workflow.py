"""A Temporal workflow that decides about a payout; test_temporal.py runs it in the sandbox."""

from decimal import Decimal

from temporalio import workflow

from billblend_async.core.events import CheckStarted, Event, Opened, PayStarted
from billblend_async.core.machine import Ask, Check, Pay, Stop, event_for, evolve, next_command
from billblend_async.core.models import Flow
from billblend_async.core.payout import Payout, open_payout
from billblend_async.core.responses import Accepted, Status, StatusReport

ORDER = "6982864"


def _report(stage: str, status: Status = Status.PROCESSING) -> StatusReport:
    return StatusReport(
        type="status-response",
        status=status,
        order_stage=stage,
        paynet_order_id=ORDER,
        merchant_order_id="po-1",
        amount=Decimal("10.42"),
        currency="USD",
        transaction_type="payout",
    )


@workflow.defn(name="payout")
class PayoutWorkflow:
    """Leads a payout to its end; what activities would bring is written down here."""

    @workflow.run
    async def run(self, client_orderid: str) -> list[str]:
        """Fold the payout and tell its states."""
        at = workflow.now().timestamp()
        payout = open_payout(
            Opened(
                at=at,
                client_orderid=client_orderid,
                flow=Flow.CHECK_PAY,
                amount=Decimal("10.42"),
                currency="USD",
                fingerprint="f" * 64,
                receiver_hint="7890",
            )
        )
        states = [payout.state.value]
        reports = iter(
            [
                _report("payout_check_validated"),
                _report("payout_processing"),
                _report("payout_approved", Status.APPROVED),
            ]
        )
        while not isinstance(command := next_command(payout, at), Stop):
            if isinstance(command, Ask):
                payout = self._learn(payout, event_for(payout, command, next(reports), at))
            else:
                assert isinstance(command, Check | Pay)
                started = CheckStarted(at=at) if isinstance(command, Check) else PayStarted(at=at)
                payout = evolve(payout, started)
                payout = self._learn(payout, event_for(payout, command, Accepted(ORDER), at))
            states.append(payout.state.value)
        return states

    @staticmethod
    def _learn(payout: Payout, event: Event | None) -> Payout:
        return payout if event is None else evolve(payout, event)

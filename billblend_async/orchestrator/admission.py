"""Takes payouts in: each once, only as what it was first, and only while sending has a chance."""

import attrs

from ..core.events import Opened
from ..core.machine import open_payout
from ..core.models import Deadlines, Flow
from ..core.request import PayoutRequest
from ..errors import InvalidInput, PayoutConflict, Problem, SendingStopped
from .context import Means
from .crew import Crew
from .runner import Driver

__all__ = ["Admission"]


@attrs.define(eq=False)
class Admission:
    """Where payouts come in.

    Attributes:
        means: What the orchestrator works with.
        crew: The drivers, one of which each payout gets.
        deadlines: How long each wait of a new payout may take.
    """

    means: Means
    crew: Crew
    deadlines: Deadlines

    async def admit(self, request: PayoutRequest, flow: Flow, *, pay: bool) -> Driver:
        """Accept a payout into the journal, or join the one that is there."""
        self.crew.check_open()
        self.means.check_memory()
        if not pay and flow is Flow.ONE_STEP:
            wrong = "a payout in one step has nothing to wait with; let it be checked and then paid"
            raise InvalidInput((Problem("pay", wrong),))
        await self._check_sending(request.client_orderid)
        opened = Opened(
            at=self.means.wall_clock(),
            client_orderid=request.client_orderid,
            flow=flow,
            amount=request.amount,
            currency=request.currency,
            fingerprint=request.fingerprint(self.means.journal.fingerprint_key),
            receiver_hint=request.receiver_hint,
            held=not pay,
            deadlines=self.deadlines,
        )
        payout = await self.means.journal.accept(opened)
        if payout.flow is not flow:
            raise PayoutConflict(request.client_orderid, ("flow",))
        self.means.check_same(payout, request)
        is_approved = payout.approved_by is not None or payout.state.is_terminal
        if not (pay or payout.held or is_approved):
            raise PayoutConflict(request.client_orderid, ("pay",))
        driver = self.crew.join(payout)
        driver.request = request
        if attrs.evolve(payout, restored=False, sequence=0) == open_payout(opened):
            self.means.tell(payout, opened)
        return driver

    async def _check_sending(self, client_orderid: str) -> None:
        """Take no new payouts that could not be sent."""
        breaker = self.means.breaker
        if breaker.is_proven or await self.means.journal.load(client_orderid) is not None:
            return
        await breaker.prove()
        if breaker.trouble is not None and breaker.is_hopeless(self.deadlines.sending):
            raise SendingStopped(breaker.trouble, breaker.is_barred)

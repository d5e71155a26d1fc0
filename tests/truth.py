"""Compares what the gateway did with what the journal holds and the results file tells."""

import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import attrs
from desk import Desk

from billblend_async.batch.parser import read_batch
from billblend_async.core.events import (
    Checked,
    CheckNotSent,
    CheckStarted,
    Event,
    Finished,
    NotSeen,
    PayNotSent,
    PayStarted,
    Released,
)
from billblend_async.core.machine import Payout
from billblend_async.core.models import Outcome, State
from billblend_async.core.payout import outcome
from billblend_async.core.request import PayoutRequest
from billblend_async.gateway.wire import RequestKind
from billblend_async.journal import Owner
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.sandbox.gateway import Gateway, RequestSeen

NOT_SEEN_FOR, NOT_SEEN_TIMES = 30.0, 5
"""Rule 4's own numbers, written once more: the library's might be wrong."""


@attrs.frozen
class Record:
    """What a journal holds of one payout."""

    payout: Payout
    events: list[Event]

    @property
    def outcome(self) -> Outcome:
        """Where it stands."""
        return outcome(self.payout)

    def instants(self, kind: type[Event]) -> list[float]:
        """When events of a kind happened."""
        return [event.at for event in self.events if isinstance(event, kind)]

    def claims(self, claim: type[Event], kept: type[Event]) -> list[float]:
        """When it was claimed, without the claims that were taken back since nothing had left."""
        instants: list[float] = []
        for event in self.events:
            if isinstance(event, claim):
                instants.append(event.at)
            elif isinstance(event, kept):
                instants.pop()
        return instants


async def read_records(path: Path, environ: dict[str, str]) -> dict[str, Record]:
    """Read a whole journal while no process uses it."""
    journal = SqliteJournal(path)
    await journal.open(
        Owner(
            base_url=environ["BILLBLEND_BASE_URL"],
            login=environ["BILLBLEND_LOGIN"],
            endpoint=environ["BILLBLEND_ENDPOINT_ID"],
        )
    )
    try:
        return {
            payout.client_orderid: Record(payout, await journal.history(payout.client_orderid))
            async for payout in journal.payouts()
        }
    finally:
        await journal.aclose()


@attrs.frozen
class Truth:
    """The gateway's own record beside a journal and a file of results.

    Attributes:
        gateway: What happened.
        records: What the journal holds.
        at: Now.
        late: Whether the gateway may act on a request long after it was sent.
        owners: How many processes work on the journal; one may ask what another has learned.
    """

    gateway: Gateway
    records: dict[str, Record]
    at: float
    late: bool = False
    owners: int = 1

    def wrongs(self, file: Path, results: dict[str, dict[str, str]]) -> list[str]:
        """Say everything that is not as it must be; nothing when all is well."""
        requests = [row.request for row in read_batch(file).rows]
        names = [request.client_orderid for request in requests]
        found = [] if names == list(results) else ["the results are not the file's rows"]
        strangers = {entry.client_orderid for entry in self.gateway.ledger} - set(names)
        found += [f"{name}: paid and not in the file" for name in strangers]
        for request in requests:
            name = request.client_orderid
            record = self.records.get(name)
            row = results.get(name, {})
            if record is None:
                if self._seen(name):
                    found.append(f"{name}: sent and not in the journal")
                if row.get("status") != "unfinished":
                    found.append(f"{name}: told {row.get('status')} and not in the journal")
                continue
            wrong = [*self._wrong_sends(record), *self._wrong_row(record, request, row)]
            found += [f"{name}: {text}" for text in wrong]
        return found

    def _seen(self, name: str, *kinds: RequestKind) -> list[RequestSeen]:
        wanted = kinds or (RequestKind.CHECK, RequestKind.PAY)
        return [
            request
            for request in self.gateway.requests
            if request.client_orderid == name and request.kind in wanted
        ]

    def _wrong_sends(self, record: Record) -> list[str]:
        """Hold what was sent against what the journal allowed."""
        name = record.payout.client_orderid
        wrong = []
        for kind, claim, kept, allowed in (
            (RequestKind.CHECK, CheckStarted, CheckNotSent, None),
            (RequestKind.PAY, PayStarted, PayNotSent, 1 + len(record.instants(Released))),
        ):
            acted, claims = self._seen(name, kind), record.claims(claim, kept)
            if len(acted) > len(claims):
                wrong.append(f"{kind}: {len(acted)} times on {len(claims)} claims")
            if allowed is not None and max(len(acted), len(claims)) > allowed:
                wrong.append(f"{kind}: {len(acted)} times, claimed {len(claims)} times")
            wrong += [
                f"{kind}: sent before it was claimed"
                for request, at in zip(acted, claims, strict=False)
                if request.at < at
            ]
        orders = {event.paynet_order_id for event in record.events if isinstance(event, Checked)}
        paid = [e.paynet_order_id for e in self.gateway.ledger if e.client_orderid == name]
        if len(paid) > 1:
            wrong.append(f"paid {len(paid)} times")
        if not {*paid} <= orders:
            wrong.append("an order was paid that is not in the journal")
        for first, second in pairwise(record.instants(CheckStarted)):
            wrong += self._wrong_recheck(record, first, second)
        ends = record.instants(Finished)
        kinds = {*RequestKind}
        if self.late:
            kinds = {RequestKind.STATUS}
        if self.owners > 1:
            kinds -= {RequestKind.STATUS}
        if ends and any(request.at > ends[0] for request in self._seen(name, *kinds)):
            wrong.append("asked about or sent after it was finished")
        return wrong

    def _wrong_recheck(self, record: Record, first: float, second: float) -> list[str]:
        """Demand that a check is repeated only on proof, or on the gateway's own definite word."""
        between = [event for event in record.events if first <= event.at <= second]
        if any(isinstance(event, CheckNotSent) for event in between):
            return []
        noted = [event.at for event in between if isinstance(event, NotSeen)]
        asked = self._seen(record.payout.client_orderid, RequestKind.STATUS)
        told = [r.at for r in asked if first <= r.at <= second and r.paynet_order_id is None]
        return [
            f"checked again after {len(instants)} answers {where} that it is not there"
            for where, instants in (("journaled", noted), ("of the gateway", told))
            if len(instants) < NOT_SEEN_TIMES or instants[-1] - instants[0] < NOT_SEEN_FOR - 0.5
        ]

    def _wrong_row(self, record: Record, request: PayoutRequest, row: dict[str, str]) -> list[str]:
        """Hold a row of the results against the journal and against the order that it names."""
        payout, told = record.payout, row.get("status")
        paid = self.gateway.paid(payout.client_orderid)
        order = self.gateway.orders.get(payout.paynet_order_id or "")
        wrong = []
        if payout.state is State.FINAL:
            if order is None or told != self.gateway.standing(order, self.at).status:
                wrong.append(f"told {told}, which is not what the gateway holds")
            if paid != (told == "approved"):
                wrong.append(f"told {told} and paid {paid} times")
            if order is not None and (order.amount, order.currency) != (
                request.amount,
                request.currency,
            ):
                wrong.append("its order is over another amount")
            return wrong
        expected = "attention" if payout.state is State.ATTENTION else "unfinished"
        if told != expected:
            wrong.append(f"told {told} while it is {payout.state}")
        if payout.state is State.ATTENTION and not row.get("explanation"):
            wrong.append("needs a person and is told without a reason")
        if paid and not payout.pays:
            wrong.append("paid and never claimed")
        return wrong


def states(records: dict[str, Record]) -> Counter[str]:
    """Count the payouts of each state."""
    return Counter(record.payout.state.value for record in records.values())


async def assert_true(
    desk: Desk, file: Path, *, journal: str = "payouts.db", owners: int = 1
) -> None:
    """Hold a desk's results and journal against what its gateway did."""
    records = await read_records(desk.folder / journal, desk.environ)
    truth = Truth(desk.sandbox.gateway, records, time.time(), owners=owners)
    wrongs = truth.wrongs(file, desk.results())
    assert [] == wrongs, wrongs

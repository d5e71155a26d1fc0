"""A gateway that repeats whatever it was told, in every place where one can.

How it treats a payout stands in the first word of its client_orderid.
"""

from collections import Counter
from typing import Final

from leaks import CARD, LINK, RECEIVER
from servers import ORDER, Connection, Received, Server, http_answer, pairs

ENDINGS: Final = {"approved": "approved", "declined": "declined", "error": "error"}
LOST: Final = ("html", "forbidden", "broken", "garbled", "cut", "reset", "timeout")


class EchoGateway(Server):
    """Answers as a payout's name says: an ending, ``redirect``, ``refused``, or a way to lose it.

    With ``pay`` before the way, the answer to what pays is lost and not that to the check.
    """

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.paid: Counter[str] = Counter()
        self.lost: set[str] = set()

    async def _serve(self, connection: Connection) -> None:
        while True:
            request = await connection.read_request()
            way = request.form["client_orderid"].split("-")[0]
            pays = "/payout-check/" not in request.target
            if "/status/" in request.target:
                await connection.write(http_answer(self._status(request, way)))
                continue
            lost = way.removeprefix("pay") in LOST
            if lost and pays is way.startswith("pay"):
                self.lost.add(request.form["client_orderid"])
                await self._lose(connection, request, way.removeprefix("pay"))
            elif way == "refused":
                await connection.write(http_answer(_refusal(request, "validation-error", "8")))
            else:
                self.paid[request.form["client_orderid"]] += pays
                await connection.write(http_answer(_accepted(request)))
            return

    async def _lose(self, connection: Connection, request: Received, way: str) -> None:
        said = request.body + repr(request.lines).encode()
        match way:
            case "html":
                await connection.write(http_answer(b"<html>" + said))
            case "forbidden":
                await connection.write(http_answer(said, 403))
            case "broken":
                await connection.write(http_answer(said, 500))
            case "garbled":
                await connection.write(http_answer(request.body + b"&%zz"))
            case "cut":
                await connection.write(http_answer(said * 9)[: len(said) * 2])
            case "reset":
                connection.reset()
            case _:
                await connection.reader.read()  # until the client gives up

    def _status(self, request: Received, way: str) -> bytes:
        ours = request.form["client_orderid"]
        if ours in self.lost:
            return _refusal(request, "error", "102")
        if way == "refused":
            return _refusal(request, "validation-error", "8")
        self.paid[ours] += bool(self.paid[ours])
        polls = self.paid[ours]
        status, stage = "processing", "payout_processing"
        if not polls:
            stage = "payout_check_validated"
        elif polls > 3:
            status = ENDINGS.get(way, "approved")
        link = {"redirect_to": LINK} if way == "redirect" and polls else {}
        return pairs(
            type="status-response",
            status=status,
            order_stage=stage,
            paynet_order_id=ORDER,
            merchant_order_id=ours,
            amount="10.42",
            currency="EUR",
            error_code="20001",
            error_message=f"card {CARD} of nobody",
            name=RECEIVER["card_printed_name"],
            first_name=RECEIVER["receiver_first_name"],
            phone=RECEIVER["receiver_phone"],
            email=RECEIVER["receiver_email"],
            merchantdata=RECEIVER["merchant_data"],
            never_seen=RECEIVER["account_number"],
            html=f"<form>{LINK}</form>",
            **link,
        )


def _accepted(request: Received) -> bytes:
    return pairs(
        type="async-response",
        serial_number="00000000-0000-0000-0000-0000000000ab",
        merchant_order_id=request.form["client_orderid"],
        paynet_order_id=ORDER,
        never_seen=RECEIVER["account_number"],
    )


def _refusal(request: Received, kind: str, code: str) -> bytes:
    return pairs(
        type=kind,
        merchant_order_id=request.form["client_orderid"],
        error_code=code,
        error_message=f"card {CARD} is wrong",
    )

"""The values around a payout refuse what cannot be right and say where the payout stands."""

import pickle
import traceback
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billblend_async.core.models import (
    Alarm,
    Deadlines,
    Doubt,
    Endpoint,
    OpenReason,
    Outcome,
    State,
    is_loopback,
    is_safe_link,
)
from billblend_async.core.responses import Status
from billblend_async.errors import ConfigurationError, PayoutConflict

SANDBOX = "https://sandbox.billblend.com/checkout"
PRODUCTION = "https://pay.billblend.com/checkout"
LINK = "https://pay.example.com/form?order=1&token=a%2Fb~c"


def refusal(**values: Any) -> str:
    """Gather all that is shown when an endpoint is refused."""
    plain: Any = {"endpoint_id": 39915}
    with pytest.raises(ConfigurationError) as caught:
        Endpoint(**plain | values)
    assert caught.value.__context__ is None
    return (
        str(caught.value) + repr(caught.value) + "".join(traceback.format_exception(caught.value))
    )


def outcome(**values: Any) -> Outcome:
    """Tell of a payout that is under way, or of one that differs from it."""
    plain: Any = {"client_orderid": "po-1", "amount": Decimal("10.42"), "currency": "USD"}
    return Outcome(**plain | {"state": State.VALIDATING} | values)


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("given", "base_url"),
        [
            ("sandbox", SANDBOX),
            ("production", PRODUCTION),
            (PRODUCTION, PRODUCTION),
            (f"{PRODUCTION}/", PRODUCTION),
            ("https://gate.payneteasy.com/paynet", "https://gate.payneteasy.com/paynet"),
            ("https://gate.example:8443", "https://gate.example:8443"),
            ("https://[2001:db8::1]/checkout", "https://[2001:db8::1]/checkout"),
            ("http://localhost:8765/checkout", "http://localhost:8765/checkout"),
            ("http://LOCALHOST/checkout", "http://LOCALHOST/checkout"),
            ("http://127.0.0.1:8765/checkout", "http://127.0.0.1:8765/checkout"),
            ("http://127.0.0.2/checkout", "http://127.0.0.2/checkout"),
            ("http://[::1]:8765/checkout", "http://[::1]:8765/checkout"),
        ],
    )
    def test_good(self, given: str, base_url: str) -> None:
        """A known name, an https URL, or plain http on this machine is where the gateway is."""
        assert base_url == Endpoint(base_url=given, endpoint_id=1).base_url

    def test_default(self) -> None:
        """Nobody pays real money by forgetting the base URL."""
        assert SANDBOX == Endpoint(endpoint_id=1).base_url

    @pytest.mark.parametrize(
        "url",
        [
            *["", "live", "Production", "pay.billblend.com/checkout", "//pay.billblend.com"],
            *["ftp://e.co", "file:///etc/passwd", "https://"],
            *["https:///checkout", "https://:443/a"],
            *["http://pay.billblend.com/checkout", "http://10.0.0.1/checkout", "http://0.0.0.0"],
            *["http://localhost.e.co", "http://127.0.0.1.e.co"],
            *["http://[::2]/", "http://2130706433"],
            *["https://user@e.co", "https://@e.co", "https://user:hush@e.co", "https://:hush@e.co"],
            *["https://e.co/checkout?", "https://e.co/?a=hush"],
            *["https://e.co/#", "https://e.co/#a"],
            *["https://e.co:hush/", "https://user:hush@e.co:hush"],
            *["https://e.co:99999", "https://[1"],
            *["https://e.co\\checkout", "https://e.co/check out", " https://e.co", "https://e.co "],
            *["https://e.co/check\nout", "https://e.co/\t", "https://é.co", "https://e.co/é\ud800"],
        ],
    )
    def test_bad(self, url: str) -> None:
        """A URL that is not whole, not safe, or odd is refused without repeating it."""
        shown = refusal(base_url=url)

        assert "base_url: " in shown
        assert "hush" not in shown

    @pytest.mark.parametrize(
        ("url", "real"),
        [
            ("production", True),
            (PRODUCTION, True),
            ("HTTPS://PAY.Billblend.com/checkout/", True),
            ("https://pay.billblend.com:443/checkout", True),
            ("https://gate.example.com/checkout", True),
            ("https://sandbox.billblend.com./checkout", False),
            ("sandbox", False),
            ("http://localhost/checkout", False),
        ],
    )
    def test_production(self, url: str, real: bool) -> None:  # noqa: FBT001 - a column
        """Money is real everywhere but in the sandbox and here, however the URL is written."""
        assert real is Endpoint(base_url=url, endpoint_id=1).is_production


class TestEndpointNumber:
    @pytest.mark.parametrize("number", [1, 39915, 2**53 + 1, 2**63 - 1])
    def test_path(self, number: int) -> None:
        """An endpoint ends every URL with its number, a group with group and its number."""
        assert f"{number}" == Endpoint(endpoint_id=number).path
        assert f"group/{number}" == Endpoint(endpoint_group_id=number).path

    @pytest.mark.parametrize("number", [0, -1, 2**63, True, "39915", 39915.0, b"1"])
    def test_range(self, number: Any) -> None:
        """A number is whole and from 1 to 2^63 - 1, never a bool or text."""
        assert "from 1 to 2^63 - 1" in refusal(endpoint_id=number)
        assert "from 1 to 2^63 - 1" in refusal(endpoint_id=None, endpoint_group_id=number)

    @pytest.mark.parametrize("group", [1, None])
    def test_exactly_one(self, group: int | None) -> None:
        """Exactly one of the two numbers is given."""
        assert "either endpoint_id or endpoint_group_id" in refusal(
            endpoint_id=group, endpoint_group_id=group
        )

    def test_value(self) -> None:
        """An endpoint is an equal, hashable, picklable value that cannot be changed."""
        endpoint = Endpoint(endpoint_group_id=7)

        assert {endpoint} == {Endpoint(endpoint_group_id=7), pickle.loads(pickle.dumps(endpoint))}
        assert endpoint != Endpoint(endpoint_id=7)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            endpoint.endpoint_id = 7  # type: ignore[misc]


class TestSafeLink:
    @pytest.mark.parametrize(
        "url",
        [
            *[LINK, "https://e.co", "HTTPS://E.CO/"],
            *["https://e.co:8443/a;b?c#d", "https://1.2.3.4/"],
            *["https://xn--bcher-kva.example/", "https://[2001:db8::1]/a", "https://e.co/a@b"],
            *["http://localhost/a", "http://127.0.0.2:8765/a", "http://[::1]:8765/a"],
        ],
    )
    def test_safe(self, url: str) -> None:
        """The receiver may be sent to https, or to this machine."""
        assert is_safe_link(url)

    @pytest.mark.parametrize(
        "url",
        [
            *["", "/form", "form", "e.co/form"],
            *["//e.co/form", "https:e.co", "https:/e.co", "https://"],
            *["https:///e.co", "https://:443/", "https://?a", "https://#a", "://e.co"],
            *["javascript:alert(1)", "JavaScript://e.co/%0aalert(1)", "data:text/html,a", "blob:a"],
            *["ftp://e.co/", "file:///a", "vbscript:a", "ws://e.co/", "intent://e.co/"],
            *["ftp://localhost/", "javascript://localhost/%0aalert(1)", "file://127.0.0.1/a"],
            *["http://e.co/", "http://10.0.0.1/"],
            *["http://localhost.e.co/", "http://127.0.0.1.e.co/"],
            *["https://user@e.co/", "https://user:pw@e.co/", "https://@e.co/", "https://:@e.co/"],
            *["https://good.example@e.co", "https://good.example:443@e.co"],
            *["http://localhost@e.co/"],
            *["https://e.co\\@good.example", "https:\\\\e.co", "https://e.co/a\\b", "\\\\e.co"],
            *["https://e.co/a b", " https://e.co/", "https://e.co/ ", "https://e .co/"],
            *["https://e.co/a\nb", "java\tscript:a", "https://e.co/\x00", "\x01https://e.co/"],
            *["https://e.co/\x7f", "https://e.co/\r\nSet-Cookie:a", "https://e.co/\u200b"],
            *["https://é.co/", "https://e.co/é", "https://\u0435.co/"],
            *["https://e。co/", "https://e.co\u2100"],
            *["https://e.co:a/", "https://e.co:-1/", "https://e.co:65536/", "https://[::1/"],
            *["https://]e.co/", "https://[e.co]/", "https://e.co/\ud800"],
        ],
    )
    def test_unsafe(self, url: str) -> None:
        """The receiver is never sent anywhere else, or where two readers could read two places."""
        assert not is_safe_link(url)

    @settings(deadline=None)
    @given(st.text(max_size=9), st.integers(0, len(LINK)))
    def test_any_text(self, text: str, place: int) -> None:
        """Whatever text stands in a link, the answer is a plain yes or no, and yes is plain."""
        url = LINK[:place] + text + LINK[place:]

        if is_safe_link(url):
            assert url.isascii()
            assert url.isprintable()
            assert not {" ", "\\"} & {*url}
            assert url.lower().startswith("https://")

    @pytest.mark.parametrize(
        ("hosts", "here"),
        [
            ("localhost 127.0.0.1 127.0.0.2 127.255.255.255 ::1", True),
            (
                "0.0.0.0 127.1 128.0.0.1 10.0.0.1 :: ::2 e.co localhost. a.localhost 2130706433",
                False,
            ),
        ],
    )
    def test_loopback(self, hosts: str, here: bool) -> None:  # noqa: FBT001 - a column
        """Only localhost and loopback addresses stay on this machine."""
        assert {here} == {is_loopback(host) for host in hosts.split()}
        assert not is_loopback("")


class TestOutcome:
    @pytest.mark.parametrize("state", State)
    def test_finished(self, state: State) -> None:
        """Four states are the end of a payout; in every other something may still happen."""
        ends = {State.FINAL, State.REJECTED, State.WITHDRAWN, State.CLOSED}

        assert (state in ends) is state.is_terminal
        assert (state in ends) is outcome(state=state).is_finished

    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize(
        "status", [None, *map(Status, ["approved", "declined", "filtered", "error", "processing"])]
    )
    def test_approved(self, state: State, status: Status | None) -> None:
        """Approved is what is final and has the status approved, and nothing else."""
        told = outcome(state=state, status=status)

        assert (state is State.FINAL and status == "approved") is told.is_approved
        assert (status == "error") is told.needs_reconciliation

    @pytest.mark.parametrize("state", State)
    def test_person(self, state: State) -> None:
        """A person must look at attention, every alarm, the status error and every problem."""
        problem = PayoutConflict("po-1", ("amount",))

        assert (state is State.ATTENTION) is outcome(state=state).needs_person
        assert outcome(state=state, alarms=(Alarm.AMOUNT_DIFFERS,)).needs_person
        assert outcome(state=state, problem=problem).needs_person
        assert outcome(state=state, status=Status.ERROR).needs_person

    def test_repr(self) -> None:
        """The receiver's link, which opens their form, stays out of the repr."""
        shown = repr(outcome(redirect_to=LINK, open_reason=OpenReason.AWAITING_RECEIVER))

        assert "pay.example.com" not in shown
        assert "po-1" in shown

    def test_pickle(self) -> None:
        """An outcome travels between processes whole."""
        told = outcome(state=State.FINAL, status=Status("Approved"), alarms=(Alarm.SECOND_ORDER,))
        copy = pickle.loads(pickle.dumps(told))

        assert told == copy
        assert (True, "Approved") == (copy.is_approved, copy.status.raw)


class TestDeadlines:
    @pytest.mark.parametrize("name", ["sending", "validation", "receiver", "final", "doubt"])
    @pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), -float("inf")])
    def test_positive(self, name: str, wrong: float) -> None:
        """A deadline lies ahead."""
        with pytest.raises(ValueError, match=name):
            Deadlines(**{name: wrong})
        assert 0.5 == getattr(Deadlines(**{name: 0.5}), name)

    def test_defaults(self) -> None:
        """Out of the box a request has two minutes to leave, a wait an hour, a doubt a quarter."""
        assert (120, 3600, 3600, 3600, 900) == attrs.astuple(Deadlines())


class TestWords:
    @pytest.mark.parametrize("doubt", Doubt)
    def test_doubt(self, doubt: Doubt) -> None:
        """Each doubt has a whole sentence of its own that says what to do."""
        assert doubt.sentence[0].isupper()
        assert doubt.sentence.endswith(".")
        assert [doubt] == [other for other in Doubt if other.sentence == doubt.sentence]
        assert any(verb in doubt.sentence for verb in ("close", "Ask the gateway's support"))

    @pytest.mark.parametrize("kind", [State, Doubt, Alarm, OpenReason])
    def test_values(self, kind: Any) -> None:
        """The journal's words are the members' names in small letters, with hyphens."""
        assert [member.name.lower().replace("_", "-") for member in kind] == list(kind)

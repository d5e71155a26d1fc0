"""The payout that the caller wants: every request parameter of document 3.24, checked at once."""

import functools
import hmac
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, Self, TypeVar

import attrs

from ..errors import InvalidInput, Problem
from .parameters import (
    Kind,
    Need,
    Parameter,
    amount_text,
    check_amount,
    check_id,
    check_value,
    parameter,
    parse_value,
)

__all__ = ["PARAMETERS", "PARAMETER_NAMES", "PayoutRequest"]

_REQUIRED, _OPTIONAL = Need.REQUIRED, Need.OPTIONAL


_Class = TypeVar("_Class", bound=type)


def _forgetful(cls: _Class) -> _Class:
    """Let the constructor's exceptions pass no frame of ours that holds the values.

    Error trackers record the variables of every frame that an exception passes.
    """
    construct = cls.__init__  # type: ignore[misc] # it is replaced on the class itself

    @functools.wraps(construct)
    def construct_and_forget(self: object, **values: object) -> None:
        try:
            construct(self, **values)
        except (InvalidInput, TypeError) as error:
            wrong = error.with_traceback(None)
        else:
            return
        del self, values
        raise wrong

    cls.__init__ = construct_and_forget  # type: ignore[misc] # likewise
    return cls


@_forgetful
@attrs.frozen(kw_only=True, repr=False)
class PayoutRequest:
    """One payout as the caller wants it: every parameter of document 3.24 under its own name.

    All that is wrong is told at once, by field and never with a value. Secret fields are masked
    in the repr. Whether a conditional parameter is needed is agreed with the gateway's support
    manager, so none is demanded here.

    Raises:
        InvalidInput: One or more parameters are wrong; nothing was sent.
    """

    client_orderid: str = parameter(Kind.TEXT, 128, need=_REQUIRED)
    amount: Decimal = parameter(Kind.AMOUNT, 10, need=_REQUIRED)
    currency: str = parameter(Kind.CURRENCY, 3, need=_REQUIRED)
    order_desc: str | None = parameter(Kind.TEXT, 64, need=_OPTIONAL)
    ipaddress: str | None = parameter(Kind.IP, 45, shortest=7, secret=True)
    purpose: str | None = parameter(Kind.TEXT, 128)
    server_callback_url: str | None = parameter(Kind.URL, 128, need=_OPTIONAL)
    redirect_url: str | None = parameter(Kind.URL, 128, need=_OPTIONAL)
    redirect_success_url: str | None = parameter(Kind.URL, 1024, need=_OPTIONAL)
    redirect_fail_url: str | None = parameter(Kind.URL, 1024, need=_OPTIONAL)
    credit_card_number: str | None = parameter(Kind.DIGITS, 20, secret=True, receiver=True)
    card_printed_name: str | None = parameter(Kind.TEXT, 128, secret=True, receiver=True)
    expire_month: str | None = parameter(Kind.MONTH, 2, secret=True, receiver=True)
    expire_year: str | None = parameter(Kind.YEAR, 4, secret=True, receiver=True)
    cvv2: str | None = parameter(Kind.DIGITS, 4, shortest=3, secret=True)
    account_number: str | None = parameter(Kind.TEXT, 32, secret=True, receiver=True)
    account_name: str | None = parameter(Kind.TEXT, 128, need=_OPTIONAL, secret=True, receiver=True)
    ewallet_type: str | None = parameter(Kind.TEXT, 64, receiver=True)
    ewallet_wallet: str | None = parameter(Kind.TEXT, 128, secret=True, receiver=True)
    crypto_wallet_address: str | None = parameter(Kind.TEXT, 64, secret=True, receiver=True)
    bank_name: str | None = parameter(Kind.TEXT, 255, receiver=True)
    bank_branch: str | None = parameter(Kind.TEXT, 255, receiver=True)
    bank_code: str | None = parameter(Kind.TEXT, 32, receiver=True)
    bank_city: str | None = parameter(Kind.TEXT, 128, receiver=True)
    bank_address1: str | None = parameter(Kind.TEXT, 255, receiver=True)
    bank_zip_code: str | None = parameter(Kind.TEXT, 255, receiver=True)
    bank_province: str | None = parameter(Kind.TEXT, 255, receiver=True)
    bank_area: str | None = parameter(Kind.TEXT, 255, receiver=True)
    routing_number: str | None = parameter(Kind.TEXT, 16, receiver=True)
    legal_person_name: str | None = parameter(Kind.TEXT, 128, secret=True, receiver=True)
    legal_person_document_number: str | None = parameter(Kind.TEXT, 128, secret=True, receiver=True)
    receiver_first_name: str | None = parameter(
        Kind.TEXT, 128, secret=True, receiver=True, alias="first_name"
    )
    receiver_last_name: str | None = parameter(
        Kind.TEXT, 128, secret=True, receiver=True, alias="last_name"
    )
    receiver_birthday: str | None = parameter(
        Kind.DIGITS, 30, secret=True, receiver=True, alias="birthday"
    )
    receiver_country_code: str | None = parameter(Kind.TEXT, 3, receiver=True, alias="country")
    receiver_state: str | None = parameter(Kind.TEXT, 4, receiver=True, alias="state")
    receiver_city: str | None = parameter(Kind.TEXT, 128, secret=True, receiver=True, alias="city")
    receiver_zip_code: str | None = parameter(
        Kind.ZIP, 32, secret=True, receiver=True, alias="zip_code"
    )
    receiver_address1: str | None = parameter(
        Kind.TEXT, 256, secret=True, receiver=True, alias="address1"
    )
    receiver_phone: str | None = parameter(
        Kind.PHONE, 128, secret=True, receiver=True, alias="phone"
    )
    receiver_email: str | None = parameter(
        Kind.TEXT, 128, secret=True, receiver=True, alias="email"
    )
    receiver_identity_document_id: str | None = parameter(
        Kind.TEXT, 128, secret=True, receiver=True, alias="identity_document_id"
    )
    receiver_identity_document_number: str | None = parameter(
        Kind.TEXT, 128, secret=True, receiver=True, alias="identity_document_number"
    )
    merchant_data: str | None = parameter(Kind.LONG_TEXT, 65536, need=_OPTIONAL, secret=True)
    bank_bic: str | None = parameter(Kind.TEXT, 128, need=_OPTIONAL, receiver=True)
    receiver_inn: str | None = parameter(Kind.TEXT, 128, need=_OPTIONAL, secret=True, receiver=True)
    customer_level: str | None = parameter(Kind.TEXT, 32, need=_OPTIONAL)
    customer_id: int | None = parameter(Kind.INTEGER, 10, need=_OPTIONAL, receiver=True)
    merchant_customer_identifier: str | None = parameter(
        Kind.TEXT, 64, need=_OPTIONAL, receiver=True
    )
    card_recurring_payment_id: int | None = parameter(Kind.INTEGER, secret=True, receiver=True)
    recurring_payment_id: int | None = parameter(Kind.INTEGER, secret=True, receiver=True)

    def __attrs_post_init__(self) -> None:
        """Check every parameter and every group before anything else can happen."""
        given = {**dict.fromkeys(_NEEDED), **_values(self)}
        for name, value in given.items():
            if isinstance(value, str) and type(value) is not str:
                # An enum's member would write its own name on the wire, not what it says.
                given[name] = str.__str__(value)
                object.__setattr__(self, name, given[name])
        problems = tuple(self._problems(given))
        if problems:
            raise InvalidInput(problems)

    def __repr__(self) -> str:
        """Show what was given, secrets masked."""
        given = (
            f"{name}={'***' if PARAMETERS[name].secret else text!r}" for name, text in self.given()
        )
        return f"PayoutRequest({', '.join(given)})"

    @classmethod
    def from_text(cls, fields: Mapping[str, str]) -> Self:
        """Read a payout from texts, such as the cells of a file's row.

        Names are the parameter names or their documented aliases; white space around a value is
        dropped as the gateway drops it, and an empty value is a parameter left out.

        Raises:
            InvalidInput: A name is not known or given twice, or a value is wrong.
        """
        values, problems = _read_texts(fields)
        try:
            request = cls(**values)  # type: ignore[arg-type] # the constructor checks the types
        except InvalidInput as error:
            problems.extend(error.problems)
        else:
            if not problems:
                return request
        # Error trackers record the variables of every frame that an exception passes.
        del fields, values
        raise InvalidInput(tuple(problems))

    def given(self) -> Iterator[tuple[str, str]]:
        """Iterate over the parameters that were given, as name and text for the wire."""
        for name, value in _values(self).items():
            yield name, amount_text(value, self.currency) if name == "amount" else str(value)

    def fingerprint(self, key: bytes) -> str:
        """Tell receivers apart without keeping them: a keyed SHA-256 over who gets the money.

        Args:
            key: The secret kept beside the journal; without it a short account number could be
                found by trying them all.
        """
        given = ((name, getattr(self, name)) for name in _RECEIVER)
        receiver = {name: str(value) for name, value in given if value is not None}
        return hmac.digest(key, _CANONICAL.encode(receiver).encode(), "sha256").hex()

    @property
    def receiver_hint(self) -> str | None:
        """The last four characters of the receiver's number, where it has eight or more."""
        for name in _NUMBERED_RECEIVERS:
            value = getattr(self, name)
            if value is not None:
                return value[-4:] if len(value) >= 8 else None
        return None

    @property
    def names_receiver(self) -> bool:
        """Whether it says whom to pay: a card, an account, a wallet, a person's number or address.

        A name alone, or a bank alone, does not. A payout without any is legal where the receiver
        fills in a form behind the redirect link.
        """
        return any(getattr(self, name) is not None for name in _IDENTIFYING)

    def _problems(self, given: Mapping[str, object]) -> Iterator[Problem]:
        for name, value in given.items():
            row = PARAMETERS[name]
            if row.kind is Kind.AMOUNT:
                wrong = check_amount(value, self.currency)
            else:
                wrong = check_value(row, value)
            if wrong is None and name == "client_orderid" and isinstance(value, str):
                wrong = check_id(value)
            if wrong is not None:
                yield Problem(name, wrong)
        success, fail = self.redirect_success_url, self.redirect_fail_url
        if self.redirect_url is not None and (success is not None or fail is not None):
            yield Problem(
                "redirect_url", "excludes redirect_success_url and redirect_fail_url; use one kind"
            )
        elif (success is None) is not (fail is None):
            missing = "redirect_success_url" if success is None else "redirect_fail_url"
            yield Problem(
                missing, "is missing; redirect_success_url and redirect_fail_url go together"
            )
        card = [name for name in _CARD if name in given]
        for token in ("card_recurring_payment_id", "recurring_payment_id"):
            if card and token in given:
                yield Problem(token, f"stands in for card data; leave out {', '.join(card)}")


def _values(request: PayoutRequest) -> dict[str, Any]:
    """Gather what was given; most of the parameters never are."""
    values = zip(PARAMETERS, _EVERY(request), strict=True)
    return {name: value for name, value in values if value is not None}


def _read_texts(
    fields: Mapping[str, str],
) -> tuple[dict[str, str | int | Decimal], list[Problem]]:
    values: dict[str, str | int | Decimal] = {}
    problems: list[Problem] = []
    for name, text in fields.items():
        field = PARAMETER_NAMES.get(name)
        if field is None:
            problems.append(Problem(name, "is no parameter of a payout"))
        elif not (stripped := text.strip()):
            continue
        elif field in values:
            problems.append(Problem(name, f"is given twice, also as {field} or its alias"))
        else:
            value = parse_value(PARAMETERS[field], stripped)
            if PARAMETERS[field].kind is Kind.AMOUNT and isinstance(value, str):
                # Whoever writes texts knows no Decimal.
                problems.append(
                    Problem(
                        field, "must be a plain number such as 10.42, with a point and no comma"
                    )
                )
                value = _STAND_INS[Kind.AMOUNT]
            values[field] = value
    for name in _NEEDED:
        if name not in values:
            problems.append(Problem(name, "is missing"))
            values[name] = _STAND_INS[PARAMETERS[name].kind]
    return values, problems


_CARD: Final = ("credit_card_number", "card_printed_name", "expire_month", "expire_year")
_NUMBERED_RECEIVERS: Final = (
    "credit_card_number",
    "account_number",
    "ewallet_wallet",
    "crypto_wallet_address",
)
_IDENTIFYING: Final = (
    *_NUMBERED_RECEIVERS,
    "card_recurring_payment_id",
    "recurring_payment_id",
    "customer_id",
    "merchant_customer_identifier",
    "receiver_phone",
    "receiver_email",
    "receiver_identity_document_number",
    "receiver_inn",
    "legal_person_document_number",
)
_STAND_INS: Final[dict[Kind, str | Decimal]] = {
    Kind.TEXT: "-",
    Kind.AMOUNT: Decimal(1),
    Kind.CURRENCY: "XXX",  # ISO 4217: no currency
}

PARAMETERS: Final[Mapping[str, Parameter]] = {
    field.name: field.metadata["parameter"] for field in attrs.fields(PayoutRequest)
}
"""Every parameter of a payout by its name, in the order of document 3.24."""

_EVERY: Final = attrgetter(*PARAMETERS)
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=True)
_RECEIVER: Final = tuple(name for name, row in PARAMETERS.items() if row.receiver)
_NEEDED: Final = tuple(name for name, row in PARAMETERS.items() if row.need is _REQUIRED)

PARAMETER_NAMES: Final[Mapping[str, str]] = {
    **{name: name for name in PARAMETERS},
    **{row.alias: name for name, row in PARAMETERS.items() if row.alias is not None},
    "recurring-payment-id": "recurring_payment_id",
}
"""Every name under which a parameter may be given, with the parameter's own name."""

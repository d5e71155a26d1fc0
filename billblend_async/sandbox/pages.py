"""The pages of the sandbox as text: values in, HTML out; all that is put into a page is escaped."""

from collections.abc import Mapping
from html import escape
from typing import Final

__all__ = [
    "HEADERS",
    "done_page",
    "final_redirect_page",
    "form_page",
    "orders_page",
    "unknown_page",
]

HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "origin",
}
"""What is sent with every page."""


def form_page(*, amount: str, currency: str, action: str, paynet_order_id: str) -> str:
    """Ask the receiver to confirm or cancel a payout, as their bank's page would."""
    return _page(
        f"Payout {paynet_order_id} of {amount} {currency}",
        f'<form method="post" action="{escape(action)}">'
        '<button name="decision" value="confirm">Confirm</button>'
        '<button name="decision" value="cancel">Cancel</button></form>',
    )


def final_redirect_page(*, url: str, fields: Mapping[str, str]) -> str:
    """Send the receiver's browser back to the merchant with a POST of these fields."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(text)}">'
        for name, text in fields.items()
    )
    return _page(
        "Back to the merchant",
        f'<form method="post" action="{escape(url)}">{hidden}<button>Continue</button></form>'
        "<script>HTMLFormElement.prototype.submit.call(document.forms[0])</script>",
    )


def done_page(*, is_confirmed: bool, paynet_order_id: str) -> str:
    """Tell the receiver that all is said, when the merchant has no page for them."""
    title = "Payout confirmed" if is_confirmed else "Payout cancelled"
    return _page(title, f"<p>Order {escape(paynet_order_id)} has your answer.</p>")


def unknown_page() -> str:
    """Tell whoever follows a link that it leads nowhere, or no longer."""
    return _page("Link not valid", "<p>It has been used, or was never given out.</p>")


def orders_page() -> str:
    """Show where the orders and the switches for faults can be read."""
    return _page("Orders of the sandbox", '<p><a href="/sandbox/orders">/sandbox/orders</a></p>')


def _page(title: str, body: str) -> str:
    title = escape(title)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"</head><body><h1>{title}</h1>{body}</body></html>\n"
    )

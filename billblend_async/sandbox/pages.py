"""The pages of the sandbox as text: values in, HTML out.

They need nothing but themselves: style and script stand in the page and are allowed by their
hashes, so nothing else can run and nothing is loaded from elsewhere. All that is put into a page is
escaped, and no page has an account number to show.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Final

__all__ = [
    "HEADERS",
    "done_page",
    "final_redirect_page",
    "form_page",
    "orders_page",
    "unknown_page",
]


def form_page(*, amount: str, currency: str, action: str, paynet_order_id: str) -> str:
    """Ask the receiver to confirm or cancel a payout, as their bank's page would.

    The form posts ``decision``, which is ``confirm`` or ``cancel``, and ``code``, to ``action``.
    """
    return _single(
        "Confirm your payout",
        f"""\
<p class="brand">Sandbox Bank</p>
{_NOTICE}
<h1>Confirm your payout</h1>
<p class="amount number">{escape(amount)} <span class="currency">{escape(currency)}</span></p>
<dl class="facts">
<dt>Order</dt><dd class="number">{escape(paynet_order_id)}</dd>
<dt>Goes to</dt><dd>your account</dd>
</dl>
<form method="post" action="{escape(action)}" accept-charset="utf-8">
<div>
<label for="code">One-time code</label>
<input id="code" name="code" autocomplete="one-time-code" inputmode="numeric" maxlength="64"
 spellcheck="false" aria-describedby="hint" required>
<p class="hint soft small" id="hint">A bank would have sent it to you. Here any code will do.</p>
</div>
<div class="buttons">
<button name="decision" value="confirm" class="main">Confirm</button>
<button name="decision" value="cancel" formnovalidate>Cancel</button>
</div>
</form>""",
    )


def final_redirect_page(*, url: str, fields: Mapping[str, str]) -> str:
    """Send the receiver's browser back to the merchant with a POST of these fields."""
    hidden = "\n".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(text)}">'
        for name, text in fields.items()
    )
    return _single(
        "Back to the merchant",
        f"""\
<p class="brand">Sandbox Bank</p>
<h1>You are being taken back</h1>
<p>Your answer has been noted. If nothing happens, go on yourself.</p>
<form method="post" action="{escape(url)}" accept-charset="utf-8">
{hidden}
<div class="buttons"><button class="main">Continue</button></div>
</form>
<script>{_SUBMIT}</script>""",
    )


def done_page(*, is_confirmed: bool, paynet_order_id: str) -> str:
    """Tell the receiver that all is said, when the merchant has no page for them."""
    title = "Payout confirmed" if is_confirmed else "Payout cancelled"
    return _single(
        title,
        f"""\
<p class="brand">Sandbox Bank</p>
{_NOTICE}
<h1>{title}</h1>
<p>Order <span class="number">{escape(paynet_order_id)}</span> has your answer.
 You can close this page.</p>""",
    )


def unknown_page() -> str:
    """Tell whoever follows a link that it leads nowhere, or no longer."""
    return _single(
        "Link not valid",
        f"""\
<p class="brand">Sandbox Bank</p>
{_NOTICE}
<h1>This link is not valid</h1>
<p>It has been used, has expired, or was never given out.
 Ask the one who sent it to you for a new one.</p>""",
    )


def orders_page() -> str:
    """Show the orders live, and the switches for faults."""
    body = f"{_ORDERS_BODY}<script>{_ORDERS_SCRIPT}</script>"
    return _page("Orders of the built-in sandbox", body, _STYLE + _ORDERS_STYLE)


def _single(title: str, content: str) -> str:
    """Put content on one sheet in the middle of a page."""
    return _page(title, f'<div class="single"><main>\n{content}\n</main></div>', _STYLE)


def _page(title: str, body: str, style: str) -> str:
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{escape(title)} · Built-in sandbox</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _static(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Name a style or script in a policy by what it says."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_FOLDER: Final = Path(__file__).with_name("static")
_NOTICE: Final = '<p class="notice">This is a sandbox. No money moves.</p>'
_STYLE: Final = _static("pages.css")
_ORDERS_STYLE: Final = _static("orders.css")
_ORDERS_BODY: Final = _static("orders.html")
_ORDERS_SCRIPT: Final = _static("orders.js")
# A field may be called "submit", so the form's own method is not asked by its name on the form.
_SUBMIT: Final = "HTMLFormElement.prototype.submit.call(document.forms[0])"

HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(_STYLE)} {_hash(_STYLE + _ORDERS_STYLE)}",
            f"script-src {_hash(_SUBMIT)} {_hash(_ORDERS_SCRIPT)}",
            "connect-src 'self'",
            "img-src data:",
            # The final redirect goes wherever the merchant wants it, but it runs nothing.
            "form-action http: https:",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Cache-Control": "no-store",
    # The link is a secret of the receiver's, so the merchant's page hears of the site alone.
    "Referrer-Policy": "origin",
    "X-Content-Type-Options": "nosniff",
}
"""What is sent with every page."""

"""The currencies of ISO 4217 and their decimals, as data.

Source: "Current currency & funds code list" (list one) of SIX, the standard's maintenance agency. A
newer edition of it is taken over here and nowhere else.
"""

from typing import Final

__all__ = ["CODES", "EXPONENTS", "PUBLISHED"]

PUBLISHED: Final = "2026-01-01"
"""The edition of the list."""

_LISTED: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL "
    "GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR "
    "LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD "
    "PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC "
    "SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR "
    "ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_WITHOUT_DECIMALS: Final = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"
"""Metals, units of account and the like, for which the list gives no decimals."""
_WITHDRAWN: Final = {2: "ANG BGN"}
"""Codes that the list has lost in 2025 and 2026, and that may still be asked for."""

EXPONENTS: Final = {
    code: exponent
    for table in (_LISTED, _WITHDRAWN)
    for exponent, codes in table.items()
    for code in codes.split()
}
"""Decimals of each currency; a code that is not here is not limited."""
CODES: Final = frozenset(" ".join((*_LISTED.values(), _WITHOUT_DECIMALS)).split())
"""Every code of the list."""

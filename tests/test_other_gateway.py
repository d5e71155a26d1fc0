"""The library pays against a gateway that it shares no code with."""

import csv
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from other_gateway import CONTROL, ENDINGS, ENDPOINT, LOGIN, other_gateway

from billblend_async.gateway.credentials import RsaSigner, make_private_key


@pytest.fixture(scope="module")
def private_key() -> str:
    """Make one key for all styles."""
    return make_private_key()


@pytest.mark.parametrize("control", [CONTROL, ""], ids=["status-v2", "status-v4"])
@pytest.mark.parametrize("style", ["lf", "trailing", "plain", "loud"])
def test_forty_payouts(style: str, control: str, private_key: str, tmp_path: Path) -> None:
    """Forty payouts verify, are checked once and paid once, and are told as they end."""
    key, file = tmp_path / "key.pem", tmp_path / "payouts.csv"
    key.write_text(private_key)
    accounts = list(ENDINGS)
    rows = [f"ü{n},{n + 1}.5,EUR,{accounts[n % 3]},O'Neil & Søn +1" for n in range(40)]
    head = "client_orderid,amount,currency,account_number,receiver_last_name"
    file.write_text("\n".join([head, *rows]), encoding="utf-8")
    with other_gateway(RsaSigner.from_pem(private_key).public_pem().decode(), style) as gateway:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "billblend_async", "pay", str(file), "--poll", "0.3:0.6"),
                *("--journal", str(tmp_path / "j.db"), "--out", str(tmp_path / "out.csv")),
            ],
            env={
                **os.environ,
                "BILLBLEND_LOGIN": LOGIN,
                "BILLBLEND_PRIVATE_KEY": str(key),
                "BILLBLEND_MERCHANT_CONTROL": control,
                "BILLBLEND_ENDPOINT_ID": str(ENDPOINT),
                "BILLBLEND_BASE_URL": gateway.base_url,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )

    assert (2, "") == (done.returncode, done.stderr)  # the status error needs a person
    assert [] == gateway.wrong
    for command in ("payout-check", "payout-pay"):
        counts = Counter(order for asked, order, _ in gateway.asked if asked == command)
        assert {f"ü{n}": 1 for n in range(40)} == dict(counts)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as told:
        for row in csv.DictReader(told):
            assert ENDINGS[row["account_number"]] == row["status"]

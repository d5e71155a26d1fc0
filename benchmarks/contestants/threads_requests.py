"""requests in two hundred threads, signed as requests-oauthlib does, sleeping between polls."""

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Final

import requests
from oauthlib.oauth1 import SIGNATURE_RSA_SHA256
from requests_oauthlib import OAuth1

from ..book import WARM_UP
from ..settings import Gap, Settings
from .forms import (
    CHECK,
    PAY,
    check_form,
    is_approved,
    is_validated,
    pay_form,
    read_answer,
    status_form,
    status_path,
)
from .stage import WARM_UP_GAP, names, take_settings

_THREADS: Final = 200
_TIMEOUT: Final = 30.0


class ThreadsRequests:
    """Payouts over one ``requests.Session`` for each thread."""

    def __init__(self, settings: Settings) -> None:
        self.errors: Counter[str] = Counter()
        self._settings = settings
        self._until = time.monotonic() + settings.patience
        self._mine = threading.local()
        self._oauth = OAuth1(
            settings.login,
            signature_method=SIGNATURE_RSA_SHA256,
            rsa_key=Path(settings.key).read_text(encoding="ascii"),
        )

    def payout(self, name: str, gap: Gap) -> bool:
        """Run one payout from check to its end."""
        try:
            checked = self._post(CHECK, check_form(name), is_signed=True)
            order = checked["paynet-order-id"]
            self._wait_until(is_validated, name, order, gap)
            self._post(PAY, pay_form(self._settings.login, name, order), is_signed=True)
            self._wait_until(is_approved, name, order, gap)
        except (requests.RequestException, KeyError, TimeoutError) as error:
            self.errors[type(error).__name__] += 1
            return False
        return True

    def _wait_until(
        self, is_over: Callable[[dict[str, str]], bool], name: str, order: str, gap: Gap
    ) -> None:
        while True:
            time.sleep(gap.choose(random.random()))
            if time.monotonic() > self._until:
                raise TimeoutError
            try:
                answer = self._status(name, order)
            except requests.RequestException as error:
                self.errors[type(error).__name__] += 1
                continue
            if is_over(answer):
                return

    def _status(self, name: str, order: str) -> dict[str, str]:
        settings = self._settings
        form = status_form(settings.login, name, order)
        if settings.status_version == 2:
            secret = settings.login + name + order + settings.merchant_control
            form["control"] = hashlib.sha1(secret.encode()).hexdigest()
        path = status_path(settings.status_version)
        return self._post(path, form, is_signed=settings.status_version == 4)

    def _post(self, path: str, form: dict[str, str], *, is_signed: bool) -> dict[str, str]:
        response = self._session().post(
            self._settings.base_url + path,
            data=form,
            auth=self._oauth if is_signed else None,
            verify=self._settings.ca or True,
            timeout=_TIMEOUT,
        )
        response.raise_for_status()
        return read_answer(response.text)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._mine, "session", None)
        if session is None:
            session = self._mine.session = requests.Session()
        return session


def main() -> None:
    """Run the contestant as a program."""
    settings, meter = take_settings()
    ThreadsRequests(settings).payout(WARM_UP, WARM_UP_GAP)
    meter.start()
    contestant = ThreadsRequests(settings)
    with ThreadPoolExecutor(_THREADS) as threads:
        ends = [threads.submit(contestant.payout, name, settings.gap) for name in names(settings)]
        with suppress(TimeoutError):
            for end in as_completed(ends, timeout=settings.patience):
                meter.done += end.result()
        meter.tell_score(settings.payouts, contestant.errors)
        threads.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    main()

"""The pytest plugin in real sessions, each a process: found, light, apart from each other."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import ROOT

Session = Callable[..., pytest.RunResult]
ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Session:
    """Run pytest in a process of its own, with the plugins that are named and no others."""
    # What an installation of this package leaves behind, also where it is not installed anew.
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    installed = tmp_path / "installed" / "billblend_async-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: billblend-async\nVersion: 0\n"
    )
    lines = [f"{name} = {value}" for name, value in known["pytest11"].items()]
    (installed / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
    path = os.pathsep.join((str(installed.parent), str(ROOT)))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(*arguments: str, plugins: tuple[str, ...] = ("billblend",)) -> pytest.RunResult:
        words = [word for name in plugins for word in ("-p", name)]
        return pytester.runpytest_subprocess(
            "-W", "error", "-p", "no:cacheprovider", *words, *arguments, timeout=120
        )

    return run


class TestSessions:
    def test_sync(self, pytester: pytest.Pytester, session: Session) -> None:
        """Sync tests need no async plugin; each has a gateway of its own, all have one key."""
        pytester.makepyfile("""
            import asyncio
            import threading
            from decimal import Decimal
            from billblend_async import PayoutRequest

            KEYS = set()

            async def pay(sandbox):
                async with sandbox.orchestrator() as payouts:
                    return await payouts.run(PayoutRequest(
                        client_orderid="po-1", amount=Decimal(1), currency="USD",
                        account_number="1234567890",
                    ))

            def test_first(billblend_sandbox):
                assert asyncio.run(pay(billblend_sandbox)).is_approved
                billblend_sandbox.assert_paid_once("po-1")
                KEYS.add(billblend_sandbox.private_key)

            def test_second(billblend_sandbox, billblend_private_key):
                assert billblend_sandbox.ledger == {}
                assert KEYS == {billblend_sandbox.private_key} == {billblend_private_key}

            def test_third(billblend_sandbox_factory):
                slow = billblend_sandbox_factory(validation=3600.0)
                quick = billblend_sandbox_factory(login="other", callbacks=False)
                assert slow.base_url != quick.base_url
                keys = {each.environ["BILLBLEND_PRIVATE_KEY"] for each in (slow, quick)}
                assert len(keys) == 2
                assert (slow.validation, quick.login) == (3600.0, "other")
                names = [each.name for each in threading.enumerate()]
                assert names.count("billblend-sandbox") == 2

            def test_fourth(request):
                assert threading.active_count() == 1
        """)

        session().assert_outcomes(passed=4)

    @pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
    def test_async(self, pytester: pytest.Pytester, session: Session, plugin: str) -> None:
        """Async tests use the same fixtures, under either plugin that runs them."""
        pytester.makepyfile(f"""
            from decimal import Decimal
            import pytest
            from billblend_async import PayoutRequest

            @pytest.fixture
            def anyio_backend():
                return "asyncio"

            @pytest.mark.{plugin}
            async def test_pays(billblend_sandbox):
                async with billblend_sandbox.orchestrator() as payouts:
                    outcome = await payouts.run(PayoutRequest(
                        client_orderid="po-1", amount=Decimal(1), currency="USD",
                        account_number="1234567890",
                    ))
                assert outcome.is_approved
                billblend_sandbox.assert_paid_once("po-1")
        """)
        options = ASYNCIO if plugin == "asyncio" else ()

        session(*options, plugins=("billblend", plugin)).assert_outcomes(passed=1)

    def test_example(self, pytester: pytest.Pytester, session: Session) -> None:
        """The example that tests a service passes, without an async plugin."""
        pytester.makepyfile((ROOT / "examples" / "test_payday.py").read_text())
        # Which HTTP library Starlette's test client would rather have is between those two.
        taste = "ignore:Using `httpx` with `starlette.testclient` is deprecated"

        session("-W", taste).assert_outcomes(passed=1)

    def test_xdist(self, pytester: pytest.Pytester, session: Session) -> None:
        """Tests that run side by side in several processes do not meet."""
        pytester.makepyfile("""
            import pytest

            @pytest.mark.parametrize("number", range(4))
            def test_apart(billblend_sandbox, number):
                assert billblend_sandbox.ledger == {}
                assert len(billblend_sandbox.environ) == 5
        """)

        session("-n", "2", plugins=("billblend", "xdist")).assert_outcomes(passed=4)

    def test_all_plugins(
        self, pytester: pytest.Pytester, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An installed package brings its fixtures along without a word from its user, once."""
        monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        pytester.makepyfile("""
            def test_here(billblend_sandbox, request):
                loaded = request.config.pluginmanager.list_name_plugin()
                assert ["billblend"] == [
                    name for name, plugin in loaded
                    if getattr(plugin, "__name__", "") == "billblend_async.testing"
                ]
        """)

        session(*ASYNCIO, plugins=()).assert_outcomes(passed=1)

    def test_lightness(self, pytester: pytest.Pytester, session: Session) -> None:
        """Tests that ask for none of the fixtures do not pay for them."""
        pytester.makepyfile("""
            import sys

            def test_light(request):
                assert request.config.pluginmanager.get_plugin("billblend")
                heavy = {"asyncio", "attrs", "cryptography", "httpx", "sqlite3", "starlette"}
                ours = {name for name in sys.modules if name.startswith("billblend_async.")}
                assert heavy & sys.modules.keys() == set()
                assert ours == {"billblend_async.testing"}
        """)

        session().assert_outcomes(passed=1)

    @pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
    def test_missing_extra(self, pytester: pytest.Pytester, session: Session, missing: str) -> None:
        """Without the server's packages the fixture says what to install; other tests go on."""
        pytester.makeconftest(f"import sys\nsys.modules[{missing!r}] = None")
        pytester.makepyfile("""
            def test_served(billblend_sandbox):
                pass

            def test_other():
                pass
        """)
        result = session()

        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(
            [f"the sandbox server needs {missing}*; install billblend-async[[]cli]"]
        )
        result.stdout.no_fnmatch_line("*Traceback*")

    def test_report(self, pytester: pytest.Pytester, session: Session) -> None:
        """The report of a payout that was not made points at the test and shows no secret."""
        pytester.makepyfile("""
            def test_pays(billblend_sandbox):
                billblend_sandbox.assert_paid_once("po-1")
        """)
        result = session("--showlocals")

        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                ">*billblend_sandbox.assert_paid_once(*",
                "E*'po-1' was paid 0 times, not once:",
                "E*the gateway knows no such order; nothing has reached it",
                "billblend_sandbox = <RunningSandbox at http://127.0.0.1:*/checkout>",
                "*test_report.py:2: AssertionError",
            ]
        )
        result.stdout.no_fnmatch_line("*PRIVATE KEY*")

"""The doctor finds what is wrong, says what to do about it, and changes and tells nothing."""

import asyncio
import hashlib
import json
import shutil
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from desk import Desk, open_desk
from journal_cases import live
from leaks import CARD
from payouts import PATHS, opened
from rsa_keys import PEM_2048, PEM_4096, private_key
from servers import HOST, Connection, Server, tls_contexts

from billblend_async.cli import doctor as examination
from billblend_async.cli import doctor as network_module
from billblend_async.cli.doctor import (
    Finding,
    Verdict,
    examine,
    examine_journal,
    examine_network,
    examine_papers,
    filesystem_of,
)
from billblend_async.core.models import Endpoint, State
from billblend_async.journal import Owner
from billblend_async.journal.location import FilePlace
from billblend_async.journal.sqlite import SqliteJournal
from billblend_async.sandbox import Sandbox

OK, WARNING, PROBLEM, NOT_CHECKED = Verdict
PASSWORD = "zq correct horse"
CONTROL = "ZQ-CONTROL-1234"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Open a desk whose key is kept as it should be."""
    async with open_desk(tmp_path) as desk:
        (tmp_path / "key.pem").chmod(0o600)
        yield desk


def about(findings: list[Finding], name: str) -> Finding:
    """Find the one finding about a thing."""
    [found] = [finding for finding in findings if finding.about == name]
    return found


def verdicts(findings: list[Finding], *kinds: Verdict) -> list[str]:
    """Name what was found to be of some kinds."""
    return [finding.about for finding in findings if finding.verdict in kinds]


class TestCommand:
    async def test_all_is_well(self, desk: Desk) -> None:
        """Where all is well each line says so, nothing is sent or made, and it exits 0."""
        status, out, error = await desk.billblend("doctor", "--journal", "payouts.db")

        assert (0, "") == (status, error)
        assert "problem" not in out
        assert "not checked  TLS: it is not used on loopback" in out
        assert "the gateway knows this login, endpoint and key and the merchant control" in out
        assert "payouts.db is not there yet" in out
        assert 0 == desk.sends
        assert not list(desk.folder.glob("payouts.db*"))
        for secret in (desk.sandbox.merchant_control, *desk.sandbox.private_key.split("\n")[1:-2]):
            assert secret not in out

    async def test_json(self, desk: Desk) -> None:
        """With --json it is one object, and a problem makes it exit 4."""
        (desk.folder / "key.pem").chmod(0o640)
        status, out, error = await desk.billblend("doctor", "--json")

        assert (4, "") == (status, error)
        told = json.loads(out)
        assert 1 == told["counts"]["problem"]
        [wrong] = [each for each in told["findings"] if each["verdict"] == "problem"]
        assert ("key file", True) == (wrong["about"], "chmod 600" in wrong["remedy"])

    async def test_nothing_is_set(self, desk: Desk) -> None:
        """Without any setting it still looks at what there is, and sends nobody anything."""
        desk.environ = {n: v for n, v in desk.environ.items() if "BILLBLEND" not in n}
        desk.environ["BILLBLEND_BASE_URL"] = desk.sandbox.base_url
        status, out, error = await desk.billblend("doctor")

        assert (4, "") == (status, error)
        assert "settings: BILLBLEND_LOGIN is not set" in out
        assert "ok           connection" in out
        assert "ok           clock" in out
        assert "not checked  signed question: the settings must be mended first" in out


class TestSignedQuestion:
    @pytest.mark.parametrize(
        ("changes", "told", "remedy"),
        [
            ({"BILLBLEND_LOGIN": "stranger"}, "HTTP 403", "'stranger'"),
            ({"BILLBLEND_ENDPOINT_ID": "7"}, "HTTP 403", "endpoint 7"),
            ({"BILLBLEND_MERCHANT_CONTROL": "wrong"}, "error 2", "the merchant control is wrong"),
        ],
    )
    async def test_wrong_setting(
        self, desk: Desk, changes: dict[str, str], told: str, remedy: str
    ) -> None:
        """What a gateway refuses is told with the setting that it may be."""
        found = about(await examine({**desk.environ, **changes}), "signed question")

        assert PROBLEM == found.verdict
        assert told in found.told
        assert remedy in found.remedy

    async def test_wrong_key(self, desk: Desk) -> None:
        """A key that is not registered is told with its fingerprint, and all the rest is well."""
        (desk.folder / "key.pem").write_text(PEM_2048)
        findings = await examine(desk.environ)

        fingerprint = about(findings, "key fingerprint").told.split(" is ")[1].split(";")[0]
        assert ["signed question"] == verdicts(findings, PROBLEM)
        assert fingerprint in about(findings, "signed question").remedy

    async def test_v4(self, desk: Desk) -> None:
        """Without a merchant control nothing is said of one."""
        del desk.environ["BILLBLEND_MERCHANT_CONTROL"]
        found = about(await examine(desk.environ), "signed question")

        assert (OK, False) == (found.verdict, "control" in found.told)

    async def test_wrong_address(self, desk: Desk) -> None:
        """An address with no gateway behind it is told as that."""
        desk.environ["BILLBLEND_BASE_URL"] += "/v9"
        found = about(await examine(desk.environ), "signed question")

        assert (PROBLEM, True) == (found.verdict, "no gateway at this address" in found.told)

    @pytest.mark.parametrize(
        ("fault", "verdict"), [("error_500", PROBLEM), ("html", PROBLEM), ("garbage", PROBLEM)]
    )
    async def test_sick_gateway(self, desk: Desk, fault: Any, verdict: Verdict) -> None:
        """What is no answer of the gateway's protocol is told as that."""
        desk.sandbox.faults.set("status", fault)

        found = about(await examine(desk.environ), "signed question")
        assert (verdict, True) == (found.verdict, "no answer that can be read" in found.told)

    async def test_nobody_there(self, desk: Desk) -> None:
        """Where nobody listens the way ends there, and the sandbox's start is named."""
        with socket.socket() as taken:
            taken.bind((HOST, 0))  # bound and not listening, so nobody else takes it
            desk.environ["BILLBLEND_BASE_URL"] = f"http://{HOST}:{taken.getsockname()[1]}/checkout"
            findings = await examine(desk.environ)

        assert ["connection"] == verdicts(findings, PROBLEM)
        assert "billblend sandbox" in about(findings, "connection").remedy
        assert {"TLS", "clock", "signed question"} <= set(verdicts(findings, NOT_CHECKED))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Set what is needed, and the key's file."""
    path = tmp_path / "key.pem"
    path.write_text(PEM_2048)
    path.chmod(0o600)
    return {
        "BILLBLEND_LOGIN": "merchant",
        "BILLBLEND_PRIVATE_KEY": str(path),
        "BILLBLEND_MERCHANT_CONTROL": CONTROL,
        "BILLBLEND_ENDPOINT_ID": "39915",
    }


def papers(environ: dict[str, str]) -> list[Finding]:
    """Look at the papers, once it is sure that no secret is told."""
    findings = list(examine_papers(environ).findings)
    told = "\n".join(map(str, findings))
    assert CONTROL not in told
    assert PASSWORD not in told
    assert CARD not in told
    return findings


class TestPapers:
    def test_good(self, environ: dict[str, str]) -> None:
        """Good papers have no problem, and the key's fingerprint is the one that openssl tells."""
        findings = papers(environ)

        assert [] == verdicts(findings, PROBLEM, WARNING, NOT_CHECKED)
        der = (
            private_key(2048)
            .public_key()
            .public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        digest = hashlib.sha256(der).hexdigest()
        assert digest in about(findings, "key fingerprint").told
        assert "real money" not in about(findings, "settings").told
        environ["BILLBLEND_BASE_URL"] = "production"
        assert "real money moves there" in about(papers(environ), "settings").told

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
    def test_open_key_file(self, environ: dict[str, str], mode: int) -> None:
        """A key file that others may read or write is a problem, with the command that mends it."""
        Path(environ["BILLBLEND_PRIVATE_KEY"]).chmod(mode)
        found = about(papers(environ), "key file")

        assert PROBLEM == found.verdict
        assert f"{mode:04o}" in found.told
        assert found.remedy.startswith("run: chmod 600 ")

    def test_encrypted(self, environ: dict[str, str]) -> None:
        """An encrypted key is told as one, and so is a password that does not open it."""
        lock = serialization.BestAvailableEncryption(PASSWORD.encode())
        pem = private_key(2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock
        )
        Path(environ["BILLBLEND_PRIVATE_KEY"]).write_bytes(pem)
        without = papers(environ)
        environ["BILLBLEND_PRIVATE_KEY_PASSWORD"] = PASSWORD

        assert "encrypted; give its password" in about(without, "key").told
        assert "2048 bits, encrypted" in about(papers(environ), "key").told
        environ["BILLBLEND_PRIVATE_KEY_PASSWORD"] = "wrong"
        assert "password: is wrong" in about(papers(environ), "key").told

    def test_sizes(self, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """4096 bits are well; more may be refused, and fewer than 2048 are."""
        path = Path(environ["BILLBLEND_PRIVATE_KEY"])
        path.write_text(PEM_4096)
        assert OK == about(papers(environ), "key").verdict
        monkeypatch.setattr("billblend_async.cli.doctor._LARGEST", 3072)
        assert WARNING == about(papers(environ), "key").verdict
        short = rsa.generate_private_key(65537, 1024).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        path.write_bytes(short)
        found = about(papers(environ), "key")
        assert (PROBLEM, True) == (found.verdict, "1024 bits" in found.told)

    @pytest.mark.parametrize(
        "content", [b"", b"no key", CARD.encode(), None], ids=["empty", "words", "card", "none"]
    )
    def test_no_key(self, environ: dict[str, str], content: bytes | None) -> None:
        """A file without a key, or none at all, is told and hides nothing of the rest."""
        path = Path(environ["BILLBLEND_PRIVATE_KEY"])
        path.unlink() if content is None else path.write_bytes(content)
        found = papers(environ)

        assert "settings" in verdicts(found, PROBLEM)
        assert about(found, "key").verdict is (NOT_CHECKED if content is None else PROBLEM)
        assert OK == about(found, "proxy").verdict

    @pytest.mark.parametrize(
        "name",
        [
            *("BILLBLEND_PRIVATE_KEY", "BILLBLEND_ENDPOINT_ID", "BILLBLEND_BASE_URL"),
            *("BILLBLEND_STATUS_VERSION", "BILLBLEND_POLL_TRANSPORT"),
            "BILLBLEND_SERVER_CALLBACK_URL",
        ],
    )
    @pytest.mark.parametrize("secret", [CONTROL, PASSWORD, f"https://u:{PASSWORD}@a.example"])
    def test_secret_in_the_wrong_place(
        self, environ: dict[str, str], name: str, secret: str
    ) -> None:
        """A secret that stands in the wrong variable is not repeated."""
        told = papers({**environ, name: secret})

        assert "settings" in verdicts(told, PROBLEM)
        shown = f"{name} is set, and not shown since it does not look right"
        assert shown in [finding.told for finding in told]

    def test_strays(self, environ: dict[str, str]) -> None:
        """A variable that is no setting is named with the one that was meant, not its value."""
        found = papers(
            {**environ, "BILLBLEND_MERCHANTCONTROL": CONTROL, "BILLBLEND_TRACEBACK": "1"}
        )

        [stray] = [finding for finding in found if finding.verdict is WARNING]
        assert "BILLBLEND_MERCHANTCONTROL is none" in stray.told
        assert "BILLBLEND_MERCHANT_CONTROL?" in stray.remedy

    def test_proxies(self, environ: dict[str, str]) -> None:
        """A proxy that is set and not used is a warning, without its address."""
        found = about(papers({**environ, "HTTPS_PROXY": f"http://u:{PASSWORD}@proxy"}), "proxy")

        assert (WARNING, True) == (found.verdict, "HTTPS_PROXY" in found.told)

    def test_aiohttp(self, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Where aiohttp is asked for, it is looked for."""
        environ["BILLBLEND_POLL_TRANSPORT"] = "aiohttp"
        assert OK == about(papers(environ), "aiohttp").verdict
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        found = about(papers(environ), "aiohttp")
        assert (PROBLEM, True) == (found.verdict, "pip install" in found.remedy)


def at(url: str) -> Endpoint:
    """Name an endpoint at a URL."""
    return Endpoint(base_url=url, endpoint_id=1)


def answering(head: str) -> Callable[[Connection], Any]:
    """Answer every request with a head."""

    async def script(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(head.replace("\n", "\r\n").encode())

    return script


def dated(seconds: float = 0.0) -> str:
    """Write the head of an answer by a clock that is ahead by some seconds."""
    return f"HTTP/1.1 405 \nDate: {formatdate(time.time() + seconds, usegmt=True)}\n\n"


class TestNetwork:
    @pytest.mark.parametrize(
        ("ahead", "verdict"),
        [(0, OK), (-4, OK), (20, WARNING), (-20, WARNING), (90, PROBLEM), (-90, PROBLEM)],
    )
    async def test_clock(self, ahead: float, verdict: Verdict) -> None:
        """A clock that is 5 s wrong is a warning, and one that is 60 s wrong a problem."""
        async with Sandbox() as sandbox:
            found = await examine_network(
                at(sandbox.base_url), wall_clock=lambda: time.time() + ahead
            )

        clock = about(found, "clock")
        assert verdict == clock.verdict
        if verdict is not OK:
            assert "NTP" in clock.remedy
            assert ("ahead of" if ahead > 0 else "behind") in clock.told

    async def test_old_answer(self) -> None:
        """An answer that a cache has kept is not taken for a wrong clock."""
        head = dated(-300).replace("\n\n", "\nAge: 300\n\n")
        async with Server(answering(head)) as server:
            assert OK == about(await examine_network(at(server.url)), "clock").verdict

    @pytest.mark.parametrize("date", ["", "Date: never\n", "Date: \n"])
    async def test_no_date(self, date: str) -> None:
        """An answer without a date is nothing to compare a clock with."""
        async with Server(answering(f"HTTP/1.1 200 OK\n{date}\n")) as server:
            assert NOT_CHECKED == about(await examine_network(at(server.url)), "clock").verdict

    @pytest.mark.parametrize("head", ["\0\1\n\n", "SSH-2.0-x\n\n", "", "x" * 70_000 + "\n\n"])
    async def test_no_http(self, head: str) -> None:
        """Whatever else answers is told as no HTTP."""
        async with Server(answering(head)) as server:
            found = await examine_network(at(server.url))

        assert PROBLEM == about(found, "clock").verdict
        assert NOT_CHECKED == about(found, "TLS").verdict

    async def test_silence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that never answers is waited for no longer than is said."""
        monkeypatch.setattr(network_module, "EXCHANGING", 0.1)

        async def silent(connection: Connection) -> None:
            await connection.reader.read()

        async with Server(silent) as server:
            assert (
                "no answer within 0.1 s"
                in about(await examine_network(at(server.url)), "clock").told
            )

    async def test_tls(self, tmp_path: Path) -> None:
        """TLS is told with its version and the certificate's name and days; few are a warning."""
        theirs, ours = tls_contexts(tmp_path)
        async with Server(answering(dated()), tls=theirs) as server:
            found = await examine_network(at(server.url), trust=ours)

        tls = about(found, "TLS")
        assert WARNING == tls.verdict  # it lives for a day
        assert "TLSv1.3, trusted certificate of test gateway, 0 days left" == tls.told
        assert OK == about(found, "clock").verdict

    async def test_untrusted(self, tmp_path: Path) -> None:
        """A certificate that nobody trusts ends the way, and says why."""
        theirs, _ = tls_contexts(tmp_path)
        async with Server(answering(dated()), tls=theirs) as server:
            found = await examine_network(at(server.url), trust=ssl.create_default_context())

        assert (PROBLEM, True) == (about(found, "TLS").verdict, "self" in about(found, "TLS").told)
        assert NOT_CHECKED == about(found, "clock").verdict

    async def test_no_tls_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that speaks no TLS where it should is told as that."""
        monkeypatch.setattr(network_module, "EXCHANGING", 0.3)
        async with Server(answering(dated())) as server:
            url = server.url.replace("http://", "https://")
            found = await examine_network(at(url), trust=ssl.create_default_context())

        assert PROBLEM == about(found, "TLS").verdict

    async def test_unknown_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that nobody knows ends the way at its first step."""

        def look_up(*_: Any, **__: Any) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        found = await examine_network(at("https://gateway.example/checkout"))

        assert [PROBLEM, *[NOT_CHECKED] * 3] == [finding.verdict for finding in found]
        assert "gateway.example is not known (Name or service not known)" == found[0].told

    async def test_slow_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Looking a name up is waited for no longer than is said, and holds up no end."""
        hold = threading.Event()
        monkeypatch.setattr(network_module, "RESOLVING", 0.05)

        def look_up(*_: Any, **__: Any) -> list[Any]:
            hold.wait(20)
            return []

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        found = await examine_network(at("https://gateway.example/checkout"))
        hold.set()

        assert "looking gateway.example up took more than 0.05 s" == found[0].told

    async def test_proxy_is_a_reason(self) -> None:
        """Where there is no way and a proxy is set, that is named as a reason."""
        with socket.socket() as taken:
            taken.bind((HOST, 0))
            url = f"https://{HOST}:{taken.getsockname()[1]}/checkout"
            found = await examine_network(at(url), proxies=("HTTPS_PROXY",))

        assert PROBLEM == about(found, "connection").verdict


OWNER = Owner(base_url="https://sandbox.billblend.com/checkout", login="merchant", endpoint="39915")


async def write(path: Path, *states: State, owner: Owner = OWNER) -> None:
    """Write a journal with a payout in each of some states."""
    journal = SqliteJournal(path)
    await journal.open(owner)
    for number, state in enumerate(states):
        await live(journal, opened(f"po-{number}"), PATHS[state])
    await journal.aclose()


def looked_at(path: Path, environ: dict[str, str]) -> list[Finding]:
    """Look at a journal, and see that not a byte of it has changed."""
    before = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    findings = examine_journal(FilePlace(path), examine_papers(environ).settings)
    assert before == {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    return findings


class TestJournal:
    async def test_sound(self, tmp_path: Path, environ: dict[str, str]) -> None:
        """A sound journal is told with what it holds."""
        await write(tmp_path / "payouts.db", State.FINAL, State.ATTENTION, State.VALIDATING)
        found = looked_at(tmp_path / "payouts.db", environ)

        assert "3 payouts, 2 unfinished, 1 in attention" in about(found, "journal").told
        assert OK == about(found, "journal").verdict == about(found, "journal directory").verdict

    @pytest.mark.parametrize("field", ["base_url", "login", "endpoint"])
    @pytest.mark.parametrize(
        ("states", "verdict"),
        [((), OK), ((State.NEW,), OK), ((State.CHECKING,), PROBLEM), ((State.FINAL,), PROBLEM)],
    )
    async def test_owner(
        self,
        tmp_path: Path,
        environ: dict[str, str],
        field: str,
        states: tuple[State, ...],
        verdict: Verdict,
    ) -> None:
        """A journal of somebody else is a problem exactly where opening it would be one."""
        other = {"base_url": "https://other.example/checkout", "login": "other", "endpoint": "1"}
        owner = attrs.evolve(OWNER, **{field: other[field]})
        await write(tmp_path / "payouts.db", *states, owner=owner)
        verdict = PROBLEM if states and field == "login" else verdict

        assert verdict == about(looked_at(tmp_path / "payouts.db", environ), "journal").verdict
        journal = SqliteJournal(tmp_path / "payouts.db")
        if verdict is OK:
            assert (
                "takes these" in about(looked_at(tmp_path / "payouts.db", environ), "journal").told
            )
            await journal.open(OWNER)
            await journal.aclose()
        else:
            with pytest.raises(Exception, match=field):
                await journal.open(OWNER)

    async def test_restored(self, tmp_path: Path, environ: dict[str, str]) -> None:
        """A journal that was declared restored is told as one, and takes nobody else."""
        journal = SqliteJournal(tmp_path / "payouts.db")
        await journal.open(OWNER)
        await journal.declare_restored(time.time())
        await journal.aclose()

        found = about(looked_at(tmp_path / "payouts.db", environ), "journal")
        assert (OK, True) == (found.verdict, "declared restored" in found.told)
        environ["BILLBLEND_LOGIN"] = "other"
        assert PROBLEM == about(looked_at(tmp_path / "payouts.db", environ), "journal").verdict

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda path: path.write_text("no database" * 200), "not a database"),
            (lambda path: path.with_name("payouts.db.key").unlink(), "payouts.db.key is missing"),
            (
                lambda path: path.with_name("payouts.db.key").write_text("00" * 32),
                "not the one that belongs to it",
            ),
            (lambda path: path.unlink(), "is gone, but its key file is there"),
            (
                lambda path: _execute(path, "UPDATE meta SET value = '9' WHERE name = 'version'"),
                "9",
            ),
            (lambda path: _execute(path, "DELETE FROM events"), "do not fit"),
            (lambda path: _execute(path, "DROP TABLE secrets"), "no journal of this release"),
        ],
    )
    async def test_damaged(
        self,
        tmp_path: Path,
        environ: dict[str, str],
        damage: Callable[[Path], None],
        said: str,
    ) -> None:
        """A journal that cannot be read, or lacks its key, is told as that and left as it is."""
        await write(tmp_path / "payouts.db", State.FINAL)
        damage(tmp_path / "payouts.db")
        found = about(looked_at(tmp_path / "payouts.db", environ), "journal")

        assert PROBLEM == found.verdict
        assert said in found.told

    async def test_held(self, tmp_path: Path, environ: dict[str, str], monkeypatch: Any) -> None:
        """A journal that another program holds is not waited for without end."""
        path = tmp_path / "payouts.db"
        await write(path, State.FINAL)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        look = "billblend_async.cli.doctor.inspect_journal"
        inspect = examine_journal.__globals__["inspect_journal"]
        monkeypatch.setattr(look, lambda path: inspect(path, busy_timeout=0.05))

        found = about(examine_journal(FilePlace(path), None), "journal")
        holder.close()
        assert (PROBLEM, True) == (found.verdict, "locked" in found.told)

    def test_places(self, tmp_path: Path, environ: dict[str, str], monkeypatch: Any) -> None:
        """A directory for a journal, one that is missing, and a full disk are problems."""
        assert "is a directory" in about(examine_journal(FilePlace(tmp_path), None), "journal").told
        nowhere = examine_journal(FilePlace(tmp_path / "nowhere" / "payouts.db"), None)
        assert "mkdir -p" in about(nowhere, "journal directory").remedy
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        full = examine_journal(FilePlace(tmp_path / "payouts.db"), None)
        assert PROBLEM == about(full, "journal directory").verdict
        assert [NOT_CHECKED] == [finding.verdict for finding in examine_journal(None, None)]

    @pytest.mark.parametrize(
        ("kind", "verdict"),
        [("ext4", OK), ("nfs4", PROBLEM), ("fuse.sshfs", PROBLEM), ("tmpfs", WARNING)],
    )
    def test_filesystems(self, tmp_path: Path, kind: str, verdict: Verdict) -> None:
        """The innermost mount decides, and one of another machine is a problem."""
        mounts, inside = tmp_path / "mountinfo", tmp_path / "with space" / "deep"
        inside.mkdir(parents=True)
        point = str(tmp_path.resolve() / "with space").replace(" ", "\\040")
        mounts.write_text(
            "22 1 8:1 / / rw shared:1 - xfs /dev/sda1 rw\n"
            f"90 22 0:40 / {point} rw,noatime shared:3 master:1 - {kind} source rw\n"
            "91 22 0:41 / /somewhere/else rw - cifs //a/b rw\nnonsense\n"
        )

        assert "xfs" == filesystem_of(tmp_path, mounts)
        assert kind == filesystem_of(inside, mounts)
        found = examine_journal(FilePlace(inside / "payouts.db"), None, mounts=mounts)
        assert verdict == about(found, "file system").verdict
        unknown = examine_journal(FilePlace(inside / "payouts.db"), None, mounts=tmp_path / "none")
        assert NOT_CHECKED == about(unknown, "file system").verdict


def _execute(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


async def test_quick_while_all_is_silent(monkeypatch: pytest.MonkeyPatch, environ: Any) -> None:
    """Against a server that never answers it ends in half a minute at most, and says so."""
    monkeypatch.setattr(network_module, "EXCHANGING", 0.2)
    monkeypatch.setattr("billblend_async.cli.doctor._ASKING", 0.2)

    async def silent(connection: Connection) -> None:
        await connection.reader.read()

    async with Server(silent) as server, asyncio.timeout(10):
        findings = await examine({**environ, "BILLBLEND_BASE_URL": server.url})

    assert {"clock", "signed question"} <= set(verdicts(findings, PROBLEM))


def test_half_a_minute() -> None:
    """All waits together are shorter than half a minute, and each is 10 s at most."""
    waits = (
        network_module.RESOLVING,
        network_module.CONNECTING,
        network_module.EXCHANGING,
        examination._ASKING,
    )

    assert sum(waits) < 30
    assert max(waits) <= 10

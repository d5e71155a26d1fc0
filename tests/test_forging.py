"""Forged and repeated callbacks change nothing. See forging.py."""

from pathlib import Path

from callers import callback_fields, query_of
from forging import KINDS, NEVER_TAKEN, forgery, hold

from billblend_async.core.models import State
from billblend_async.integrations.asgi import answer_callback


async def test_a_flood(tmp_path: Path) -> None:
    """Of 20,000 forged and repeated callbacks none is news, and no byte of the journal changes."""
    async with forgery(tmp_path, seed=3, copies=3) as made:
        await hold(made, 20_000, lambda _: None)
        states = {payout.state for payout in (await made.states()).values()}

    assert [] == made.wrongs
    assert set(State) == states
    assert 20_000 == made.answers.total()
    assert set(KINDS) == {kind for kind, _ in made.answers}
    assert {403, 404} >= {status for kind, status in made.answers if kind in NEVER_TAKEN} - {503}
    assert made.answers["replay", 200] > made.answers["replay", 503]


async def test_what_it_would_see(tmp_path: Path) -> None:
    """One genuine callback that was not told before is seen as news, as a byte and as a change."""
    async with forgery(tmp_path, seed=4, copies=1) as made:
        await made.accept_genuine()
        before, states = made.hashes(), await made.states()
        made.heard.clear()
        [fields] = [each for each in made.genuine if each["client_orderid"].endswith("held")]
        name = fields["client_orderid"]
        news = query_of(callback_fields("declined", fields["orderid"], name))

        assert 200 == await answer_callback(made.payouts, news)
        await made.settle()

        now = await made.states()
        assert [name] == [each for each in states if states[each] != now[each]]
        assert "CalledBack" in made.heard[0]
        assert before != made.hashes()

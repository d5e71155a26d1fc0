"""A deterministic simulation of everything that can go wrong between us and the gateway.

One seed is one small world: a gateway with a ledger, a journal that survives crashes, and programs
that live and die over both. Everything in it follows from the seed. ``python -m simulation`` in
``tests/`` replays a seed or soaks; see ``simulation.__main__``.
"""

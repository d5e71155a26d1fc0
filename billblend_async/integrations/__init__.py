"""Durable engines that hosts know already: they decide when and where a payout goes on.

What may be sent is still decided by the journal alone, so an engine may repeat, delay and move
whatever it likes. Each engine is a module of its own, with an extra of the same name.
"""

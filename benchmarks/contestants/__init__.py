"""Ways to run the same payouts: ours, and what people would write instead.

Each is a program: ``python -m benchmarks.contestants.ours '{"base_url": …}'``. It prints one line
of JSON, a ``Score``; asked by a line on its standard input, it prints a ``Sample``.
"""

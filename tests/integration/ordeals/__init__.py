"""Ordeals: processes, members and brokers fail for minutes under load, and the oracle judges what came of it.

`kills` kills two members at random, at every point of a batch's life. `rolling` restarts members in turn. `chaos` has the
faults of members and brokers. All three are run by ``python -m tests.integration.ordeals``; tests run the same for seconds.
"""

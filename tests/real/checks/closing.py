"""After all clients are gone: nothing is in flight, and the gateways end in order."""

import time

from harness.expect import equal, true
from harness.report import Book

check = Book("gateway")
run = check.run
DRAIN = 10  # idle connections get a second of grace, so that this is ample


@check("nothing is in flight at the end")
def in_flight(bench):
    for gateway in bench.gateways:
        seen = gateway.await_stats(lambda now: now["total_in_flight"] == 0)
        equal(seen["total_in_flight"], 0, f"in flight at {gateway.name}")


@check("SIGTERM ends each gateway with 0", limit=45)
def ends(bench):
    for gateway in bench.gateways:
        begun = time.monotonic()
        code = bench.fleet.end(gateway.name, patience=DRAIN)
        equal(code, 0, f"exit code of {gateway.name}")
        true(time.monotonic() - begun < DRAIN, f"{gateway.name} had to be killed")

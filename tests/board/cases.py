#!/usr/bin/env python3
"""What a board must survive. Called by tests/board/run: cases.py CACHE CUTS SEED [CASE ...]"""

import os
import sys
import time

from board import Board, Failed, Receiver

# How long a board is fed before its power goes, in acknowledged records: from few to many.
FED_MAX = 400


def say(text):
    print(f"tests/board: {text}", flush=True)


def check(board, receiver, boots):
    """Every boot was active, and everything that was acknowledged came."""
    witness = board.witness
    if len(witness.boots) != boots:
        raise Failed(f"{len(witness.boots)} of {boots} boots became active")
    promised = witness.acknowledged | set(witness.sent)
    missing = sorted(promised - receiver.records)
    if missing:
        raise Failed(f"{len(missing)} of {len(promised)} records are missing: {missing[:5]}")
    for word in ("evicted", "rejected", "truncated"):
        if any(count != "0" for count in witness.counts.get(word, ["?"])):
            raise Failed(f"{word}: {witness.counts.get(word)}")
    group, resident, killed = witness.memory
    if killed:
        raise Failed(f"{killed} processes were killed for want of memory")
    times = sorted(at for _, at in witness.boots)
    repeats = receiver.count - len(receiver.records)
    say(f"    {len(promised)} acknowledged records came, {len(receiver.records)} in all, "
        f"{repeats} of them again; active after {times[0]:.0f} to {times[-1]:.0f} s; at most "
        f"{group / 1048576:.1f} of 32 MiB, {resident / 1048576:.1f} of them resident")


def drain(board, **how):
    board.start("drain", **how)
    board.wait_for_word("drained")
    board.wait_off()


def fed(board):
    """Waits until the board has acknowledged some records."""
    board.wait_for_word("acked", board.random.randint(1, FED_MAX))


def cuts(board, receiver, count):
    """The power is cut at random moments, by turns with a disk whose cache is lost with it."""
    for number in range(1, count + 1):
        board.start("feed", logged=number % 2 == 0)
        fed(board)
        say(f"    cut {number}: {board.cut()}")
    drain(board)
    check(board, receiver, count + 1)


def clock(board, receiver, _):
    """A battery clock that stands in 1970."""
    board.start("feed", clock="1970-01-01T00:00:00")
    fed(board)
    board.cut()
    drain(board, clock="1970-01-01T00:00:00")
    check(board, receiver, 2)


def network(board, receiver, _):
    """No network at boot; what is collected meanwhile leaves once it is there."""
    board.start("feed", network=False)
    board.wait_for_word("acked", 100)
    if receiver.records:
        raise Failed("records came without a network")
    board.link(True)
    board.wait_for(lambda: receiver.records, "records after the network came")
    board.cut()
    drain(board)
    check(board, receiver, 2)


def full(board, receiver, _):
    """A root file system without a free byte, while it runs and at a boot."""
    board.start("fill")
    board.wait_for_word("full")
    board.wait_for_word("acked m", 50)
    board.cut()
    board.start("feed")
    board.wait_for_word("acked m", 50)
    board.cut()
    drain_after_free(board)
    check(board, receiver, 3)


def drain_after_free(board):
    board.start("free")
    board.wait_for_word("drained")
    board.wait_off()


def read_only(board, receiver, _):
    """A root that is read-only; the ring has a partition of its own."""
    for _ in range(3):
        board.start("feed", read_only=True)
        board.wait_for_word("acked m", 50)
        board.cut()
    drain(board, read_only=True)
    check(board, receiver, 4)


def watchdog(board, receiver, _):
    """An agent that does not move any more."""
    board.start("bite")
    board.wait_for_word("bitten")
    board.wait_for_word("acked", 50)
    board.cut()
    drain(board)
    check(board, receiver, 2)


CASES = {"cuts": cuts, "clock": clock, "network": network, "full": full,
         "read-only": read_only, "watchdog": watchdog}


def main():
    cache, count, seed, *names = sys.argv[1:]
    failed = []
    for name in names or CASES:
        say(f"{name}: {CASES[name].__doc__} (seed {seed})")
        began = time.monotonic()
        receiver = Receiver()
        board = Board(cache, os.path.join(cache, f"run.{name}"), f"{seed} {name}")
        try:
            CASES[name](board, receiver, int(count))
            say(f"{name}: passed in {time.monotonic() - began:.0f} s")
        except Failed as error:
            failed.append(name)
            say(f"{name}: FAILED: {error}")
            os.rename(board.folder, f"{board.folder}.{seed}")
        finally:
            board.end()
            receiver.server.shutdown()
            receiver.server.server_close()
    sys.exit(f"tests/board: FAILED: {', '.join(failed)}" if failed else 0)


main()

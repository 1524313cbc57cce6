#!/usr/bin/python3
"""Plays the programs and devices of the gateway, and is the witness of what was acknowledged.

Each line it writes to the host, over a port that survives any network, begins with the seconds
since boot. `board.do=` on the kernel's command line says what it does:

feed    publishes by MQTT (QoS 1), writes lines to a log file, sends syslog over TCP, for ever
drain   waits until nothing waits for the destination, and switches the board off
bite    stops the agent as a bug would, waits until the watchdog has started it anew, then feeds
fill    leaves no byte free on the root file system, then feeds
free    gives that room back, then drains
"""

import os
import signal
import socket
import subprocess
import sys
import threading

WITNESS = "/dev/virtio-ports/witness"
LOG = "/var/log/app/app.log"
FILL = "/var/fill"
# A pace, not a wait for something: about so many records a second and kind.
PACE_S = 0.04
GROUP = 5
WINDOW = 10

pace = threading.Event()
told = threading.Lock()


def uptime():
    with open("/proc/uptime", encoding="ascii") as file:
        return file.read().split()[0]


def boot_id():
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read()[:8]


def tell(text):
    with told:
        os.write(witness, f"{uptime()} {text}\n".encode())


def command(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, text=True).stdout.strip()


def wait_until(question):
    while not question():
        pace.wait(0.3)


def is_active():
    return command("systemctl", "is-active", "hydrant") == "active"


def main_pid():
    return int(command("systemctl", "show", "--value", "-p", "MainPID", "hydrant") or 0)


def counts(word):
    """Every number that the status gives under this name."""
    status = command("hydrant", "status", "--json")
    lines = [line.strip().rstrip(",").partition(": ") for line in status.splitlines()]
    return [value for key, _, value in lines if key == f'"{word}"']


def tell_memory():
    """The most that the service's control group and its process ever had in this boot."""
    group = "/sys/fs/cgroup/system.slice/hydrant.service"
    with open(f"{group}/memory.peak", encoding="ascii") as file:
        peak = file.read().strip()
    with open(f"{group}/memory.events", encoding="ascii") as file:
        killed = dict(line.split() for line in file)["oom_kill"]
    with open(f"/proc/{main_pid()}/status", encoding="ascii") as file:
        resident = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    tell(f"memory {peak} {int(resident) * 1024} {killed}")


def connected(port):
    """A connection to the agent, however long it takes."""
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError:
            pace.wait(0.3)


def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def publish_for_ever(boot):
    number = 0
    while True:
        connection = connected(1883)
        try:
            connection.sendall(b"\x10\x0f\0\x04MQTT\x04\x02\0\0\0\x03dev")
            exactly(connection, 4)
            while True:
                first = number
                for number in range(first, first + WINDOW):
                    payload = f"m {boot} {number}".encode()
                    body = b"\0\x03a/b" + (number % 60000 + 1).to_bytes(2, "big") + payload
                    connection.sendall(bytes([0x32, len(body)]) + body)
                number = first + WINDOW
                for _ in range(WINDOW):
                    acknowledged = int.from_bytes(exactly(connection, 4)[2:], "big") - 1
                    exact = next(n for n in range(first, number) if n % 60000 == acknowledged)
                    tell(f"acked m {boot} {exact}")
                pace.wait(PACE_S * WINDOW)
        except OSError:
            # What was not acknowledged is not promised; the next connection goes on behind it.
            number += WINDOW


def write_lines_for_ever(boot):
    number = 0
    with open(LOG, "a", encoding="ascii") as log:
        while True:
            for number in range(number, number + GROUP):
                log.write(f"f {boot} {number}\n")
            number += 1
            log.flush()
            os.fsync(log.fileno())
            for done in range(number - GROUP, number):
                tell(f"acked f {boot} {done}")
            if number % (10 * GROUP) == 0:
                tell_memory()
            pace.wait(PACE_S * GROUP)


def send_syslog_for_ever(boot):
    number = 0
    while True:
        connection = connected(601)
        try:
            while True:
                text = "".join(f"<13>1 - board feeder - - - s {boot} {n}\n"
                               for n in range(number, number + GROUP))
                connection.sendall(text.encode())
                for done in range(number, number + GROUP):
                    tell(f"sent s {boot} {done}")
                number += GROUP
                pace.wait(PACE_S * GROUP)
        except OSError:
            pass


def feed(boot, with_files=True):
    kinds = [publish_for_ever, send_syslog_for_ever] + [write_lines_for_ever] * with_files
    for kind in kinds:
        threading.Thread(target=kind, args=(boot,), daemon=True).start()
    tell("feeding")
    threading.Event().wait()


def drain():
    wait_until(lambda: set(counts("waiting")) == {"0"})
    for word in ("delivered", "evicted", "rejected", "truncated"):
        tell(f"count {word} {' '.join(counts(word))}")
    tell("drained")
    command("systemctl", "poweroff")


def bite():
    pid = main_pid()
    os.kill(pid, signal.SIGSTOP)
    tell("stopped")
    wait_until(lambda: main_pid() not in (0, pid) and is_active())
    tell("bitten")


def fill():
    with open(FILL, "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                pass
    os.sync()
    tell("full")


def main():
    boot = boot_id()
    with open("/proc/cmdline", encoding="ascii") as file:
        words = dict(word.partition("=")[::2] for word in file.read().split())
    wait_until(is_active)
    tell(f"active {boot}")
    with open("/sys/class/rtc/rtc0/since_epoch", encoding="ascii") as file:
        tell(f"clock {file.read().strip()}")
    action = words.get("board.do", "feed")
    read_only = "board.readonly" in words
    if action == "free":
        os.remove(FILL)
        os.sync()
    if action in ("drain", "free"):
        drain()
        return
    if action == "bite":
        bite()
    if action == "fill":
        fill()
    feed(boot, with_files=not read_only and not os.path.exists(FILL))


witness = os.open(WITNESS, os.O_WRONLY)
sys.exit(main())

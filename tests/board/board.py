"""The board: an emulator, its disk, what a cut leaves of it, and the host that receives."""

import http.server
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import threading

# The board's configuration names it; the emulator gives it to the guest as 10.0.2.2.
PORT = 18473
BOOT_S_MAX = 600
RECORD = re.compile(rb"\b([mfs]) ([0-9a-f]{8}) (\d+)\b")
FLUSH, DISCARD, MARK = 1, 4, 8


class Failed(Exception):
    """What was promised was not kept."""


class Receiver:
    """Takes what the board delivers, and remembers every record."""

    def __init__(self):
        self.records, self.count, self.lock = set(), 0, threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                found = [(kind.decode(), boot.decode(), int(number))
                         for kind, boot, number in RECORD.findall(body)]
                with receiver.lock:
                    receiver.records.update(found)
                    receiver.count += len(found)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Witness:
    """What the feeder said, over all boots: seconds since boot, then words."""

    def __init__(self):
        self.acknowledged, self.sent, self.boots, self.counts = set(), [], [], {}
        # Of the control group, of the process; processes that were killed for want of it.
        self.memory = (0, 0, 0)

    def read(self, path):
        """Takes what one boot said; the last line may be cut."""
        with open(path, encoding="ascii", errors="replace") as file:
            lines = [line.split() for line in file if line.endswith("\n")]
        last = float(lines[-1][0]) if lines else 0.0
        for at, word, *rest in lines:
            if word == "acked":
                self.acknowledged.add((rest[0], rest[1], int(rest[2])))
            elif word == "sent" and float(at) < last - 5.0:
                # Syslog acknowledges nothing; the agent promises to be done with it after a second.
                self.sent.append((rest[0], rest[1], int(rest[2])))
            elif word == "active":
                self.boots.append((rest[0], float(at)))
            elif word == "memory":
                self.memory = tuple(map(max, self.memory, map(int, rest)))
            elif word == "count":
                self.counts[rest[0]] = rest[1:]


class Board:
    """One board with one disk, over many boots."""

    def __init__(self, cache, folder, seed):
        self.cache, self.folder = cache, folder
        self.random = random.Random(seed)
        self.witness = Witness()
        self.boot_number = 0
        self.process = None
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for name in ("disk.raw", "data.raw"):
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", f"{cache}/{name}",
                            f"{folder}/{name}"], check=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, action, *, logged=False, clock=None, network=True, read_only=False):
        """Switches it on. `logged` keeps every write and flush, for a cut that loses the cache."""
        self.boot_number += 1
        self.logged = logged
        for name in ("witness", "log.blocks", "overlay.qcow2", "qmp"):
            if os.path.exists(self.path(name)):
                os.remove(self.path(name))
        flags = "ro,noatime" if read_only else "rw,noatime"
        kernel = f"console=ttyAMA0 panic=5 quiet net.ifnames=0 board.do={action} board.rootflags={flags}"
        if read_only:
            kernel += " board.readonly"
        self.process = subprocess.Popen(
            self.emulator() + [
                "-M", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", "256", "-nographic",
                "-no-reboot", "-monitor", "none",
                "-kernel", f"{self.cache}/vmlinuz", "-initrd", f"{self.cache}/initrd.gz",
                "-append", kernel,
                "-serial", f"file:{self.path('console')}",
                *self.disk_arguments(logged),
                "-blockdev", f"driver=file,node-name=f1,filename={self.path('data.raw')}",
                "-blockdev", "driver=raw,node-name=d1,file=f1",
                "-device", "virtio-blk-pci,drive=d1",
                "-netdev", "user,id=n0",
                "-device", "virtio-net-pci,netdev=n0,id=net0,romfile=",
                "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                "-chardev", f"file,id=w,path={self.path('witness')}",
                "-device", "virtserialport,chardev=w,name=witness",
                "-qmp", f"unix:{self.path('qmp')},server=on,wait=off",
                *(["-rtc", f"base={clock}"] if clock else []),
            ],
            env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=open(self.path("emulator.log"), "ab"), stderr=subprocess.STDOUT)
        if not network:
            self.link(False)

    def emulator(self):
        own = f"{self.cache}/emulator/usr"
        if os.path.isdir(own):
            return [f"{own}/bin/qemu-system-aarch64", "-L", f"{own}/share/qemu",
                    "-L", f"{own}/share/seabios"]
        return ["qemu-system-aarch64"]

    def environment(self):
        own = f"{self.cache}/emulator"
        libraries = f"{own}/usr/lib/x86_64-linux-gnu:{own}/lib/x86_64-linux-gnu"
        return dict(os.environ, LD_LIBRARY_PATH=libraries) if os.path.isdir(own) else None

    def disk_arguments(self, logged):
        disk = self.path("disk.raw")
        if not logged:
            return ["-blockdev", f"driver=file,node-name=f0,filename={disk}",
                    "-blockdev", "driver=raw,node-name=d0,file=f0",
                    "-device", "virtio-blk-pci,drive=d0"]
        overlay, log = self.path("overlay.qcow2"), self.path("log.blocks")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw",
                        overlay], check=True)
        open(log, "wb").close()
        return ["-blockdev", f"driver=file,node-name=f0,filename={overlay}",
                "-blockdev", "driver=qcow2,node-name=q0,file=f0",
                "-blockdev", f"driver=file,node-name=l0,filename={log}",
                "-blockdev", "driver=blklogwrites,node-name=d0,file=q0,log=l0",
                "-device", "virtio-blk-pci,drive=d0"]

    def link(self, up):
        """Plugs the network cable, or pulls it out."""
        self.wait_for(lambda: os.path.exists(self.path("qmp")), "the emulator", 30)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.path("qmp"))
            lines = connection.makefile("rw")
            lines.readline()
            for message in ({"execute": "qmp_capabilities"},
                            {"execute": "set_link", "arguments": {"name": "net0", "up": up}}):
                lines.write(json.dumps(message) + "\n")
                lines.flush()
                answer = json.loads(lines.readline())
                if "error" in answer:
                    raise Failed(f"the emulator: {answer}")

    def wait_for(self, question, what, seconds=BOOT_S_MAX):
        """Asks until the answer is yes."""
        between = threading.Event()
        for _ in range(seconds * 5):
            if question():
                return
            if self.process.poll() is not None:
                raise Failed(f"boot {self.boot_number}: the emulator ended before: {what}")
            between.wait(0.2)
        raise Failed(f"boot {self.boot_number}: never: {what}; see {self.path('console')}")

    def said(self, word, times=1):
        try:
            with open(self.path("witness"), encoding="ascii", errors="replace") as file:
                return file.read().count(f" {word}") >= times
        except FileNotFoundError:
            return False

    def wait_for_word(self, word, times=1):
        self.wait_for(lambda: self.said(word, times), word)

    def cut(self):
        """The power goes. What the disk had not flushed is there or not, write by write."""
        self.process.kill()
        self.process.wait()
        self.witness.read(self.path("witness"))
        if self.logged:
            kept, lost = replay(self.path("log.blocks"), self.path("disk.raw"), self.random)
            os.remove(self.path("overlay.qcow2"))
            return f"{kept} writes kept, {lost} lost with the cache"
        return "the emulator was killed"

    def wait_off(self):
        """The board switches itself off."""
        self.process.wait(BOOT_S_MAX)
        self.witness.read(self.path("witness"))
        if self.logged:
            raise Failed("a board that is switched off in order needs no log")

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def entries(log, size):
    """The entries of a log of blocks, in order; one that was cut short is not there."""
    sector_bytes = struct.unpack("<QQQI", log.read(28))[3]
    position = sector_bytes
    while position + 32 <= size:
        log.seek(position)
        sector, sectors, flags, data_len = struct.unpack("<QQQQ", log.read(32))
        if (sector, sectors, flags, data_len) == (0, 0, 0, 0):
            return
        data = position + sector_bytes
        position = data
        if not flags & DISCARD:
            position += sector_bytes if flags & MARK else sectors * sector_bytes
        if position > size:
            return
        yield sector * sector_bytes, sectors * sector_bytes, flags, data


def replay(log_path, disk_path, chance):
    """Writes to the disk what a cut leaves: all before the last flush, of the rest each with one
    probability."""
    size = os.path.getsize(log_path)
    if size < 28:
        return 0, 0
    with open(log_path, "rb") as log, open(disk_path, "r+b") as disk:
        found = list(entries(log, size))
        last_flush = max((i for i, entry in enumerate(found) if entry[2] & FLUSH), default=-1)
        keep = chance.random()
        kept = lost = 0
        for index, (offset, count, flags, data) in enumerate(found):
            if not count or flags & (DISCARD | MARK):
                continue
            if index > last_flush and chance.random() >= keep:
                lost += 1
                continue
            log.seek(data)
            disk.seek(offset)
            disk.write(log.read(count))
            kept += 1
    return kept, lost

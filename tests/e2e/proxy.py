"""A proxy that speaks HTTP CONNECT or SOCKS5 with user name and password, and prints who is asked for.

usage: proxy.py PORT http|socks5 USER PASSWORD
"""

import asyncio
import base64
import sys


async def connect_http(reader, writer, user, password):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    expected = "basic " + base64.b64encode(f"{user}:{password}".encode()).decode().lower()
    if headers.get("proxy-authorization") != expected:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        return None
    assert method == "CONNECT", method
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    host, port = target.rsplit(":", 1)
    return host, int(port)


async def connect_socks5(reader, writer, user, password):
    version, count = await reader.readexactly(2)
    methods = await reader.readexactly(count)
    assert version == 5 and 2 in methods, methods
    writer.write(b"\x05\x02")
    _, length = await reader.readexactly(2)
    given = (await reader.readexactly(length)).decode()
    (length,) = await reader.readexactly(1)
    secret = (await reader.readexactly(length)).decode()
    is_known = (given, secret) == (user, password)
    writer.write(b"\x01\x00" if is_known else b"\x01\x01")
    if not is_known:
        return None
    _, command, _, kind = await reader.readexactly(4)
    # A name, which is for the proxy to look up.
    assert (command, kind) == (1, 3), (command, kind)
    (length,) = await reader.readexactly(1)
    host = (await reader.readexactly(length)).decode()
    port = int.from_bytes(await reader.readexactly(2), "big")
    writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    return host, port


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main():
    port, kind, user, password = sys.argv[1:]
    connect = {"http": connect_http, "socks5": connect_socks5}[kind]

    async def serve(reader, writer):
        try:
            target = await connect(reader, writer, user, password)
        except asyncio.IncompleteReadError:
            target = None
        if target is None:
            writer.close()
            return
        print("asked for", *target, flush=True)
        there = await asyncio.open_connection("127.0.0.1", target[1])
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", int(port))
    await server.serve_forever()


asyncio.run(main())

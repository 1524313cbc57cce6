"""A WebSocket server that passes bytes on to a TCP port, in small frames, and pings all the time.

Arguments: the port to listen on, the port to pass on to, and for TLS a certificate and its key.
"""

import asyncio
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def pass_on(socket, target):
    reader, writer = await asyncio.open_connection("127.0.0.1", target)

    async def to_client():
        while data := await reader.read(700):
            await socket.send([data[: len(data) // 2], data[len(data) // 2 :]])
        await socket.close()

    answer = asyncio.create_task(to_client())
    try:
        async for message in socket:
            assert isinstance(message, bytes)
            writer.write(message)
            await writer.drain()
    except ConnectionClosed:
        pass
    answer.cancel()
    writer.close()


async def main():
    port, target = int(sys.argv[1]), int(sys.argv[2])
    context = None
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3], sys.argv[4])

    async def handle(socket):
        if socket.request.path != "/mqtt":
            await socket.close()
            return
        await pass_on(socket, target)

    async with serve(
        handle,
        "127.0.0.1",
        port,
        subprotocols=["mqtt"],
        compression=None,
        ping_interval=0.1,
        ping_timeout=5,
        ssl=context,
    ):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())

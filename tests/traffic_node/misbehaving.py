"""`python misbehaving.py`: a model server that misbehaves, in another way on each of its ports.

It stands alone, with the standard library only: on the node it runs as a ConfigMap's file in a pod.
"""

import asyncio
import functools
import sys

HANGS, RESETS, FLOODS, TRICKLES, FAILS, CLOSED = range(7001, 7007)  # nobody listens on the last
FLOOD = 10 * 1024 * 1024
CHUNK = b"x" * 65536
HEALTH = b"/v2/health/"


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def flood(writer: asyncio.StreamWriter) -> None:
    """10 MB, as fast as they are taken."""
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {FLOOD}\r\n\r\n".encode())
    for _ in range(FLOOD // len(CHUNK)):
        writer.write(CHUNK)
        await writer.drain()


async def trickle(writer: asyncio.StreamWriter) -> None:
    """10 MB, a byte at a time."""
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {FLOOD}\r\n\r\n".encode())
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def fail(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno")


WAYS = {HANGS: hang, RESETS: reset, FLOODS: flood, TRICKLES: trickle, FAILS: fail}


async def serve(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
            await reader.readexactly(length)
            if HEALTH in lines[0]:  # it looks healthy, which is the worse case
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            else:
                await WAYS[port](writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(host: str) -> None:
    """Listen until ended."""
    servers = [await asyncio.start_server(functools.partial(serve, port), host, port) for port in WAYS]
    print("misbehaving", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "0.0.0.0"))

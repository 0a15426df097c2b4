"""`python -m tests.traffic_node.misbehaving ADDRESS`: a model server that misbehaves, differently on each of its ports.

It stands for one on a machine of its own: it gets what nobody else wants of this one's processors.
"""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

HANGS, RESETS, FLOODS, CLOSED = range(7001, 7005)  # nobody listens on the last
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


WAYS = {HANGS: hang, RESETS: reset, FLOODS: flood}


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
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    servers = [await asyncio.start_server(functools.partial(serve, port), host, port) for port in WAYS]
    print("misbehaving", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


@contextmanager
def misbehaving(host: str) -> Iterator[None]:
    """The server, listening on this address meanwhile."""
    with subprocess.Popen([sys.executable, "-m", __name__, host], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "it ended before it listened"
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""A name server on loopback for one name, like the one that answers for a headless Service."""

import socket
import struct
import threading

A_RECORD, INTERNET = 1, 1
LIFETIME_SECONDS = 5
ANSWER_FLAGS = 0x8580  # a response, authoritative, recursion available
HEADER = struct.Struct("!6H")


class NameServer:
    """Answers every A query with the addresses set last, and every other query with nothing."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.addresses: tuple[str, ...] = ()
        self.queries = 0
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """Stop answering."""
        self._closing = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(4096)
            if self._closing:
                return
            self.queries += 1
            self._socket.sendto(self._answer(query), sender)

    def _answer(self, query: bytes) -> bytes:
        number = HEADER.unpack_from(query)[0]
        end = query.index(b"\0", HEADER.size) + 5  # the name, its end, type and class
        question = query[HEADER.size : end]
        kind = struct.unpack("!H", question[-4:-2])[0]
        found = self.addresses if kind == A_RECORD else ()
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", A_RECORD, INTERNET, LIFETIME_SECONDS, 4) + socket.inet_aton(address)
            for address in found
        )
        return HEADER.pack(number, ANSWER_FLAGS, 1, len(found), 0, 0) + question + records

"""The lightest SMTP server that a sender can talk to: takes everything, refuses what is told, counts. One process, one port."""

import asyncio
import sys

REFUSED = b"slow"  # recipients that contain this are put off


class Counter:
    """Mails taken so far."""

    taken = 0


async def serve_session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One SMTP session; a line `COUNT` instead of EHLO answers with the number of mails taken."""
    writer.write(b"220 sink\r\n")
    try:
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"COUN":
                writer.write(b"%d\r\n" % Counter.taken)
            elif verb == b"EHLO":
                writer.write(b"250-sink\r\n250 8BITMIME\r\n")
            elif verb == b"RCPT" and REFUSED in line:
                writer.write(b"451 4.3.0 later\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                Counter.taken += 1
                writer.write(b"250 2.0.0 Ok\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 2.0.0 Ok\r\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Listen on a free port and print it."""
    server = await asyncio.start_server(serve_session, "127.0.0.1", 0, limit=2**24)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

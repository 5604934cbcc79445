#!/usr/bin/env python3
"""How many changes per second a record in a distant server takes: `benches/distance.py RETRY`.

A crowd of runs reports failures to one breaker, through a proxy that delays every byte by half of the round trip. The
server counts them. A report that other runs beat for a second is dropped, so fewer are counted than were made.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time

ROUND_TRIPS = [0, 1, 5, 20]  # ms
CROWDS = [(1, 100), (10, 20), (50, 10), (200, 4)]  # runs, and the attempts of each


async def copy(reader, writer, delay):
    """Copies a stream, each piece after `delay` seconds."""
    loop = asyncio.get_running_loop()
    pieces = asyncio.Queue()

    async def write():
        while (piece := await pieces.get())[1]:
            await asyncio.sleep(max(0, piece[0] - loop.time()))
            writer.write(piece[1])
        writer.close()

    writing = asyncio.create_task(write())
    piece = b"."
    while piece:
        try:
            piece = await reader.read(65536)
        except OSError:
            piece = b""
        pieces.put_nowait((loop.time() + delay, piece))
    await writing


async def serve(port, to, delay):
    """A proxy from one port to another, on the loopback interface."""

    async def connected(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
        for end in (writer, far_writer):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        both = copy(reader, far_writer, delay), copy(far_reader, writer, delay)
        await asyncio.gather(*both, return_exceptions=True)

    async with await asyncio.start_server(connected, "127.0.0.1", port, backlog=600) as server:
        await server.serve_forever()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(port):
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.01)
    sys.exit("a server does not start")


def measure(retry, port, through, runs, attempts):
    """Returns how many failures were counted, and in how many seconds."""
    server = ["redis-cli", "-p", str(port)]
    subprocess.run([*server, "FLUSHALL"], stdout=subprocess.DEVNULL, check=True)
    options = ["-qq", "-d0", f"-n{attempts}", "--breaker", "b", "--breaker-failures", "1000000000"]
    options += ["--state", f"redis://127.0.0.1:{through}"]
    began = time.monotonic()
    crowd = [subprocess.Popen([retry, *options, "--", "/bin/false"]) for _ in range(runs)]
    for run in crowd:
        run.wait()
    took = time.monotonic() - began
    record = subprocess.run([*server, "GET", "retry:v2:b"], capture_output=True, check=True)
    return json.loads(record.stdout)["breaker"]["failures"], took


def main(retry):
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        print("| round trip | runs at once | counted | changes per second |\n| --- | --- | --- | --- |")
        for milliseconds in ROUND_TRIPS:
            through = free_port()
            words = [sys.executable, __file__, "--proxy", str(through), str(port), str(milliseconds / 2000)]
            proxy = subprocess.Popen(words)
            try:
                wait_for(through)
                for runs, attempts in CROWDS:
                    counted, took = measure(retry, port, through if milliseconds else port, runs, attempts)
                    share = f"{counted} of {runs * attempts}"
                    print(f"| {milliseconds} ms | {runs} | {share} | {counted / took:.0f} |", flush=True)
            finally:
                proxy.terminate()
    finally:
        server.terminate()


if sys.argv[1:2] == ["--proxy"]:
    asyncio.run(serve(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
elif len(sys.argv) == 2 and os.access(sys.argv[1], os.X_OK):
    main(sys.argv[1])
else:
    sys.exit(__doc__)

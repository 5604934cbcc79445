#!/usr/bin/env python3
"""Makes docs/session.svg: the screen of a real terminal after a real session.

    cargo build --release && docs/session.py

The script starts a small server, opens a terminal in tmux, types the commands there, and draws the
text of the screen. It needs tmux and curl, and port 8080 of 127.0.0.1.
"""
import http.server
import os
import pathlib
import subprocess
import tempfile
import threading
import time
from html import escape

DOCS = pathlib.Path(__file__).resolve().parent
COLUMNS, ROWS = 96, 24
# The service is down when the first command starts. Then it is busy, then it works.
DOWN_FOR = 1.2
COMMANDS = [
    "retry -- curl -fsSi http://127.0.0.1:8080/report",
    "retry -- curl -fsS http://127.0.0.1:8080/no-such-page",
    "echo $?",
]


class Service(http.server.BaseHTTPRequestHandler):
    busy = 1

    def do_GET(self):
        if self.path != "/report":
            self.answer(404, [], b"")
        elif Service.busy:
            Service.busy -= 1
            self.answer(503, [("Retry-After", "2")], b"")
        else:
            self.answer(200, [], b"all is well\n")

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def binary():
    """The newest build of retry."""
    builds = [path for path in DOCS.parent.glob("target/**/retry") if path.parent.name in ("release", "debug")]
    return max(builds, key=lambda path: path.stat().st_mtime)


class Terminal:
    """A shell in tmux, on a server of its own."""

    def __init__(self, directory):
        self.tmux = ["tmux", "-S", f"{directory}/socket", "-f", "/dev/null"]
        shell = f"env -i HOME={directory} PATH={directory}:{os.environ['PATH']} TERM=screen PS1='$ ' bash --norc -i"
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        subprocess.run([*self.tmux, "new-session", "-d", *size, "-c", directory, shell], check=True)

    def call(self, *words):
        return subprocess.run([*self.tmux, *words], check=True, capture_output=True, text=True).stdout

    def screen(self):
        return [line.rstrip() for line in self.call("capture-pane", "-p").rstrip().splitlines()]

    def wait_for_prompt(self, prompts):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines = self.screen()
            if lines and lines[-1] == "$" and sum(line.startswith("$") for line in lines) == prompts:
                return
            time.sleep(0.05)
        raise SystemExit("the prompt does not come back:\n" + "\n".join(self.screen()))

    def close(self):
        self.call("kill-server")


def session():
    with tempfile.TemporaryDirectory() as directory:
        os.symlink(binary(), f"{directory}/retry")
        terminal = Terminal(directory)
        try:
            terminal.wait_for_prompt(1)
            for number, command in enumerate(COMMANDS):
                if number == 0:
                    threading.Timer(DOWN_FOR, serve).start()
                terminal.call("send-keys", "-l", command)
                terminal.call("send-keys", "Enter")
                terminal.wait_for_prompt(number + 2)
            return terminal.screen()[:-1]
        finally:
            terminal.close()


def draw(lines):
    """The lines as SVG. What the user types is bright, and what retry says is coloured."""
    step, margin, wide = 19, 16, 8.1
    width, height = int(COLUMNS * wide + 2 * margin), len(lines) * step + 2 * margin
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        "<title>A session with retry</title>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#1b1f24"/>',
        '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13" xml:space="preserve">',
    ]
    for number, line in enumerate(lines):
        colour = {"$ ": "#ffffff", "re": "#7ee0a1"}.get(line[:2], "#aab2bd")
        y = margin + step * number + 13
        svg.append(f'<text x="{margin}" y="{y}" fill="{colour}">{escape(line, quote=False)}</text>')
    return "\n".join([*svg, "</g>", "</svg>"]) + "\n"


if __name__ == "__main__":
    screen = session()
    print("\n".join(screen))
    (DOCS / "session.svg").write_text(draw(screen))

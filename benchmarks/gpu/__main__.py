"""Everything that a few minutes on a GPU can tell, most important first; a run that is cut off keeps what it has.

    python -m benchmarks.gpu --minutes 8 --out DIR [--device cuda:0] [--pretend t4] [--parts stages prediction]

Data is drawn, nothing is fetched, encoders begin at random. `DIR/gpu.md` and `DIR/gpu.json` are written again after
every figure. Parts: stages (1), prediction (2), training (3), models (4), memory (5); then the first three again as on
a T4 (6): no bf16, no TF32, 15 GB; at the end training once more through torch.compile and CUDA graphs (compiled).
`--pretend t4` takes that away from the whole run. Each part has its share of the time, and what it leaves goes to those
after it; a part that fails or is cut off is noted, and the next goes on. `--device cpu` measures in small whether all
of it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.rows import Part, Row, write_results

ROOT = Path(__file__).parents[2]
SHARES = {"stages": 0.2, "prediction": 0.25, "training": 0.15, "models": 0.25, "memory": 0.05, "compiled": 0.3}
LAST = "compiled"  # takes minutes to begin
T4, T4_SHARE = ("stages", "prediction", "training"), 0.5
RESERVE = 2.0  # seconds to end in


class Worker:
    """A process that measures, started again where it had to be stopped."""

    def __init__(self, device: str, pretend: str | None, log: Path) -> None:
        self.command = [sys.executable, "-m", "benchmarks.gpu.worker", device, *([pretend] if pretend else [])]
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.waiting = b""

    @property
    def starting(self) -> bool:
        """Whether the next question begins with a new process."""
        return self.process is None or self.process.poll() is not None

    def ask(self, part: str) -> None:
        """Begin a part."""
        if self.starting:
            self.waiting = b""
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    start_new_session=True, env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
                )  # fmt: skip
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended, which the wait for its answer tells
            self.process.stdin.write(f"{part}\n".encode())
            self.process.stdin.flush()

    def answer(self, deadline: float) -> dict[str, Any] | None:
        """The next answer; None where none comes in time, EOFError where the process ended."""
        assert self.process is not None and self.process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.waiting:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    return None
                found = os.read(self.process.stdout.fileno(), 65536)
                if not found:
                    raise EOFError
                self.waiting += found
        line, self.waiting = self.waiting.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process and those it started."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()


def measure(part: Part, asked: str, worker: Worker, seconds: float, book: Book, *, end: float) -> None:
    """Let a worker do one part within its seconds, which begin where the process is ready, and before `end`."""
    began = time.monotonic()
    deadline = end if worker.starting else began + seconds
    part.state = "running"
    worker.ask(asked)
    while part.state == "running":
        try:
            answer = worker.answer(min(deadline, end))
        except EOFError:
            answer = {"ended": None}
        if answer is None:
            worker.stop()
            part.state = "cut off"
        elif "ended" in answer:
            worker.stop()
            part.state, part.error = "failed", f"the process ended; see {worker.log}"
        elif "row" in answer:
            part.rows.append(Row(**answer["row"]))
        elif "facts" in answer:
            deadline = time.monotonic() + seconds
            book.facts.update(answer["facts"] if not part.name.startswith("as on a T4") else {})
        elif "error" in answer:
            part.error = answer["error"]
        else:
            part.state = "failed" if part.error else "done"
        part.seconds = time.monotonic() - began
        book.write()


class Book:
    """Where results are written."""

    def __init__(self, folder: Path, parts: Sequence[Part]) -> None:
        self.folder, self.parts = folder, list(parts)
        self.facts: dict[str, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def write(self) -> None:
        """The files, whole."""
        write_results(self.folder, self.facts, self.parts)


def plan(names: Sequence[str], *, repeat: bool) -> list[tuple[Part, str, float, str | None]]:
    """(part, what the worker is asked for, share of the time, what it pretends), in order."""
    plain = [(Part(name), name, SHARES[name], None) for name in names]
    again = [name for name in T4 if name in names and repeat]
    as_t4 = [(Part(f"as on a T4: {name}"), name, T4_SHARE * SHARES[name], "t4") for name in again]
    last = names.index(LAST) if LAST in names else len(names)
    return [*plain[:last], *as_t4, *plain[last:]]


def run(arguments: argparse.Namespace) -> list[Part]:
    """All parts within the minutes; returns what became of them."""
    end = time.monotonic() + 60 * arguments.minutes - RESERVE
    planned = plan(arguments.parts, repeat=arguments.pretend is None)
    book = Book(arguments.out, [part for part, *_ in planned])
    log = arguments.out.resolve() / "gpu.log"
    workers: dict[str | None, Worker] = {}
    for number, (part, asked, share, pretend) in enumerate(planned):
        left = end - time.monotonic()
        seconds = left * share / sum(later[2] for later in planned[number:])
        for other in set(workers) - {pretend}:
            workers[other].stop()  # it holds memory; one that is asked again begins anew
        if pretend not in workers:
            workers[pretend] = Worker(arguments.device, pretend or arguments.pretend, log)
        measure(part, asked, workers[pretend], seconds, book, end=end)
        print(
            f"{part.name}: {part.state} after {part.seconds:.0f} s, {len(part.rows)} figures {part.error}", flush=True
        )
    for worker in workers.values():
        worker.stop()
    book.write()
    return book.parts


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table; 1 where a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--pretend", choices=["t4"])
    parser.add_argument("--parts", nargs="+", choices=list(SHARES), default=list(SHARES))
    arguments = parser.parse_args(argv)
    parts = run(arguments)
    print((arguments.out / "gpu.md").read_text(encoding="utf-8"))
    return int(any(part.state == "failed" for part in parts))


if __name__ == "__main__":
    raise SystemExit(main())

"""A plan, executed: a thread for each device, pinned to its cores, and inputs in pipelines through them."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from sparsegen.errors import ExecutionError, InputError, first_line
from sparsegen.hetero.plans.check import check_plan
from sparsegen.hetero.plans.events import Timeline, rhythm_of, tail_of
from sparsegen.hetero.plans.lanes import unread
from sparsegen.hetero.plans.plan import Plan, PlannedTransfer
from sparsegen.hetero.running import runners as known
from sparsegen.hetero.running.assembly import Settings, Team, assemble, check_cores, check_runners
from sparsegen.hetero.running.clock import Clock, MonotonicClock
from sparsegen.hetero.running.runners import Runner
from sparsegen.hetero.running.workers import Admission, Delivery, Failure, Flush

_GRACE_S = 5.0  # for a thread to end that has nothing left to do


class Executor:
    """A sound plan and its runners, ready to be called: with one input, or with a stream of them by `map`.

    runners: one for each operator, see `runners`; those whose `in_process` is False run in
    processes of their own. outputs: operators whose results are returned, as a tuple where there are several;
    where none are named, those that no other reads. feeds: numbers of the model's inputs that an operator
    takes; others take all if they read nothing, and else none. initial: what carried results are for the
    first input, by operator; else None. limit_s: what takes longer for one input has hung. record: keep
    events, for `timeline`. transfer_seconds: of emulated transfers; by default the plan's where one of the
    devices is a profile, and 0 elsewhere.

    Carried results go on from input to input, over calls and streams, until an input fails, a stream is left
    early, or `reset` is called. Several threads may call, one after the other. Close an executor, or use it
    as a context manager: then all its threads and processes have ended, but for threads that hang.

    Raises PlanError for an unsound plan, and for cores that are not there; ExecutionError for runners that do
    not fit, that have hung before, or cannot be started.
    """

    def __init__(
        self,
        plan: Plan,
        runners: Mapping[str, Runner],
        *,
        outputs: Sequence[str] = (),
        feeds: Mapping[str, Sequence[int]] | None = None,
        initial: Mapping[str, Any] | None = None,
        limit_s: float = 60.0,
        record: bool = False,
        clock: Clock | None = None,
        transfer_seconds: Callable[[PlannedTransfer], float] | None = None,
    ) -> None:
        check_plan(plan)
        self.plan = plan
        self._outputs, self._last = tuple(outputs) or unread(plan), unread(plan)
        self._reported = {*self._outputs, *self._last}
        self._feeds = {name: tuple(numbers) for name, numbers in (feeds or {}).items()}
        self._limit_s, self._record, self._clock = limit_s, record, clock or MonotonicClock()
        settings = Settings(
            outputs=self._outputs,
            reported=self._reported,
            feeds=self._feeds,
            initial=initial or {},
            limit_s=limit_s,
            record=record,
            clock=self._clock,
            transfer_seconds=transfer_seconds,
        )
        check_runners(plan, runners, settings)
        check_cores(plan)
        self._results: SimpleQueue[Delivery | None] = SimpleQueue()
        self._team = assemble(plan, runners, settings, self._results)
        self._turn = threading.Lock()
        self._streamer: int | None = None  # the thread that has the turn
        self._next = self._due = 0  # the inputs to be let in, and to be given out, next
        self._flushed = 0  # the workers know that no other inputs than those before come for now
        self._first = self._begin = 0  # the first of those that may carry results; of the stream
        self._found: dict[int, dict[str, Any]] = {}  # results of inputs under way
        self._admitted: list[float] = []
        self._refusal = ""
        self._pid = os.getpid()
        self._start()

    def __call__(self, *inputs: Any) -> Any:
        """The result of one input. Raises as `map` does."""
        (result,) = self.map([inputs])
        return result

    def map(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """The results of a stream of inputs, in their order; an input of several is a tuple.

        Up to the plan's depth of inputs are under way; one more is asked for when a result is. An error of
        `inputs` itself comes after the results of what it gave before.

        Raises ExecutionError, with the number of the input in this stream, where an operator raises, dies or
        hangs: results before it have come by then, and the others under way are dropped. InputError where
        an input has too few parts, with its number, too. After an operator has hung in a thread, and after
        `close`, all is refused.
        """
        self._check_open()
        return self._stream(iter(inputs))

    def reset(self) -> None:
        """Forget carried results: the next input is a first one."""
        self._first = self._next

    def timeline(self) -> Timeline:
        """What has happened until now, where it records; for inputs that came to their end."""
        events = [each for worker in self._team.workers for each in worker.events]
        ends: dict[int, list[float]] = {}
        for each in events:
            if each.kind == "operator" and each.operator in self._last:
                ends.setdefault(each.input, []).append(each.end)
        done = [input for input, found in sorted(ends.items()) if len(found) == len(self._last)]
        begin = self._admitted[0] if self._admitted else 0.0
        shifted = (each._replace(start=each.start - begin, end=each.end - begin) for each in events)
        return Timeline(
            tuple(sorted(shifted, key=lambda each: (each.start, each.end))),
            tuple(self._admitted[input] - begin for input in done),
            tuple(max(ends[input]) - begin for input in done),
            rhythm_of(self.plan),
            tail_of(self.plan),
        )

    def close(self) -> None:
        """End all threads and processes; what runs in a thread ends first, and what waits is dropped."""
        self._refusal = self._refusal or "the executor is closed"
        if os.getpid() != self._pid:  # a forked child has none of them
            return
        self._finalizer()
        self._results.put(None)  # for a caller in another thread
        for worker in self._team.workers:
            if worker.thread.ident is not None and worker.thread is not threading.current_thread():
                busy = worker.busy
                left = 0.0 if busy is None else busy[2] + busy[0].limit_s - time.monotonic()
                hangs = busy is not None and busy[0].runner in known.hung
                worker.thread.join(0.0 if hangs else max(0.0, left) + _GRACE_S)

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        self._finalizer = weakref.finalize(self, _end, self._team, self._pid)
        try:
            for runner, cores in self._team.isolated:
                runner.reopen(cores)
                runner.start()
            for worker in self._team.workers:
                worker.thread.start()
        except RuntimeError as error:
            self.close()
            raise ExecutionError(
                f"no thread could be started for a device: {first_line(error)}; end other programs, or raise "
                "the limit of processes"
            ) from error
        except BaseException:
            self.close()
            raise

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise ExecutionError("the executor is of the process that this one was forked from: make another")
        if self._refusal:
            raise ExecutionError(f"the plan cannot be run: {self._refusal}")
        if self._streamer == threading.get_ident():
            raise ExecutionError("a stream is under way: take all its results first, or close it")

    def _stream(self, inputs: Iterator[Any]) -> Iterator[Any]:
        self._check_open()
        with self._turn:
            self._check_open()  # it may have been closed meanwhile
            self._streamer, self._begin = threading.get_ident(), self._next
            source_error: Exception | None = None
            ended = False
            try:
                while True:
                    while not ended and self._next - self._due < self.plan.depth:
                        try:
                            self._admit(next(inputs))
                        except StopIteration:
                            ended = True
                        except Exception as error:
                            ended, source_error = True, error
                    if ended:
                        self._flush()
                    if self._due == self._next:
                        break
                    yield self._take()
                if source_error is not None:
                    raise source_error
            except (Exception, GeneratorExit):
                self._drain()
                raise
            except BaseException:  # Ctrl-C
                self.close()
                raise
            finally:
                self._streamer = None

    def _admit(self, given: Any) -> None:
        arguments = given if isinstance(given, tuple) else (given,)
        for name, numbers in self._feeds.items():
            missing = [each for each in numbers if not 0 <= each < len(arguments)]
            if missing:
                raise InputError(
                    f"operator {name} is fed part {missing[0]} of each, counted from 0; given are "
                    f"{len(arguments)}"
                ).of_input(self._next - self._begin)
        self._found[self._next] = {}
        if self._record:
            self._admitted.append(self._clock.now())
        admission = Admission(self._next, self._first, arguments)
        for worker in dict.fromkeys(self._team.replicas[self._next % len(self._team.replicas)]):
            worker.mailbox.put(admission)
        self._next += 1

    def _flush(self) -> None:
        """Tell workers and buses that take turns not to wait for further inputs, unless they know."""
        if self._flushed != self._next:
            self._flushed = self._next
            self._team.buses.flush(self._next)
            for worker in self._team.workers if self.plan.turns else ():
                worker.mailbox.put(Flush(self._next))

    def _take(self) -> Any:
        """The result of the input that is due, once it is there. Raises ExecutionError for a failure."""
        found = self._await_due()
        failures = [each for each in found.values() if isinstance(each, Failure)]
        if failures:
            first, number = failures[0], failures[0].input - self._begin
            raise ExecutionError(
                f"operator {first.operator} failed on {first.device}, for input {number}: "
                f"{_told(first.error)}",
                number,
            ) from first.error
        results = tuple(found[name] for name in self._outputs)
        return results if len(results) > 1 else results[0]

    def _await_due(self) -> dict[str, Any]:
        while len(self._found[self._due]) < len(self._reported):
            try:
                delivery = self._results.get(timeout=self._patience())
            except Empty:
                self._look_for_hangs()
                continue
            if delivery is None:
                raise ExecutionError(f"the plan cannot be run: {self._refusal}")
            self._found[delivery.input][delivery.operator] = delivery.value
        self._due += 1
        return self._found.pop(self._due - 1)

    def _drain(self) -> None:
        """Wait for what is under way, and drop it with the carried results, if there still is anybody."""
        try:
            self._flush()
            while self._due < self._next and not self._refusal:
                self._await_due()
            self.reset()
        except BaseException:  # Ctrl-C, above all: what comes next would get the results of these
            self.close()
            raise

    def _patience(self) -> float:
        """Seconds until something may have hung."""
        running = [busy for worker in self._team.workers if (busy := worker.busy) is not None]
        ends = [since + bound.limit_s for bound, _, since in running]
        return max(0.001, min([*(end - time.monotonic() for end in ends), self._limit_s]))

    def _look_for_hangs(self) -> None:
        for worker in self._team.workers:
            if not worker.thread.is_alive() and not self._refusal:
                self.close()
                raise ExecutionError(f"the thread of device {worker.device} has died: report it as a fault")
            busy = worker.busy
            if busy is None or time.monotonic() < busy[2] + busy[0].limit_s:
                continue
            bound, input, _ = busy
            known.hung.append(bound.runner)
            if worker.busy is not busy:  # it has just ended after all
                known.ended(bound.runner)
                continue
            self._refusal = (
                f"operator {bound.name} did not end on {worker.device} in {bound.limit_s:g} s, and may go on"
            )
            self.close()
            raise ExecutionError(
                f"{self._refusal}: the plan and that runner are refused from now on; start a new process, "
                "and isolate an operator that may hang",
                input - self._begin,
            )


def _end(team: Team, owner: int) -> None:
    """Tell all threads of a team to end, and end its processes: in its own process, not in a fork of that."""
    if os.getpid() != owner:
        return
    for worker in team.workers:
        worker.mailbox.put(None)
    for runner, _ in team.isolated:
        runner.close()


def _told(error: BaseException) -> str:
    """What an error says; ours in full, and others' type with it."""
    return str(error) if isinstance(error, ExecutionError) else f"{type(error).__name__}: {first_line(error)}"

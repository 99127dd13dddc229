"""What makes times doubtful on a machine, by what the system tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsegen import noise


class System:
    """A made-up /proc/stat, which says something else every time that it is read, and governors."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.now, self.own = folder, 0.0, 0.0
        self.readings: list[str] = []
        monkeypatch.setattr(noise, "_STAT", self)
        monkeypatch.setattr(noise, "_GOVERNORS", f"{folder}/{{}}")
        monkeypatch.setattr(noise.os, "sched_getaffinity", lambda _: {0, 2})
        monkeypatch.setattr(noise.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(noise.time, "process_time", lambda: self.own)
        monkeypatch.setattr(noise.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += 1.0

    def read_text(self) -> str:
        return self.readings.pop(0)

    def after_a_second(self, busy: tuple[float, float, float], *, stolen: float = 0.0) -> None:
        """Shares of the second that each of three cores is busy."""
        hertz = os.sysconf("SC_CLK_TCK")
        self.readings = [
            "cpu  1 2 3 4 5 6 7 8 9 10\n"
            + "".join(
                f"cpu{core} {1000 + share * hertz:.0f} 0 0 {5000 - share * hertz:.0f} 7 0 0 {steal:.0f} 0 0\n"
                for core, share in enumerate(shares)
            )
            for shares, steal in (((0.0, 0.0, 0.0), 0.0), (busy, stolen * hertz))
        ]

    def govern(self, *governors: str) -> None:
        for core, governor in zip((0, 2), governors, strict=True):
            (self.folder / f"{core}").write_text(f"{governor}\n")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    return System(tmp_path, monkeypatch)


@pytest.mark.filterwarnings("error")
def test_a_quiet_machine_is_told_nothing_of(system: System) -> None:
    system.after_a_second((0.02, 1.0, 0.05))  # the second core is not ours
    system.govern("performance", "performance")
    assert noise.warn_of_noise() == ()


def test_other_work_is_told(system: System) -> None:
    system.after_a_second((1.0, 0.0, 0.4))
    with pytest.warns(UserWarning, match=r"other work keeps 1.4 of 2 cores busy, .*: stop it") as told:
        found = noise.warn_of_noise()
    assert found == tuple(str(each.message) for each in told)


@pytest.mark.filterwarnings("error")
def test_our_own_work_is_no_others(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.after_a_second((1.0, 0.0, 0.0))
    monkeypatch.setattr(noise.time, "process_time", iter((3.0, 4.0)).__next__)
    assert noise.warn_of_noise() == ()


def test_what_a_host_takes_away_counts(system: System) -> None:
    system.after_a_second((0.0, 0.0, 0.0), stolen=0.3)
    with pytest.warns(UserWarning, match=r"other work keeps 0.6 of 2 cores"):
        noise.warn_of_noise()


def test_a_governor_that_saves_power_is_told(system: System) -> None:
    system.after_a_second((0.0, 0.0, 0.0))
    system.govern("powersave", "performance")
    assert noise.governors() == ("performance", "powersave")
    with pytest.warns(UserWarning, match=r"governor is 'powersave', .*: set 'performance', as `cpupower"):
        (found,) = noise.warn_of_noise()
    assert "powersave" in found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["", "cpu0 a b c\n", "intr 1 2 3\n"])
def test_a_system_that_does_not_tell_is_no_failure(system: System, text: str) -> None:
    system.readings = [text, text]
    assert noise.warn_of_noise() == ()
    assert noise.governors() == ()

"""TVM's RPC tracker: which servers a key has, and one of them for the asking."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tvm.rpc import base

from sparsegen.errors import MeasurementError
from sparsegen.target import Host
from sparsegen.tuner.options import parse_address

_ANSWER_S = 5.0  # for a tracker, which does nothing but answer
_START = "start one with `python -m tvm.exec.{}`"


@dataclass(frozen=True)
class Machine:
    """A server, as HOST:PORT, and what it runs on."""

    server: str
    host: Host

    def same_cpu(self, other: Machine) -> bool:
        """Whether code and timings of the two are comparable."""
        return self._cpu == other._cpu

    @property
    def _cpu(self) -> tuple[str, str, tuple[str, ...]]:
        return self.host.cpu, self.host.model, self.host.hidden

    def __str__(self) -> str:
        without = f" without {', '.join(self.host.hidden)}" if self.host.hidden else ""
        return f"{self.server} has {self.host.model} ({self.host.cpu}{without})"


@dataclass(frozen=True)
class Tracker:
    """A tracker's address, and the key of the servers that are asked for."""

    host: str
    port: int
    key: str

    @classmethod
    def parse(cls, address: str, key: str) -> Tracker:
        """The tracker at HOST:PORT. Raises OptionError for a malformed address."""
        return cls(*parse_address(address), key)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def servers(self) -> list[str]:
        """HOST:PORT of the servers of the key, free or busy.

        Raises SparsegenError where no tracker answers, or the key has no server.
        """
        try:
            code, summary = self._ask([base.TrackerCode.SUMMARY], _ANSWER_S)
            if code != base.TrackerCode.SUCCESS:
                raise ValueError(f"it answered {code!r}")
            known = [
                (str(info["key"]).partition(":")[2], "{}:{}".format(*info["addr"]))
                for info in summary["server_info"]
            ]
        except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
            raise MeasurementError(
                f"no RPC tracker answers at {self.address} ({error}); "
                + _START.format(f"rpc_tracker --host 0.0.0.0 --port {self.port}")
                + ", and check the address, the network and the firewall"
            ) from error
        found = [address for key, address in known if key == self.key]
        if not found:
            others = Counter(key for key, _ in known)
            has = (
                ", ".join(f"{count} of key {key!r}" for key, count in sorted(others.items())) or "none at all"
            )
            raise MeasurementError(
                f"the RPC tracker at {self.address} has no server of key {self.key!r} (it has {has}); "
                + _START.format(f"rpc_server --tracker {self.address} --key {self.key}")
            )
        return found

    def request(self, wait_s: float) -> tuple[str, int, str]:
        """Host, port and password of a free server of the key, which is the caller's for some seconds.

        Raises TimeoutError where none becomes free in `wait_s` seconds; OSError or ValueError where
        the tracker goes away or talks nonsense.
        """
        _, (host, port, password) = self._ask([base.TrackerCode.REQUEST, self.key, "", 1], wait_s)
        return host, port, password

    def _ask(self, message: list[Any], limit_s: float) -> Any:
        with socket.create_connection((self.host, self.port), timeout=_ANSWER_S) as connection:
            connection.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
            if struct.unpack("<i", base.recvall(connection, 4))[0] != base.RPC_TRACKER_MAGIC:
                raise ValueError("something else answered")
            connection.settimeout(limit_s)
            base.sendjson(connection, message)
            return base.recvjson(connection)

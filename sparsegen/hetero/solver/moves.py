"""The moves of the local search: tasks to other devices, tasks to other places of the order."""

from __future__ import annotations

from random import Random

from sparsegen.hetero.solver.instance import Instance, Order, Placement

_LARGEST_PIECE = 24  # tasks
_SHIFT, _BOTH = 0.35, 0.5  # shares of moves: the order alone; both up to the second


class Mover:
    """Proposes neighbours of a placement and an order."""

    def __init__(self, instance: Instance, random: Random) -> None:
        self._instance, self._random = instance, random
        self._movable = [v for v in range(instance.count) if len(instance.domain(v)) > 1]

    def propose(self, placement: Placement, order: Order) -> tuple[Placement, Order, int] | None:
        """A neighbour, with the first position at which it differs; None where the move leads nowhere."""
        kind = self._random.random()
        if kind < _SHIFT or not self._movable:
            shifted = self._shifted(order, self._random.randrange(self._instance.count))
            return None if shifted is None else (placement, *shifted)
        if kind < _BOTH:
            task = self._random.choice(self._movable)
            shifted = self._shifted(order, task)
            piece = [task]
        else:
            shifted, piece = None, self._piece(placement)
        moved = self._moved(placement, piece)
        if moved is None:
            return None
        first = min(map(order.index, piece)) if len(piece) < 4 else self._first(order, set(piece))
        if shifted is None:
            return moved, order, first
        # The task itself may have gone to an earlier place; what it was on before changes from there on.
        return moved, shifted[0], min(first, shifted[1])

    def replaced(self, placement: Placement) -> Placement | None:
        """A neighbour of a placement alone; None where the move leads nowhere."""
        return self._moved(placement, self._piece(placement)) if self._movable else None

    def _piece(self, placement: Placement) -> list[int]:
        """A task, or a connected piece of one device's tasks around it."""
        instance, random = self._instance, self._random
        task = random.choice(self._movable)
        size = 1 if random.random() < 0.5 else random.randint(2, _LARGEST_PIECE)
        piece, edge = [task], 0
        seen = {task}
        while edge < len(piece) and len(piece) < size:
            neighbours = instance.readers[piece[edge]] + instance.reads[piece[edge]]
            edge += 1
            for each in neighbours:
                if each not in seen and placement[each] == placement[task] and len(piece) < size:
                    seen.add(each)
                    piece.append(each)
        return piece

    def _moved(self, placement: Placement, piece: list[int]) -> Placement | None:
        """The placement with a piece, and the groups in it, on another device, where links allow it."""
        instance = self._instance
        if instance.has_groups:
            piece[:] = {v for task in piece for v in instance.units[instance.unit_of[task]]}
        now = placement[piece[0]]
        device = self._random.choice([each for each in instance.domain(piece[0]) if each != now] or [now])
        if device == now:
            return None
        moved = placement.copy()
        for task in piece:
            if device in instance.domain(task):
                moved[task] = device
        for task in piece:
            at = moved[task]
            if any(not instance.linked(read, moved[read], at) for read in instance.reads[task]):
                return None
            if any(not instance.linked(task, at, moved[reader]) for reader in instance.readers[task]):
                return None
        return moved

    def _shifted(self, order: Order, task: int) -> tuple[Order, int] | None:
        """The order with a task at another place between its neighbours in the graph; where it changes."""
        instance = self._instance
        reads, readers = set(instance.reads[task]), set(instance.readers[task])
        place = order.index(task)
        least = place
        while least > 0 and order[least - 1] not in reads:
            least -= 1
        most = place
        while most + 1 < len(order) and order[most + 1] not in readers:
            most += 1
        if least == most:
            return None
        there = self._random.randint(least, most)
        if there == place:
            return None
        shifted = order.copy()
        del shifted[place]
        shifted.insert(there, task)
        return shifted, min(place, there)

    @staticmethod
    def _first(order: Order, piece: set[int]) -> int:
        return next(position for position, task in enumerate(order) if task in piece)

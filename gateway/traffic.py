"""What goes on in the gateway at the moment, told to those who decide by it."""


class Traffic:
    """What goes on in the gateway, for all sources together."""

    __slots__ = ("came", "inside", "moves")

    def __init__(self) -> None:
        # Calls of any kind that have come in, whatever became of them.
        self.came = 0
        # Rankings being made.
        self.inside = 0
        # Grows with everything that happens to one of them.
        self.moves = 0

    def arrive(self) -> None:
        """Note that a call has come in."""
        self.came += 1

    def enter(self) -> None:
        """Note that a ranking is begun."""
        self.inside += 1
        self.moves += 1

    def leave(self) -> None:
        """Note that a ranking is done."""
        self.inside -= 1
        self.moves += 1

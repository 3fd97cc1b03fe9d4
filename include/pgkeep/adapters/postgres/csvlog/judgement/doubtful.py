"""How a room of this package says that a statement is no exact one."""


class Doubtful(Exception):
    """Running a statement again may give something else. `reason`: of its class, without any value of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

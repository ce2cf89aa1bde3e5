"""The one error that a user is meant to read."""


class UserError(Exception):
    """A mistake that the user can mend, told in three lines.

    Never put report text in any of the three: they are printed and logged.
    """

    exit_code = 2

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return f"{self.what}\n{self.why}\n{self.fix}"

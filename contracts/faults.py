"""What a person can mend: raised anywhere, printed as one line by the front door."""


class Fault(Exception):
    """Something a person can mend. The text is one line that says what to do; the front door prints it, exit 1."""


class UsageFault(Fault):
    """A setting or an argument that cannot be used; exit 2."""

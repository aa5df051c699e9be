"""What goes wrong in the local stack."""

from tasks.core.errors import BirdwalkError


class StackError(BirdwalkError):
    """A server of the local stack could not start or stop."""

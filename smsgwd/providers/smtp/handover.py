"""What the event loop and a thread know in common of one mail."""

import socket
import threading

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.units import Deadline


class Handover:
    """How far one mail went, and whether it may go on. Its thread leads it on, the event loop gives it up.

    Until the content leaves `deadline.to_leave` is the limit, and giving up means `unsent`; from then on it is the
    deadline, and `unknown`.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self._step = ""  # what the server has to answer; nothing while there is no connection
        self._until = deadline.to_leave  # the limit of the step
        self._left = False
        self._given_up = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    # For the thread.

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._given_up

    def begin(self, step: str, seconds: float) -> Deadline:
        """Begin a step that may take so long. Gives the point in time when it has to be done."""
        limit = self.deadline if self._left else self.deadline.to_leave
        self._step, self._until = step, limit.earlier(seconds)
        return self._until

    def use(self, connected: socket.socket) -> None:
        """From here on this socket is the one to shut. Raises SubmitError when the mail was given up."""
        with self._lock:
            if self._given_up:
                raise self.lost()
            self._socket = connected

    def leave(self) -> None:
        """The next step writes the content. Raises SubmitError when that is not to be."""
        with self._lock:
            if self._given_up or self._until.passed:
                raise self.lost()
            self._left = True

    def finish(self) -> bool:
        """Let go of the socket. Tells whether another mail may use it: not when this one was given up."""
        with self._lock:
            self._socket = None
            return not self._given_up

    def lost(self, why: str = "the mail server closed the connection") -> SubmitError:
        """What it means that the dialogue ended here, for this reason or because the time is over."""
        if self._until.passed:
            return self.too_late()
        why = "the gateway was closed" if self._given_up else why
        detail = f"{why} ({self._step})" if self._step else why
        return SubmitError(Reason.UNREACHABLE, detail, handed_over=self._left)

    # For both.

    def too_late(self) -> SubmitError:
        """What it means that the time is over."""
        if not self._step:
            detail = "the mail server could not be reached in time"
            return SubmitError(Reason.UNREACHABLE, detail, handed_over=False)
        detail = f"the mail server did not answer in time ({self._step})"
        return SubmitError(Reason.TIMEOUT, detail, handed_over=self._left)

    # For the event loop.

    def give_up(self, *, unless_left: bool = False) -> bool:
        """Shut the socket, so that the thread ends; with `unless_left` only before the content left. Tells whether."""
        with self._lock:
            if unless_left and self._left:
                return False
            self._given_up = True
            if self._socket is not None:
                _shut(self._socket)
            return True


def _shut(connected: socket.socket) -> None:
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # the one below TLS: SSLSocket's own would unwrap it
    except OSError:  # it is closed, or not connected any more
        return

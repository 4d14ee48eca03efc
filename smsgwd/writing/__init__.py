"""Changes a gateway file and its secrets: both or neither, also when the process is killed between any two steps.

    lock -> read -> make -> edit -> compile among the gateways of today -> write -> reload

model     what is there, what it is to become, what was done
area      the folders, opened: nothing is written through a link
files     reading and writing single files in them, durably
journal   which secret files a write touches, so that the next one can clear up after it
leavings  what a write that was cut off has left behind
trial     compiling what is wanted before it is written
commit    writing it, all or nothing
writer    all of it, in order

A changed secret goes to a new file, so the rename of the gateway file is the one moment at which both change, for
every reader. What only the former version used is removed after it.
"""

from smsgwd.writing.leavings import clear_up
from smsgwd.writing.model import ANY, Changed, Current, Match, Wanted
from smsgwd.writing.writer import Writer

__all__ = ["ANY", "Changed", "Current", "Match", "Wanted", "Writer", "clear_up"]

"""XML bodies: escaping, and a look at each document before it leaves (XML 1.0)."""

import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat  # the document is ours, and a DOCTYPE is refused

from smsgwd.errors import MessageError
from smsgwd.outcome import Reason

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&#39;",
        # parsers turn these into spaces in attributes, and a carriage return into a line feed everywhere
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)


class XmlError(ValueError):
    """A document that is not well-formed, or more than we send; the text says why."""


def escape(value: str) -> str:
    """The value for a text or an attribute. Raises MessageError for a character that XML 1.0 cannot hold."""
    check_characters(value)
    return value.translate(_ESCAPES)


def check_characters(value: str) -> None:
    """Raise MessageError for a character that XML 1.0 cannot hold, escaped or not."""
    if _FORBIDDEN.search(value):
        raise MessageError(Reason.CONTENT, "the text holds a character that XML cannot carry")


@dataclass(slots=True)
class Document:
    """A parsed document: its texts and attribute values, and all the rest, which no message may change."""

    leaves: list[str] = field(default_factory=list)
    skeleton: list[Any] = field(default_factory=list)
    _text: str = ""
    _literal: bool = False  # inside CDATA

    def start(self, name: str, attributes: list[str]) -> None:
        self.rest("start", name, attributes[::2])
        self.leaves += attributes[1::2]

    def characters(self, data: str) -> None:
        self._text += data

    def cdata(self, *, begins: bool) -> None:
        if self._literal:
            self.skeleton.append(self._text)  # a template inside shows as a changed skeleton
        self.rest("cdata")
        self._literal = begins

    def rest(self, *event: Any) -> None:
        """An event that ends a text."""
        if self._text:
            self.leaves.append(self._text)
            self._text = ""
        self.skeleton.append(event)


def parse(text: str) -> Document:
    """The document. Raises XmlError."""
    document = Document()
    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.StartElementHandler = document.start
    parser.EndElementHandler = lambda name: document.rest("end", name)
    parser.CharacterDataHandler = document.characters
    parser.StartCdataSectionHandler = lambda: document.cdata(begins=True)
    parser.EndCdataSectionHandler = lambda: document.cdata(begins=False)
    parser.CommentHandler = lambda data: document.rest("comment", data)
    parser.ProcessingInstructionHandler = lambda name, data: document.rest("pi", name, data)
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.XmlDeclHandler = _utf8_only
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise XmlError(f"not well-formed: {expat.ErrorString(error.code)}") from None
    return document


def _no_doctype(*_: Any) -> None:
    raise XmlError("a DOCTYPE is not sent")


def _utf8_only(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise XmlError(f"the body is sent as UTF-8, the document says {encoding}")

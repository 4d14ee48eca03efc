"""The classes of privacyIDEA that send SMS, and the parameters of each, as its clients are told of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

_CLASSES = "privacyidea.lib.smsprovider."
HTTP = _CLASSES + "HttpSMSProvider.HttpSMSProvider"
SIPGATE = _CLASSES + "SipgateSMSProvider.SipgateSMSProvider"
SMTP = _CLASSES + "SmtpSMSProvider.SmtpSMSProvider"
SMPP = _CLASSES + "SmppSMSProvider.SmppSMSProvider"
SCRIPT = _CLASSES + "ScriptSMSProvider.ScriptSMSProvider"
FIREBASE = _CLASSES + "FirebaseProvider.FirebaseProvider"

IDENTIFIER = "SMTPIDENTIFIER"  # its values are the SMTP servers that there are
_YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `may_hide`: a secret may take its place in a gateway file."""

    description: str
    required: bool = False
    values: tuple[str, ...] = ()
    secret: bool = False
    type: str = ""
    may_hide: bool = False


@dataclass(frozen=True, slots=True)
class Class:
    """One class: its parameters, and whether it takes further options and headers (None: it does not say)."""

    parameters: Mapping[str, Parameter]
    options_allowed: bool = False
    headers_allowed: bool | None = False


_REGEXP = Parameter("How the number is rewritten before anything else: /pattern/replacement/.")

CLASSES: Mapping[str, Class] = MappingProxyType(
    {
        HTTP: Class(
            {
                "URL": Parameter("Where the request goes. Tags in it are not replaced.", required=True, may_hide=True),
                "HTTP_METHOD": Parameter("GET or POST.", required=True, values=("GET", "POST")),
                "CHECK_SSL": Parameter("Whether the certificate is verified.", required=True, values=_YES_NO),
                "SEND_DATA_AS_JSON": Parameter(
                    "Whether POST sends the options as JSON instead of a form.", required=True, values=_YES_NO
                ),
                "RETURN_SUCCESS": Parameter("A text that an answer holds when the message was taken."),
                "RETURN_FAIL": Parameter("A text that an answer holds when the message was refused."),
                "USERNAME": Parameter("The user of basic authentication.", may_hide=True),
                "PASSWORD": Parameter("The password of basic authentication.", secret=True, may_hide=True),
                "REGEXP": _REGEXP,
                "PROXY": Parameter("The proxy; HTTP_PROXY and HTTPS_PROXY go before it."),
                "HTTP_PROXY": Parameter("The proxy for http:// URLs.", may_hide=True),
                "HTTPS_PROXY": Parameter("The proxy for https:// URLs.", may_hide=True),
                "TIMEOUT": Parameter("Seconds for connecting, and as many again for the answer."),
            },
            options_allowed=True,
            headers_allowed=True,
        ),
        SIPGATE: Class(
            {
                "USERNAME": Parameter("The user at sipgate.", required=True, may_hide=True),
                "PASSWORD": Parameter("Its password.", required=True, secret=True, may_hide=True),
                "PROXY": Parameter("The proxy."),
                "REGEXP": _REGEXP,
            },
        ),
        SMTP: Class(
            {
                "MAILTO": Parameter("Who gets the mail; {phone} and {otp} are replaced.", required=True),
                IDENTIFIER: Parameter("The SMTP server, one of smtp_servers.", required=True),
                "SUBJECT": Parameter("The subject; {phone} and {otp} are replaced.", may_hide=True),
                "BODY": Parameter("The text of the mail; {phone} and {otp} are replaced.", type="text", may_hide=True),
                "REGEXP": _REGEXP,
            },
        ),
        SMPP: Class(
            {
                "SMSC_HOST": Parameter("The host of the SMSC.", required=True),
                "SMSC_PORT": Parameter("Its port.", required=True),
                "SYSTEM_ID": Parameter("The account, up to 15 octets.", may_hide=True),
                "PASSWORD": Parameter("Its password, up to 8 octets.", secret=True, may_hide=True),
                "S_ADDR_TON": Parameter("The type of number of the source address: 5 or 0x5."),
                "S_ADDR_NPI": Parameter("The numbering plan of the source address."),
                "S_ADDR": Parameter("The source address."),
                "D_ADDR_TON": Parameter("The type of number of the recipient."),
                "D_ADDR_NPI": Parameter("The numbering plan of the recipient."),
                "REGEXP": _REGEXP,
            },
        ),
        SCRIPT: Class(
            {
                "script": Parameter(
                    "A file in the folder of the scripts; it gets the number as argument.", required=True
                ),
                "background": Parameter("Whether its end is waited for.", required=True, values=("background", "wait")),
                "REGEXP": _REGEXP,
            },
            headers_allowed=None,
        ),
    }
)

# Any other option of the HTTP class is sent, of the others none is allowed.
PARAMETERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: tuple(one.parameters) for name, one in CLASSES.items()}
)
# Parameters whose place in a gateway file may be taken by a secret. (URL: not imported when it is hidden.)
MAY_HIDE = frozenset(key for one in CLASSES.values() for key, parameter in one.parameters.items() if parameter.may_hide)


def descriptors(smtp_servers: tuple[str, ...]) -> dict[str, Any]:
    """What privacyIDEA answers to `GET /smsgateway/providers` of these classes."""
    return {name: _descriptor(one, smtp_servers) for name, one in CLASSES.items()}


def _descriptor(one: Class, smtp_servers: tuple[str, ...]) -> dict[str, Any]:
    parameters = {
        key: _parameter(parameter, smtp_servers if key == IDENTIFIER else parameter.values)
        for key, parameter in one.parameters.items()
    }
    headers = {} if one.headers_allowed is None else {"headers_allowed": one.headers_allowed}
    return {"options_allowed": one.options_allowed, **headers, "parameters": parameters}


def _parameter(parameter: Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": parameter.description}
    if parameter.required:
        told["required"] = True
    if values:
        told["values"] = list(values)
    if parameter.secret:
        told["secret"] = True
    if parameter.type:
        told["type"] = parameter.type
    return told

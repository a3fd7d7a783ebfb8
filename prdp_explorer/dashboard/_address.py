"""The setting of the page, and the query of the address that holds it: to the last digit, or not at all."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ..engine import FAIRNESS, LIMITS, RunSettings, settings_for
from ..problems import scenarios
from ..refinement import KINDS, PRDP, Constant, Limits, TolerancePRDP
from ._theme import FULL_LABEL, LOOKS, PRDP_LABEL

AXES_IN_LINKS = {"epoch": "epoch", "iterations": "inner iterations", "seconds": "seconds"}
"""What the curves are drawn over: in links, which must not change with the words for people, and in those."""

LONGEST_QUERY = 8 * 1024
"""Characters of a query that is read at all."""

LONGEST_LABEL = 160
"""Characters of the name of a contender."""

_COMMON = ("scenario", "preset", "seed", "epochs", "learning_rate", "metric")
_PRDP_KINDS = ("prdp", "prdp-tolerance")
_PRDP_LIMITS: Mapping[str, Limits] = {**TolerancePRDP.limits, **PRDP.limits}
_NUMBERS: Mapping[str, Limits] = {**LIMITS, **_PRDP_LIMITS, "full": Constant.limits["iterations"]}
_WORDS = ("scenario", "preset", "solver", "differentiation", "refinement", "fairness", "axis")
_MANY = "contender"
LINKS = ("race", "run", "story", "story_step")
"""What an address may name beside a setting; `_page` opens these."""

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?")
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Setting:
    """What a person has set: everything that decides the next race, and how it is looked at.

    **Arguments:**

    - `contenders`: complete settings by label: PRDP's, then those of a constant K, then those of further contenders.
      They may differ in the controller and, from the third on, in solver and differentiation mode.
    - `fairness`: what the contenders have equally much of, one of `FAIRNESS`.
    - `axis`: what the curves are drawn over, in words, one of `AXES_IN_LINKS`.

    **Raises:** `ValueError` in words for what is no such thing.
    """

    contenders: Mapping[str, RunSettings]
    fairness: str = FAIRNESS[0]
    axis: str = AXES_IN_LINKS["epoch"]

    def __post_init__(self) -> None:
        labels, each = list(self.contenders), list(self.contenders.values())
        if labels[:2] != [PRDP_LABEL, FULL_LABEL]:
            raise ValueError(f"The first contenders must be {PRDP_LABEL!r} and {FULL_LABEL!r}; got {labels[:2]}.")
        if len(labels) > len(LOOKS):
            raise ValueError(f"There must be at most {len(LOOKS)} contenders; got {len(labels)}. Remove some.")
        for label in labels[2:]:
            if not (0 < len(label) <= LONGEST_LABEL and label.isprintable() and label == label.strip()):
                raise ValueError(
                    f"The label of a contender must be 1 to {LONGEST_LABEL} characters that can be seen; "
                    f"got {_short(label)}."
                )
        for name, value, offered in (
            ("fairness", self.fairness, FAIRNESS),
            ("axis", self.axis, AXES_IN_LINKS.values()),
        ):
            if value not in offered:
                raise ValueError(f"`{name}` must be one of {', '.join(offered)}; got {_short(value)}.")
        prdp, full, *_ = each
        for name, kind, offered in (("PRDP", prdp, _PRDP_KINDS), ("full physics", full, ("constant",))):
            if kind.refinement["kind"] not in offered:
                raise ValueError(
                    f"`refinement` of {name} must be {' or '.join(offered)}; got {kind.refinement['kind']!r}."
                )
        for names, those in ((_COMMON, each), (("solver", "differentiation"), [prdp, full])):
            for name in names:
                if any(getattr(settings, name) != getattr(prdp, name) for settings in those):
                    raise ValueError(f"The contenders of a race must have the same `{name}`.")
        if prdp.metric != "validation":
            raise ValueError(f"`metric` must be validation on the page; got {prdp.metric!r}.")


def address_query(setting: Setting | None, link: Mapping[str, str] = MappingProxyType({})) -> str:
    """The query of an address that holds a setting whole, "?" included.

    **Arguments:**

    - `setting`: None if there is none that could be held.
    - `link`: what is shown, if anything is, by names out of `LINKS`: a race, a run, or the step of a story.
    """
    pairs = [] if setting is None else _pairs(setting)
    return "?" + urlencode([(name, _text(value)) for name, value in (*pairs, *link.items())], safe=",:")


def _pairs(setting: Setting) -> list[tuple[str, Any]]:
    prdp, full, *_ = setting.contenders.values()
    return [
        ("scenario", prdp.scenario),
        ("preset", prdp.preset),
        ("solver", prdp.solver),
        ("differentiation", prdp.differentiation),
        *((name, getattr(prdp, name)) for name in LIMITS),
        ("refinement", prdp.refinement["kind"]),
        *prdp.values.items(),
        ("full", full.refinement["iterations"]),
        *((_MANY, _contender_text(label, each)) for label, each in list(setting.contenders.items())[2:]),
        ("fairness", setting.fairness),
        ("axis", next(name for name, words in AXES_IN_LINKS.items() if words == setting.axis)),
    ]


def setting_in(query: str) -> Setting | None:
    """The setting that the query of an address holds; None if it says nothing of one.

    What a query leaves out is the preset's own, so that "?scenario=burgers-1d" is a link too.

    **Raises:** `ValueError` in words, and in one line that is not long, for anything else than a setting.
    """
    if len(query) > LONGEST_QUERY:
        raise ValueError(f"The query must have at most {LONGEST_QUERY:,} characters; got {len(query):,}.")
    pairs = [
        (name, value)
        for name, value in parse_qsl(query.removeprefix("?"), keep_blank_values=True, errors="replace")
        if name not in LINKS and name != "theme" and not name.startswith("bokeh-")
    ]
    if not pairs:
        return None
    values: dict[str, str] = {}
    others: list[str] = []
    for name, value in pairs:
        if name == _MANY:
            others.append(value)
            continue
        if name not in _NUMBERS and name not in _WORDS:
            raise ValueError(
                f"{_short(name)} is no setting; settings are {', '.join((*_WORDS, *_NUMBERS, _MANY))}. Remove it."
            )
        if name in values:
            raise ValueError(f"`{name}` must be there once; got it twice. Remove one.")
        values[name] = _checked_length(name, value)
    numbers = {name: _number(name, value, _NUMBERS[name]) for name, value in values.items() if name in _NUMBERS}
    kind = values.get("refinement", _PRDP_KINDS[0])
    if kind not in _PRDP_KINDS:
        raise ValueError(f"`refinement` must be one of {', '.join(_PRDP_KINDS)}; got {kind!r}.")
    scenario = values.get("scenario", next(iter(scenarios())))
    choices: dict[str, Any] = {name: values[name] for name in ("preset", "solver", "differentiation") if name in values}
    choices |= {name: numbers[name] for name in LIMITS if name in numbers}
    controller = {"kind": kind, **{name: value for name, value in numbers.items() if name in _PRDP_LIMITS}}
    full = {"kind": "constant", **({"iterations": numbers["full"]} if "full" in numbers else {})}
    prdp = settings_for(scenario, controller, **choices)
    # What was chosen for the first two need not suit a further contender: what that leaves out comes from them as well.
    choices |= {"solver": prdp.solver, "differentiation": prdp.differentiation}
    contenders = {PRDP_LABEL: prdp, FULL_LABEL: settings_for(scenario, full, **choices)}
    if len(others) + 2 > len(LOOKS):
        raise ValueError(f"There must be at most {len(LOOKS)} contenders; got {len(others) + 2}. Remove some.")
    for text in others:
        label, refinement, own = _contender(text, len(contenders) + 1)
        if label in contenders:
            raise ValueError(f"The labels of contenders must differ; got {_short(label)} twice.")
        contenders[label] = settings_for(scenario, refinement, **{**choices, **own})
    axis = values.get("axis", "epoch")
    if axis not in AXES_IN_LINKS:
        raise ValueError(f"`axis` must be one of {', '.join(AXES_IN_LINKS)}; got {_short(axis)}.")
    return Setting(contenders, values.get("fairness", FAIRNESS[0]), AXES_IN_LINKS[axis])


def step_in(text: str) -> int:
    """The number of a story's step in an address, from 1.

    **Raises:** `ValueError` in words for what is none.
    """
    if not re.fullmatch("[1-9][0-9]?", text):
        raise ValueError(f"`story_step` must be the number of a step, from 1; got {_short(text)}.")
    return int(text)


def _contender_text(label: str, settings: RunSettings) -> str:
    """A contender as "kind,name:value,…,label:text"; the label is last, so that it may hold anything."""
    named = {"solver": settings.solver, "differentiation": settings.differentiation, **settings.values}
    return ",".join(
        [settings.refinement["kind"], *(f"{name}:{_text(value)}" for name, value in named.items()), f"label:{label}"]
    )


def _contender(text: str, place: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The label, the controller, and the choices of its own of a contender."""
    start, _, label = text.partition(",label:")
    kind, *pieces = start.split(",")
    if kind not in KINDS:
        raise ValueError(f"A `{_MANY}` must begin with one of {', '.join(KINDS)}; got {_short(kind)}.")
    limits = KINDS[kind].limits
    refinement: dict[str, Any] = {"kind": kind}
    own: dict[str, Any] = {}
    for piece in pieces:
        name, colon, value = piece.partition(":")
        if not colon or (name not in limits and name not in ("solver", "differentiation")):
            raise ValueError(
                f"A `{_MANY}` must consist of name:value, with the names solver, differentiation, {', '.join(limits)} "
                f"and, last, label; got {_short(piece)}."
            )
        if name in refinement or name in own:
            raise ValueError(f"`{name}` of a `{_MANY}` must be there once; got it twice. Remove one.")
        _checked_length(name, value)
        if name in limits:
            refinement[name] = _number(name, value, limits[name])
        else:
            own[name] = value
    return label or f"contender {place}", refinement, own


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _number(name: str, text: str, limits: Limits) -> int | float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"`{name}` must be a number {limits.range}; got {_short(text)}.")
    return limits.number(name, int(text) if text.lstrip("-").isdigit() else float(text))


def _checked_length(name: str, value: str) -> str:
    if len(value) > _LONGEST_VALUE:
        raise ValueError(
            f"`{name}` must have at most {_LONGEST_VALUE} characters; got {len(value):,}, {_short(value)}."
        )
    return value


def _short(value: object, characters: int = 40) -> str:
    """What was got, in a few characters of one line."""
    text = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return text if len(text) <= characters else f"{text[: characters - 1]}…"

"""Declarations of settings, and the generic reader of dataclasses that are made of them.

A dataclass declares a setting by a field whose value is `setting`, and contains another such
dataclass by a field whose value is `section`::

    @dataclass(frozen=True)
    class Batch:
        max_events: int = setting("BATCH_MAX_EVENTS", kinds.whole(1), "most events", default="500")

    @dataclass(frozen=True)
    class Settings:
        batch: Batch = section("Sending", Batch)

`declared` lists the settings of a dataclass, and `read` makes an instance from variables. A field
has no default of its own, so an instance made by hand needs every value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, Protocol, TypeVar, cast

__all__ = ["FAMILY", "Kind", "Refuse", "Setting", "Variables", "declared", "read", "section", "setting"]

T = TypeVar("T")
U = TypeVar("U")

FAMILY = "…"
"""The end of a setting's name that stands for all variables with the same beginning."""


Refuse = Callable[[str], None]
"""Records a problem with a variable. The message continues its name: "must be true or false"."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A type of value.

    ``parse`` takes the text of a variable, or its default; the text is empty if there is neither.
    It never raises: it refuses a bad text and returns a stand-in of the right type. So reading goes
    on, and all problems come at once.
    """

    type: str
    """The type in words, for the pages about settings: "duration above zero"."""
    parse: Callable[[str, Refuse], T]
    secret: bool = False
    shown: Callable[[str], str] | None = None
    """Returns what may be shown of a value, if the value is too long or partly secret."""

    def then(self, function: Callable[[T], U]) -> Kind[U]:
        """Return the kind whose value is made from this kind's value."""
        return Kind(self.type, lambda text, refuse: function(self.parse(text, refuse)), self.secret, self.shown)


class Variables(Protocol):
    """What settings are read from."""

    def given(self, name: str) -> str:
        """Return the value of a variable; empty if it is not set."""

    def text(self, name: str) -> str:
        """Return the value of a variable, or the default of its setting."""

    def family(self, name: str) -> Mapping[str, str]:
        """Return the properties of a `FAMILY` of variables, by their names in the library."""

    def value(self, setting: Setting) -> Any:
        """Return the value of a setting.

        Return a stand-in, and record the problem, if it is refused.
        """


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table of settings."""

    section: str
    """The heading that the setting belongs under."""
    name: str
    """The variable. ``KAFKA_…`` stands for every other variable with that prefix."""
    default: str
    """The default as a user would type it; ``<…>`` if derived from other settings; empty if
    none."""
    kind: Kind[Any]
    meaning: str
    required: bool
    derive: Callable[[Variables], str] | None
    """Returns the default, if other settings decide it."""

    @property
    def type(self) -> str:
        """The type of the value in words."""
        return self.kind.type

    @property
    def secret(self) -> bool:
        """Whether the value is never shown, and may come from the file of ``<name>_FILE``."""
        return self.kind.secret


_DECLARATION = "declaration"


def setting(
    name: str,
    kind: Kind[T],
    meaning: str,
    *,
    default: str = "",
    section: str = "",
    required: bool = False,
    derive: Callable[[Variables], str] | None = None,
    repr: bool = True,  # noqa: A002 - the name that dataclasses.field has for it
) -> T:
    """Declare a setting as the field of a dataclass. The kind must fit the field's type."""
    row = Setting(section, name, default, kind, meaning, required, derive)
    return cast("T", field(repr=repr, metadata={_DECLARATION: row}))


def section(title: str, of: type[T]) -> T:
    """Declare a dataclass of settings as the field of another one.

    With an empty title, its settings belong to the section of the outer dataclass.
    """
    return cast("T", field(metadata={_DECLARATION: (title, of)}))


def declared(of: type[Any], title: str = "") -> Iterator[Setting]:
    """Yield the settings of a dataclass in order."""
    for one in fields(of):
        match one.metadata.get(_DECLARATION):
            case Setting() as row:
                yield replace(row, section=row.section or title)
            case (inner_title, inner):
                yield from declared(inner, inner_title or title)


def read(of: type[T], variables: Variables) -> T:
    """Make a dataclass of settings. Fields that are not declared keep their defaults."""
    values: dict[str, Any] = {}
    for one in fields(cast("Any", of)):
        match one.metadata.get(_DECLARATION):
            case Setting() as row:
                values[one.name] = variables.value(row)
            case (_, inner):
                values[one.name] = read(inner, variables)
    return of(**values)

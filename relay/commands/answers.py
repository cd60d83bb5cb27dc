"""The one door through which a command reads what the Data API answers.

A command says in which shape it expects the answer, as a TypedDict. What has another shape is a contract violation,
told in words that name the place; further keys are allowed, so that the database may be a version ahead.
"""

from collections.abc import Hashable
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, TypeAdapter, ValidationError

from relay.core.currency import read_amount
from relay.core.errors import NoVerdict
from relay.core.outcomes import Reason

T = TypeVar("T")


def read(shape: type[T], answer: object, *, of: str) -> T:
    """The very answer, which has the shape. `of` names what was asked. Raises NoVerdict."""
    try:
        _checker(cast(Hashable, shape)).validate_python(answer, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the answer"
        raise NoVerdict(Reason.CONTRACT_VIOLATION, f"{of}: {place}: {fault['msg']}") from None
    return cast(T, answer)


@cache
def _checker(shape: Any) -> TypeAdapter[Any]:
    """Made once for each shape: that takes longer than the checking."""
    return TypeAdapter(shape)


def _amount(text: str) -> str:
    if read_amount(text) is None:
        raise ValueError("no amount")
    return text


Amount = Annotated[str, AfterValidator(_amount)]
"""Money in major units as text, which Decimal reads."""
Day = Annotated[str, AfterValidator(date.fromisoformat)]
Instant = Annotated[str, AfterValidator(datetime.fromisoformat)]

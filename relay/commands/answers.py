"""Checks the shape of the Data API's answers to commands.

A command declares the expected shape as a TypedDict. An answer of another shape is a contract violation, whose message
names the place. Further keys are allowed, so that the database may be a version ahead.
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
    """Return the unchanged answer. Raises NoVerdict where it does not have the shape. `of` names the function that was
    called, or the table.
    """
    try:
        _checker(cast(Hashable, shape)).validate_python(answer, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the answer"
        raise NoVerdict(Reason.CONTRACT_VIOLATION, f"{of}: {place}: {fault['msg']}") from None
    return cast(T, answer)


@cache
def _checker(shape: Any) -> TypeAdapter[Any]:
    """The checker of a shape, made once per shape: making one takes longer than checking an answer."""
    return TypeAdapter(shape)


def _amount(text: str) -> str:
    if read_amount(text) is None:
        raise ValueError("no amount")
    return text


Amount = Annotated[str, AfterValidator(_amount)]
"""An amount in major units, as text that Decimal reads."""
Day = Annotated[str, AfterValidator(date.fromisoformat)]
Instant = Annotated[str, AfterValidator(datetime.fromisoformat)]

"""What can go wrong while the stack starts, each with its remedy in the message."""

from __future__ import annotations


class StackError(RuntimeError):
    """A part of the stack is missing or did not start; the message says which and what to do about it."""


class PartMissingError(StackError):
    """A program that the stack needs is not installed."""


class StartError(StackError):
    """A program is there but did not start; the message carries the end of its log."""

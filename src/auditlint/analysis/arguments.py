"""The arguments of a call."""

from __future__ import annotations

from typing import TypeAlias

from auditlint.analysis.values import Value

Keywords: TypeAlias = list[tuple[str, Value]]


class Arguments:
    """The arguments of one call: known positions and keywords, and what `*` and `**` of unknown length add."""

    __slots__ = ("args", "double_star", "keywords", "star")

    def __init__(
        self, args: list[Value], keywords: Keywords, star: Value | None = None, double_star: Value | None = None
    ) -> None:
        self.args = args
        self.keywords = keywords
        self.star = star
        self.double_star = double_star

    def get(self, position: int, keyword: str) -> Value | None:
        """The argument at a position or under a keyword; None when the call does not give it."""
        for name, value in self.keywords:
            if name == keyword:
                return value
        if 0 <= position < len(self.args):
            return self.args[position]
        if self.star is not None and position >= 0:
            return self.star
        return None

    def all(self) -> list[Value]:
        extra = [value for value in (self.star, self.double_star) if value is not None]
        return [*self.args, *[value for _, value in self.keywords], *extra]

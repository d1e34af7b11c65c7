"""What the linter says about the files that a program loads, project by project, asked for while it runs."""

from __future__ import annotations

import os

from auditlint.config import Overrides
from auditlint.diagnostics import Diagnostic, Step
from auditlint.linter import ByFile, Configs, Options
from auditlint.source.discovery import Universe

# Comments silence nothing here, as far as they can be told apart: an accepted sync is matched by its comment.
_RULES = ("AUD1", "AUD2")


class Findings:
    """The findings in hooks, with absolute file names; each project is linted once, when its first file is loaded."""

    def __init__(self, configs: Configs, options: Options = Options()) -> None:
        self._linter = ByFile(configs, options)
        self._projects: dict[Universe, dict[str, list[Diagnostic]]] = {}

    def of(self, path: str) -> list[Diagnostic]:
        """The findings in the file at the absolute `path`.

        Raises:
            ConfigError: when the configuration that holds for it cannot be used.
        """
        return self.of_project(path).get(path, [])

    def of_project(self, path: str) -> dict[str, list[Diagnostic]]:
        """File -> findings, for all files of the project that the file at `path` belongs to."""
        universe = self._linter.universe(path)
        if universe not in self._projects:
            folder, found = self._linter.project(path)
            project = self._projects[universe] = {}
            for item in found:
                if item.hook is not None:
                    project.setdefault(os.path.join(folder, item.filename), []).append(_absolute(item, folder))
        return self._projects[universe]


def configs(config_file: str | None, isolated: bool) -> Configs:
    """The configuration to lint with: that of each project, with every rule about syncs selected."""
    return Configs(None, config_file, isolated, Overrides(select=_RULES, ignore=()))


def _absolute(item: Diagnostic, folder: str) -> Diagnostic:
    def step(it: Step) -> Step:
        return it._replace(filename=os.path.join(folder, it.filename))

    hook = item.hook
    if hook is not None:
        hook = hook._replace(filename=os.path.join(folder, hook.filename), registered=step(hook.registered))
    return item._replace(
        filename=os.path.join(folder, item.filename), hook=hook, path=tuple(step(it) for it in item.path)
    )

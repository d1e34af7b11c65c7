"""What the linter says about the files that a program loads, project by project, asked for while it runs."""

from __future__ import annotations

import os
from collections.abc import Callable

from auditlint.config import Overrides
from auditlint.diagnostics import Diagnostic, Hook
from auditlint.linter import ByFile, Configs, Options
from auditlint.runtime.reconcile import SYNC_CODES
from auditlint.source.discovery import INSTALLED, Universe

# What the linter names as the registrar of a hook that only the configuration knows.
CONFIGURED = "configuration"


class Findings:
    """The findings in hooks, with absolute file names; each project is linted once, when its first file is loaded.

    `declare` is told of every hook in them that no call registers, so that it is known when it runs.
    """

    def __init__(self, configs: Configs, declare: Callable[[Hook], None]) -> None:
        # One process: this one belongs to the user's program, which has threads and devices that do not fork well.
        self._linter = ByFile(configs, Options(jobs=1))
        self._declare = declare
        self._projects: dict[Universe, dict[str, list[Diagnostic]]] = {}

    def of(self, path: str) -> list[Diagnostic]:
        """The findings in the file at the absolute `path`.

        Raises:
            ConfigError: when the configuration that holds for it cannot be used.
        """
        universe = self._universe(path)
        if universe not in self._projects:
            folder, found = self._alone(path) if universe.alone else self._linter.project(path)
            project = self._projects[universe] = {}
            for item in found:
                if item.hook is not None:
                    whole = self._absolute(item, folder, item.hook)
                    project.setdefault(whole.filename, []).append(whole)
        return self._projects[universe].get(path, [])

    def all(self) -> list[Diagnostic]:
        """The findings in all projects that were asked about."""
        return [item for project in self._projects.values() for found in project.values() for item in found]

    def are_together(self, path: str, other: str) -> bool:
        """Whether two files belong to one project."""
        return self._universe(path) == self._universe(other)

    def _universe(self, path: str) -> Universe:
        folder, name = os.path.split(path)
        # A module without a package lies among all packages: they are no project of its, and would take minutes.
        if os.path.basename(folder) in INSTALLED:
            return Universe(folder, extra=name, alone=True)
        return self._linter.universe(path)

    def _alone(self, path: str) -> tuple[str, list[Diagnostic]]:
        """What `ByFile.project` gives, for a module that is a project by itself."""
        folder, name = os.path.split(path)
        with open(path, "rb") as file:
            found = self._linter.findings(None, file.read())
        return folder, [
            item._replace(filename=name, hook=item.hook and item.hook._replace(filename=name)) for item in found
        ]

    def _absolute(self, item: Diagnostic, folder: str, hook: Hook) -> Diagnostic:
        hook = hook._replace(filename=os.path.join(folder, hook.filename))
        if hook.registrar.startswith("@") or hook.registrar == CONFIGURED:
            self._declare(hook)
        return item._replace(filename=os.path.join(folder, item.filename), hook=hook)


def configs(config_file: str | None, isolated: bool) -> Configs:
    """The configuration to lint with: that of each project, with every rule about syncs selected."""
    return Configs(None, config_file, isolated, Overrides(select=SYNC_CODES, ignore=()))

"""AUD900 to AUD902: files that cannot be analysed, and suppressions that do nothing or say nothing."""

from __future__ import annotations

from auditlint.rules.rule import Rule

BROKEN = Rule(
    code="AUD900",
    name="unreadable-file",
    kind="",
    summary="A file cannot be analysed",
    what=(
        "Python cannot parse the file, or cannot decode it, or the file is nested too deeply to analyse. Its place is "
        "where Python gave up. The other files are linted as always; calls into this one are not followed."
    ),
    why="A linter that skips a file in silence says that it is clean.",
    safety="There is nothing to rewrite. Exclude the file in the configuration when it is broken on purpose.",
    before="""
# The closing bracket is missing.
values = [1, 2  # AUD900
""",
    after="""
# The bracket is closed.
values = [1, 2]
""",
    invalid=("# A keyword is no name.\nclass = 1  # AUD900\n",),
    valid=("# An empty file is a module.\n",),
)

IDLE = Rule(
    code="AUD901",
    name="unused-suppression",
    kind="",
    summary="A suppression suppresses nothing",
    what=(
        "`# noqa: AUD101` or `# auditlint: allow-sync[AUD101] reason` where no such finding is. Codes of other tools "
        "in the same comment are left alone, and so is a `# noqa` without codes."
    ),
    why="The code below it has changed: the comment now only hides the next sync that somebody adds there.",
    safety="Removing the comment, or the code in it, changes nothing else.",
    before="""
kept.append(output.detach())  # noqa: AUD101  # AUD901
""",
    after="""
kept.append(output.detach())
""",
    invalid=("rows = output.shape[0]  # auditlint: allow-sync[AUD102] only a shape  # AUD901",),
    valid=("value = output.sum().item()  # noqa: AUD101",),
)

UNREASONED = Rule(
    code="AUD902",
    name="suppression-without-reason",
    kind="",
    summary="A suppression gives no reason",
    what=(
        "`# auditlint: allow-sync[AUD101]` without text after it. `# noqa` has no place for a reason and is left "
        "alone. Opt-in: `extend-select = ['AUD902']`."
    ),
    why="Whoever reads the line next cannot tell whether the sync is wanted or was only silenced.",
    safety="There is nothing to rewrite: only a person knows the reason.",
    before="""
value = output.sum().item()  # auditlint: allow-sync[AUD101]  # AUD902
""",
    after="""
value = output.sum().item()  # auditlint: allow-sync[AUD101] stops a diverged run at once
""",
    valid=("value = output.sum().item()  # auditlint: allow-sync[AUD101] read once, at the last step",),
    opt_in=True,
)

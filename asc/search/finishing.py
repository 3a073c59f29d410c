"""What follows in a search when all trials have ended: larger teachers, soft labels, finals, in this order.

The conductor asks here for the next training. Soft labels are no training: the search makes them between two runs of
Ray (`asc.search.soft_labels`).
"""

from collections.abc import Collection

from asc.runs.journal import Journal
from asc.runs.record import RunRecord
from asc.search import final, teachers
from asc.search.settings import SearchSettings
from asc.size.rules import Rule


class Finishing:
    """Asks for teachers and finals; each is journalled first."""

    def __init__(self, journal: Journal, record: RunRecord, settings: SearchSettings, rule: Rule) -> None:
        """`record` is kept up to date with the journal."""
        self._journal, self._record, self._settings, self._rule = journal, record, settings, rule

    @property
    def needs_soft_labels(self) -> bool:
        """Whether nothing can follow before the teachers' soft labels are made; all teachers are trained."""
        ready = self._lacks_soft_labels and not self._record.unfinished and bool(self._record.completed())
        return ready and teachers.to_come(self._record, self._settings) is None

    def follows(self, busy: Collection[str]) -> bool:
        """Whether a training that is not `busy` follows, or may follow: that is open until all trials have ended.

        Finals that wait for soft labels do not count.
        """
        if self._settings.final_top == 0:
            return False
        if self._record.unfinished:
            return True
        if self._lacks_soft_labels:
            return teachers.to_come(self._record, self._settings, busy=busy) is not None
        return final.to_come(self._record, self._settings, busy=busy) is not None

    def ask(self, busy: Collection[str]) -> str | None:
        """The next teacher or final: one that an earlier process left unfinished, or a new one. None while trials run.

        Its name is returned.
        """
        if self._settings.final_top == 0 or self._record.unfinished:
            return None
        chosen = final.chosen(self._record, self._settings)
        if chosen.trials and chosen != self._record.finalists:
            self._journal.append(chosen)
        return self._ask_teacher(busy) if self._lacks_soft_labels else self._ask_final(busy)

    @property
    def _lacks_soft_labels(self) -> bool:
        return self._settings.distil and self._record.soft_labels is None

    def _ask_teacher(self, busy: Collection[str]) -> str | None:
        name = teachers.to_come(self._record, self._settings, busy=busy)
        if name is not None and name not in self._record.teachers:
            self._journal.append(teachers.asked(self._record, name, self._settings, self._rule))
        return name

    def _ask_final(self, busy: Collection[str]) -> str | None:
        asked = final.to_come(self._record, self._settings, busy=busy)
        if asked is None:
            return None
        if asked.final not in self._record.finals:
            self._journal.append(asked)
        return asked.final

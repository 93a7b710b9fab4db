"""How a side's checks word what they find, whatever the engine."""

from __future__ import annotations

from bowline_worker.contract import Finding, Severity
from bowline_worker.endpoints.site import Site


class Findings:
    """Makes the findings of one side; `about` names the table, setting or object."""

    site: Site

    def error(self, reason: str, message: str, remedy: str = "", *, about: str = "") -> Finding:
        return self._finding(Severity.ERROR, reason, message, remedy, about)

    def acceptable(self, reason: str, message: str, remedy: str, *, about: str = "") -> Finding:
        """An error that `spec.schema.acceptedIssues` may turn into a warning, by its reason."""
        if reason in self.site.config.accepted_issues:
            return self.warning(reason, f"{message} (accepted)", remedy, about=about)
        remedy = f"{remedy}; or accept it: add {reason} to spec.schema.acceptedIssues"
        return self.error(reason, message, remedy, about=about)

    def warning(self, reason: str, message: str, remedy: str = "", *, about: str = "") -> Finding:
        return self._finding(Severity.WARNING, reason, message, remedy, about)

    def note(self, reason: str, message: str, remedy: str = "", *, about: str = "") -> Finding:
        return self._finding(Severity.NOTE, reason, message, remedy, about)

    def _finding(
        self, severity: Severity, reason: str, message: str, remedy: str, about: str
    ) -> Finding:
        return Finding(
            severity=severity,
            reason=reason,
            side=self.site.side,
            object=about,
            message=message,
            remedy=remedy,
        )

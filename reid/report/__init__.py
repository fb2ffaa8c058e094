"""The report: one self-contained page that shows what a run found, and how far to trust it."""

from reid.report.data import ReportData, TuningCurve
from reid.report.page import write_report
from reid.report.projection import project

__all__ = ["ReportData", "TuningCurve", "project", "write_report"]

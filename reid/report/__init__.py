"""The report: one self-contained page that shows what a run found, and how far to trust it."""

from reid.report.data import ReportData, ShownPair, TuningCurve
from reid.report.projection import project
from reid.report.report_page import write_report

__all__ = ["ReportData", "ShownPair", "TuningCurve", "project", "write_report"]

"""The report of a snapshot, for people who would rather look than read: one HTML file that opens from disk, no network.

``accounts`` takes from the ledger what the manifest does not say, ``gather`` counts, ``draw`` makes pictures of numbers
and of frames, ``media`` reads what fits on the page, ``page`` puts it together; ``markdown`` is the short version.
"""

from vidclf.report.accounts import Accounts, read_accounts
from vidclf.report.markdown import summary_markdown
from vidclf.report.page import write_report

__all__ = ["Accounts", "read_accounts", "summary_markdown", "write_report"]

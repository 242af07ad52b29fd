"""Upkeep of datasets: recheck, take out, clean up, hand out as folders. Each works on a dataset's part of the store."""

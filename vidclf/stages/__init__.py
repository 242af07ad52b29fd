"""What happens to one clip (or one part of clips) in each stage: plain functions, run wherever the caller likes.

Each module has a frozen ``Job``, ``do(job)``, and the name of its ``STAGE`` in the ledger. ``do`` raises a ``ClipError``
for what is the clip's fault, and a ``StorageError`` for what is not.
"""

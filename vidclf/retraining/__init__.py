"""Retraining: is there something to train on, is the challenger better, and what was decided. Plain functions on plain data."""

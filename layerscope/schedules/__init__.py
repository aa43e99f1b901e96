"""Schedules: which blocks of a model run, and in which order. The package does not import torch or models."""

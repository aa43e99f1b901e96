"""Similarity matrices with a known answer."""

from pathlib import Path

import numpy as np


def planted(sizes, within=0.9, between=0.2, noise=0.0, seed=0):
    """Blocks of layers alike within, unlike between, with symmetric noise."""
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    matrix = np.where(owner[:, None] == owner, within, between).astype(float)
    error = generator.normal(0.0, noise, matrix.shape)
    matrix = np.clip(matrix + (error + error.T) / np.sqrt(2), -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def drift(layers, reach):
    """Similarity that falls steadily with distance in depth, the same everywhere."""
    depth = np.arange(layers)
    return np.exp(-np.abs(depth[:, None] - depth) / reach)


def published():
    """The paper's own measure for Llama2-7B; see README.md beside this file."""
    return np.loadtxt(Path(__file__).with_name("llama2_7b_cosine_sequence.csv"), delimiter=",")

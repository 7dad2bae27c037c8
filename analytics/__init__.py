"""Readings -> released district indices: numpy, OpenDP, and a single private exit."""

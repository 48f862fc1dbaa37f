"""Figures of the project, measured and written as JSON."""

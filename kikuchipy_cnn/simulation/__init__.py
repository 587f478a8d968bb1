"""Simulated patterns: crystal structures, master patterns, cameras."""

"""Weights of the original implementations."""

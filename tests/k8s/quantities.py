"""Kubernetes' quantities as numbers."""

SUFFIXES = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(text: str | int | float) -> float:
    """Returns the number that a quantity such as 100m or 2Gi stands for; KeyError for an unknown suffix."""
    digits = str(text).rstrip("mkMGTi")
    return float(digits) * SUFFIXES[str(text)[len(digits) :]]

"""HTTPS out of a subnet with no internet, through AWS Step Functions; and Step Functions itself."""

__version__ = "0.1.0"
__all__ = ["__version__"]

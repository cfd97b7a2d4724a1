"""The rules of transfers, shares and claims. No I/O and no framework; the current time is a parameter."""
